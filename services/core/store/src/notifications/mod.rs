//! The deliveries of notifications, and the addresses of their recipients.

pub mod deliveries;
pub mod recipients;
