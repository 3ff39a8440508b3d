//! The decoder of OKX.

#![no_main]

mod exchange;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exchange::decode("okx", input));
