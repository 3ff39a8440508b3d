//! The changes within a day of the symbols that live clients see: what they are measured from is read ahead of their ticks.

use std::{convert::Infallible, time::Duration};

use store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::market::latest_prices::LatestPrices;

/// The interval at which symbols are looked for whose change is not known.
const EVERY: Duration = Duration::from_millis(250);
/// The most symbols that are read at once.
const AT_ONCE: usize = 20;

/// Reads for ever what was asked for and is not known.
pub(crate) async fn read_unknown(prices: &LatestPrices, store: &Store) -> Infallible {
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for symbol in prices.take_unknown_changes(AT_ONCE) {
            // The next tick asks again.
            if let Err(problem) = prices.read(store, &symbol).await {
                debug!(%symbol, cause = problem.cause, "the change of a price within a day is not known");
            }
        }
    }
}
