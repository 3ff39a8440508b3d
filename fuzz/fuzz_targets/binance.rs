//! The decoder of Binance and Binance.US.

#![no_main]

mod exchange;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exchange::decode("binance", input));
