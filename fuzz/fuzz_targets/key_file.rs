//! Runs `ems_crypto::fuzz::key_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_crypto::fuzz::key_file(data));
