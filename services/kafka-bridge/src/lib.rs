//! The Kafka bridge: events of JetStream in, records of Kafka out, each once.
//!
//! `mirrored` names the streams, `topics` the topics that they go to, `records` makes records of messages, `position` is in the
//! header of each, and `stored_position` says how far a stream is mirrored. With the feature `kafka`, `kafka` is the only module
//! that talks to Kafka: `consumer_run` hands it the records of a batch with the position behind them, and both are one
//! transaction there. `operations` is what an operator asks and chooses.

#[cfg(feature = "kafka")]
mod consumer_run;
#[cfg(feature = "kafka")]
pub mod kafka;
mod mirrored;
#[cfg(feature = "kafka")]
mod operations;
mod position;
mod records;
#[cfg(feature = "kafka")]
mod service;
mod settings;
#[cfg(any(feature = "kafka", test))]
mod stored_position;
pub mod topics;

/// The name of the folder, crate, subcommand, Deployment and `service.name`.
pub const SERVICE: &str = "kafka-bridge";

pub use mirrored::{MIRRORED, Mirrored};
#[cfg(feature = "kafka")]
pub use operations::{Progress, choose_first_message, progress};
pub use position::{POSITION_HEADER, RecordPosition};
pub use records::{Record, RecordHeader, Source, event_record, tick_records};
#[cfg(feature = "kafka")]
pub use service::run;
pub use settings::{Mechanism, Security, Settings, TickShape};
