//! Runs `ems_server::fuzz::cursor`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_server::fuzz::cursor(data));
