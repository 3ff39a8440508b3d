//! The decoder of Kraken.

#![no_main]

mod exchange;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exchange::decode("kraken", input));
