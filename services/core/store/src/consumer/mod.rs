//! The consumers of streams: their leadership, positions and dead letters, the interface of a service, and the loop that
//! runs it.

pub(crate) mod batch;
pub mod dead_letters;
pub mod lease;
pub mod missing_rows;
mod narrowing;
pub mod position;
mod publish_queue;
pub mod runner;
pub mod service;
mod stall;
mod work;
