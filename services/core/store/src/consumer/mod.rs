//! The consumers of streams: their leadership, positions, dead letters and the loop that runs them.

pub mod dead_letters;
pub mod leader_lock;
pub mod position;
pub mod runner;
