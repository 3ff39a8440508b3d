//! The deliveries of notifications, the addresses of their recipients, outages of mail, and the markets that are silent.

pub mod deliveries;
pub mod delivery_list;
pub mod outages;
pub mod recipients;
pub mod silences;
