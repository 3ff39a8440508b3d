//! The decoder of Coinbase Exchange.

#![no_main]

mod exchange;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exchange::decode("coinbase", input));
