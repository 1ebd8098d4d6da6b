//! Runs `ems_server::fuzz::proxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_server::fuzz::proxy(data));
