//! The waits between attempts at something that must succeed in the end.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Returns growing waits from 100 ms to 3 s, with jitter and without end.
pub fn backoff() -> impl Iterator<Item = Duration> + Send + Sync {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(3))
        .with_jitter()
        .without_max_times()
        .build()
}
