//! How a service runs: its errors, its restarts, its backoff and its clock.

pub mod backoff;
pub mod clock;
pub mod error;
pub mod supervise;
