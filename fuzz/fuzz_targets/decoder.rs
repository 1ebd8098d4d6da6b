//! Runs `ems_guard::fuzz::decoder`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_guard::fuzz::decoder(data));
