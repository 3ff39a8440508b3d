//! The prices of one coin, from either of the two sources.

use events::{Price, Timestamp};

use crate::{playback::Playback, random_walk::RandomWalk};

/// The prices of a coin, by number; their times ascend.
#[derive(Debug)]
pub(crate) enum PriceSeries {
    RandomWalk(RandomWalk),
    Playback(Playback),
}

impl PriceSeries {
    /// Returns the number of the current price; `None` before the first price is due.
    pub(crate) fn current_number(&self, now: Timestamp) -> Option<u64> {
        match self {
            Self::RandomWalk(walk) => Some(walk.current_number(now)),
            Self::Playback(playback) => playback.current_number(now),
        }
    }

    /// Returns a price by its number, and the time of that price.
    pub(crate) fn price_by_number(&self, number: u64) -> (Timestamp, Price) {
        match self {
            Self::RandomWalk(walk) => walk.price_by_number(number),
            Self::Playback(playback) => playback.price_by_number(number),
        }
    }
}
