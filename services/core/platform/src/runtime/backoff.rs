//! The waits between attempts at something that must succeed in the end.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Returns growing waits from 100 ms to 3 s, without end. Jitter adds up to as much again to each, which the 3 s include: what
/// waits for a server must work again within ten seconds after it.
pub fn backoff() -> impl Iterator<Item = Duration> + Send + Sync {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_millis(1_500))
        .with_jitter()
        .without_max_times()
        .build()
}
