//! Kafka: the only module that names rdkafka, whose calls block.
//!
//! `client` has what all clients have in common, `admin` the topics, `producer` the transactions of one stream, `log_reader` what
//! partitions hold, `open_transactions` finds and ends the transactions that a broker has forgotten, and `lifecycle` opens a producer.

mod admin;
mod client;
mod error;
pub(crate) mod lifecycle;
mod log_reader;
mod open_transactions;
mod producer;

pub use admin::{TopicsReport, apply_topics, diff_topics, prepare_topics};
pub use error::KafkaFailure;
pub(crate) use producer::MirrorProducer;

/// Runs what waits for Kafka on a thread of its own, to its end.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, KafkaFailure> + Send + 'static,
) -> Result<T, KafkaFailure> {
    tokio::task::spawn_blocking(call).await.map_err(KafkaFailure::Panicked)?
}

/// Waits before something is asked for again.
#[expect(clippy::disallowed_methods, reason = "the calls of the library block, and run on a thread of their own")]
fn pause(duration: std::time::Duration) {
    std::thread::sleep(duration);
}
