//! Runs `ems_crypto::fuzz::token`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_crypto::fuzz::token(data));
