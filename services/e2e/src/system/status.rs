//! The output of `tickbell status --json`.

use serde::Deserialize;

/// The progress of every consumer and of the mails.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Every consumer, and whoever else has something to publish.
    pub consumers: Vec<Consumer>,
    /// The mails that are not sent yet.
    pub deliveries: Deliveries,
}

/// One consumer of a stream.
#[derive(Debug, Clone, Deserialize)]
pub struct Consumer {
    /// The name of the consumer.
    pub name: String,
    /// The last sequence that is committed.
    pub position: u64,
    /// The number of messages behind the position.
    pub lag: u64,
}

/// The number of mails by their state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Deliveries {
    /// The mails that wait for an attempt.
    pub waiting: i64,
    /// The mails that have failed for good.
    pub failed: i64,
}

impl Status {
    /// Whether everything that was published is processed, and every mail sent.
    pub fn is_done(&self) -> bool {
        self.consumers.iter().all(|consumer| consumer.lag == 0) && self.deliveries.waiting == 0
    }

    /// The position of one consumer.
    pub fn position(&self, consumer: &str) -> u64 {
        self.consumers.iter().find(|known| known.name == consumer).map_or(0, |known| known.position)
    }
}
