//! Runs `ems_guard::fuzz::head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_guard::fuzz::head(data));
