//! Which coins there are, and what is said of them at a moment. No clock but the one it is told.

use std::{collections::BTreeMap, time::Duration};

use events::{Period, Price, Timestamp};
use market_data::{
    InitialPrices,
    coinnews::{HistoryEntry, Quote, coin},
};

use crate::{playback::Playback, walk::Walk};

/// How far back a history goes.
const HISTORY: Period = Period::DAY;
/// The most prices that a history holds; of more, the newest.
const HISTORY_PRICES: u64 = 10_000;

/// Coins by name.
#[derive(Debug)]
pub(crate) struct Market(BTreeMap<String, Course>);

/// The prices of a coin, by number; their times ascend.
#[derive(Debug)]
pub(crate) enum Course {
    Walked(Walk),
    Played(Playback),
}

impl Course {
    /// The number of the price that is current; `None` before the first.
    fn newest(&self, now: Timestamp) -> Option<u64> {
        match self {
            Self::Walked(walk) => Some(walk.newest(now)),
            Self::Played(playback) => playback.newest(now),
        }
    }

    fn nth(&self, number: u64) -> (Timestamp, Price) {
        match self {
            Self::Walked(walk) => walk.nth(number),
            Self::Played(playback) => playback.nth(number),
        }
    }
}

impl Market {
    pub(crate) fn new(courses: impl IntoIterator<Item = (String, Course)>) -> Self {
        Self(courses.into_iter().collect())
    }

    /// A walk of each symbol that is a coin.
    pub(crate) fn walked(seed: u64, interval: Duration, starts: &InitialPrices) -> Self {
        let walk = |symbol, start| Course::Walked(Walk::new(seed, interval, symbol, start));
        Self::new(starts.iter().filter_map(|(symbol, start)| Some((coin(symbol)?, walk(symbol, start)))))
    }

    /// How many coins there are, also those whose first price is not due.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The names of the coins that have a price.
    pub(crate) fn coins(&self, now: Timestamp) -> Vec<&str> {
        let quoted = self.0.iter().filter(|(_, course)| course.newest(now).is_some());
        quoted.map(|(coin, _)| coin.as_str()).collect()
    }

    /// A coin's current price; `None` where there is no such coin or it has none.
    pub(crate) fn quote(&self, coin: &str, now: Timestamp) -> Option<Quote> {
        let course = self.0.get(coin)?;
        let (updated_at, value) = course.nth(course.newest(now)?);
        Some(Quote { value, updated_at })
    }

    /// A coin's prices of the last day, oldest first; the last is the current one, however old it is.
    pub(crate) fn history(&self, coin: &str, now: Timestamp) -> Option<Vec<HistoryEntry>> {
        let course = self.0.get(coin)?;
        let newest = course.newest(now)?;
        let (current, _) = course.nth(newest);
        let since = now.before(HISTORY, Period::SECOND).unwrap_or_default().min(current);
        let numbers = newest.saturating_sub(HISTORY_PRICES - 1)..=newest;
        let past = numbers.rev().map(|number| course.nth(number)).take_while(|(date, _)| *date >= since);
        let mut past: Vec<HistoryEntry> = past.map(|(date, value)| HistoryEntry { value, date }).collect();
        past.reverse();
        Some(past)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn market(seed: u64, seconds: u64) -> Market {
        Market::walked(seed, Duration::from_secs(seconds), &InitialPrices::default())
    }

    /// A moment of the year 2026.
    fn moments() -> impl Strategy<Value = Timestamp> {
        (1_767_225_600_000_000_i64..1_798_761_600_000_000)
            .prop_map(|micros| Timestamp::from_micros(micros).expect("a time"))
    }

    #[test]
    fn what_the_simulator_quotes_and_is_a_coin_is_walked() {
        assert_eq!(market(1, 30).coins(Timestamp::EPOCH), ["bitcoin", "dogecoin", "ethereum", "solana"]);
        assert_eq!(market(1, 30).quote("nocoin", Timestamp::EPOCH), None);
    }

    #[test]
    fn a_history_is_bounded_and_has_its_last_price_however_old() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().expect("a time");
        let length = |seconds| market(1, seconds).history("bitcoin", now).map(|past| past.len());
        let expected = [(1, 10_000), (30, 2_881), (86_400, 1), (43_200, 3)];
        assert_eq!(expected.map(|(seconds, _)| length(seconds)), expected.map(|(_, length)| Some(length)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn times_ascend_to_the_current_price(seed: u64, seconds in 10_u64..86_400, now in moments()) {
            let market = market(seed, seconds);
            let past = market.history("dogecoin", now).expect("a coin");
            prop_assert!(past.windows(2).all(|pair| pair[0].date < pair[1].date));
            let last = past.last().map(|past| Quote { value: past.value, updated_at: past.date });
            prop_assert_eq!(last, market.quote("dogecoin", now));
        }

        #[test]
        fn a_server_that_is_started_later_tells_the_same_past(
            seed: u64, now in moments(), minutes in 0_i64..2_000,
        ) {
            let later = Timestamp::from_micros(now.micros() + minutes * 60_000_000).expect("a time");
            let told: BTreeMap<_, _> = market(seed, 30)
                .history("bitcoin", now)
                .into_iter()
                .flatten()
                .map(|past| (past.date, past.value))
                .collect();
            let again = market(seed, 30).history("bitcoin", later).expect("a coin");
            let since = again[0].date;
            let common: Vec<_> = told.range(since..).map(|(date, value)| HistoryEntry { value: *value, date: *date }).collect();
            prop_assert_eq!(&again[..common.len()], common);
        }
    }
}
