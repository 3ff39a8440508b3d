//! The channels by which recipients are reached, one folder each.

pub mod email;
