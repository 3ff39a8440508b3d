//! What a consumer of a stream keeps in the database: its leadership, its positions and its dead letters.

pub mod dead_letters;
pub mod leader_lock;
pub mod position;
pub mod runner;
