//! Runs `ems_crypto::fuzz::credential`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_crypto::fuzz::credential(data));
