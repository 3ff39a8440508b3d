//! Deliveries and who receives them.

pub mod deliveries;
pub mod recipients;
