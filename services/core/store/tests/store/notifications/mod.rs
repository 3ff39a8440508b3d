//! Tests of deliveries, of outages of mail, and of silent markets.

mod deliveries;
mod outages;
mod silences;
