//! The decoder of Coinbase Advanced Trade.

#![no_main]

mod exchange;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exchange::decode("coinbaseadvanced", input));
