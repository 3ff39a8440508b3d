//! The deliveries of notifications, the addresses of their recipients, and the markets that are silent.

pub mod deliveries;
pub mod recipients;
pub mod silences;
