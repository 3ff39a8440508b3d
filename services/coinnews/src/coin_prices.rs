//! The coins of the server, and their current prices and histories at a given time. No clock: the caller passes the
//! time.

use std::{collections::BTreeMap, time::Duration};

use events::{Period, Timestamp};
use market_data::{
    InitialPrices, ReplaySpeed,
    coinnews::{HistoryEntry, Quote, coin_of_symbol},
};

use crate::{playback::RecordedPrices, price_series::PriceSeries, random_walk::RandomWalk};

/// The time that a history goes back.
const HISTORY_PERIOD: Period = Period::DAY;
/// The most prices of a history; of more prices it has the newest.
const MAX_HISTORY_PRICES: u64 = 10_000;

/// The prices of each coin, by the name of the coin.
#[derive(Debug)]
pub(crate) struct CoinPrices(BTreeMap<String, PriceSeries>);

impl CoinPrices {
    /// Returns a random walk for each symbol that is a coin.
    pub(crate) fn from_random_walks(seed: u64, interval: Duration, initial_prices: &InitialPrices) -> Self {
        let walk = |symbol, initial| PriceSeries::RandomWalk(RandomWalk::new(seed, interval, symbol, initial));
        let coins = initial_prices.iter();
        Self(coins.filter_map(|(symbol, initial)| Some((coin_of_symbol(symbol)?, walk(symbol, initial)))).collect())
    }

    /// Returns the coins of a recording, which is replayed from `started_at`.
    pub(crate) fn from_recording(recorded: RecordedPrices, speed: ReplaySpeed, started_at: Timestamp) -> Self {
        let playbacks = recorded.into_playbacks(speed, started_at);
        Self(playbacks.map(|(coin, playback)| (coin, PriceSeries::Playback(playback))).collect())
    }

    /// Returns the number of coins, with those whose first price is not due yet.
    pub(crate) fn coin_count(&self) -> usize {
        self.0.len()
    }

    /// Returns the names of the coins that have a price.
    pub(crate) fn coins(&self, now: Timestamp) -> Vec<&str> {
        let quoted = self.0.iter().filter(|(_, series)| series.current_number(now).is_some());
        quoted.map(|(coin, _)| coin.as_str()).collect()
    }

    /// Returns the current price of a coin; `None` when the coin does not exist or has no price yet.
    pub(crate) fn quote(&self, coin: &str, now: Timestamp) -> Option<Quote> {
        let series = self.0.get(coin)?;
        let (updated_at, value) = series.price_by_number(series.current_number(now)?);
        Some(Quote { value: value.into(), updated_at })
    }

    /// Returns the prices of a coin of the last day, oldest first; the last is the current price, however old it is.
    /// Returns `None` as [`Self::quote`] does.
    pub(crate) fn history(&self, coin: &str, now: Timestamp) -> Option<Vec<HistoryEntry>> {
        let series = self.0.get(coin)?;
        let current = series.current_number(now)?;
        let (current_at, _) = series.price_by_number(current);
        let since = now.before(HISTORY_PERIOD, Period::SECOND).unwrap_or_default().min(current_at);
        let numbers = current.saturating_sub(MAX_HISTORY_PRICES - 1)..=current;
        let newest_first = numbers.rev().map(|number| series.price_by_number(number));
        let of_period = newest_first.take_while(|(date, _)| *date >= since);
        let mut history: Vec<HistoryEntry> =
            of_period.map(|(date, value)| HistoryEntry { value: value.into(), date }).collect();
        history.reverse();
        Some(history)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn coin_prices(seed: u64, seconds: u64) -> CoinPrices {
        CoinPrices::from_random_walks(seed, Duration::from_secs(seconds), &InitialPrices::default())
    }

    /// Returns any time in the year 2026.
    fn times() -> impl Strategy<Value = Timestamp> {
        (1_767_225_600_000_000_i64..1_798_761_600_000_000)
            .prop_map(|micros| Timestamp::from_micros(micros).expect("a time"))
    }

    #[test]
    fn every_initial_price_of_a_coin_gets_a_walk() {
        assert_eq!(coin_prices(1, 30).coins(Timestamp::EPOCH), ["bitcoin", "dogecoin", "ethereum", "solana"]);
        assert_eq!(coin_prices(1, 30).quote("nocoin", Timestamp::EPOCH), None);
    }

    #[test]
    fn a_history_is_bounded_and_has_its_last_price_however_old() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().expect("a time");
        let length = |seconds| coin_prices(1, seconds).history("bitcoin", now).map(|history| history.len());
        let expected = [(1, 10_000), (30, 2_881), (86_400, 1), (43_200, 3)];
        assert_eq!(expected.map(|(seconds, _)| length(seconds)), expected.map(|(_, length)| Some(length)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn times_ascend_to_the_current_price(seed: u64, seconds in 10_u64..86_400, now in times()) {
            let prices = coin_prices(seed, seconds);
            let history = prices.history("dogecoin", now).expect("a coin");
            prop_assert!(history.windows(2).all(|pair| pair[0].date < pair[1].date));
            let last = history.last().map(|entry| Quote { value: entry.value, updated_at: entry.date });
            prop_assert_eq!(last, prices.quote("dogecoin", now));
        }

        #[test]
        fn a_server_that_starts_later_returns_the_same_history(
            seed: u64, now in times(), minutes in 0_i64..2_000,
        ) {
            let later = Timestamp::from_micros(now.micros() + minutes * 60_000_000).expect("a time");
            let earlier: BTreeMap<_, _> = coin_prices(seed, 30)
                .history("bitcoin", now)
                .into_iter()
                .flatten()
                .map(|entry| (entry.date, entry.value))
                .collect();
            let history = coin_prices(seed, 30).history("bitcoin", later).expect("a coin");
            let since = history[0].date;
            let common: Vec<_> = earlier.range(since..).map(|(date, value)| HistoryEntry { value: *value, date: *date }).collect();
            prop_assert_eq!(&history[..common.len()], common);
        }
    }
}
