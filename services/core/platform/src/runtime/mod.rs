//! How a service runs: its errors, its restarts and its clock.

pub mod clock;
pub mod error;
pub mod supervise;
