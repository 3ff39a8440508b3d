//! The decoder of Bitstamp.

#![no_main]

mod exchange;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exchange::decode("bitstamp", input));
