//! What `tickbell status --json` says.

use serde::Deserialize;

/// How far everything is.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Every consumer, and whoever else has something to publish.
    pub consumers: Vec<Consumer>,
    /// Mails.
    pub deliveries: Deliveries,
}

/// One consumer of a stream.
#[derive(Debug, Clone, Deserialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// The last sequence that is committed.
    pub position: u64,
    /// What is not.
    pub lag: u64,
}

/// Mails by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Deliveries {
    /// To be tried, or tried again.
    pub waiting: i64,
    /// Given up.
    pub failed: i64,
}

impl Status {
    /// Whether everything that was published is decided, and everybody told.
    pub fn is_done(&self) -> bool {
        self.consumers.iter().all(|consumer| consumer.lag == 0) && self.deliveries.waiting == 0
    }

    /// The position of one consumer.
    pub fn position(&self, consumer: &str) -> u64 {
        self.consumers.iter().find(|known| known.name == consumer).map_or(0, |known| known.position)
    }
}
