//! Runs `ems_store::fuzz::journal`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_store::fuzz::journal(data));
