//! Runs `ems_store::fuzz::segment`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_store::fuzz::segment(data));
