//! Runs `ems_guard::fuzz::body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_guard::fuzz::body(data));
