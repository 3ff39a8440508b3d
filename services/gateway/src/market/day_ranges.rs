//! What the days of markets are like, for clients that are shown it with each price.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use market_data::InstrumentId;
use store::{
    Error, Store,
    market::{
        products::{self, DayRange},
        queries::Latest,
    },
};
use tokio::time::Instant;

/// The time for which what was read is shown, so that many clients of a market cost one question.
const SHOWN_FOR: Duration = Duration::from_secs(1);
/// The most markets that are in memory, with about 200 bytes each.
const MOST_MARKETS: usize = 10_000;

/// The days that were read a moment ago.
#[derive(Debug, Default)]
pub(crate) struct DayRanges(Mutex<HashMap<InstrumentId, (Instant, DayRange)>>);

impl DayRanges {
    /// Returns what the day before a latest price is like, as of at most a second ago.
    pub(crate) async fn read(&self, store: &Store, latest: &Latest) -> Result<DayRange, Error> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, range)) = known().get(&latest.instrument).filter(|(read_at, _)| read_at.elapsed() < SHOWN_FOR) {
            return Ok(range.clone());
        }
        let read_at = Instant::now();
        let range = products::day_range(store, latest).await?;
        let mut ranges = known();
        if ranges.len() >= MOST_MARKETS {
            ranges.retain(|_, (read_at, _)| read_at.elapsed() < SHOWN_FOR);
        }
        if ranges.len() < MOST_MARKETS {
            ranges.insert(latest.instrument, (read_at, range.clone()));
        }
        Ok(range)
    }
}
