//! Runs `ems_server::fuzz::sieve`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ems_server::fuzz::sieve(data));
