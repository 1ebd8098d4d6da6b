//! Runs `ems_server::fuzz::document`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_server::fuzz::document(data));
