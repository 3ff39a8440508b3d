//! A recording played by the clock. Its first price is due when the server starts; a second after its last it begins
//! again, so that a demo that is left alone goes on. Times are those of the clock and ascend from lap to lap.

use std::{collections::BTreeMap, time::Duration};

use events::{Price, Symbol, Timestamp};
use market_data::{RecordedTrade, ReplayClock, ReplaySpeed, coinnews};
use tracing::warn;

use crate::market::{Course, Market};

/// From the last price of a lap to the first of the next.
const PAUSE: Duration = Duration::from_secs(1);

/// A recording's prices with their own times, as they come.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    symbols: BTreeMap<Symbol, Vec<(Timestamp, Price)>>,
    count: usize,
}

impl Recorded {
    /// One more price.
    pub(crate) fn add(&mut self, row: RecordedTrade) {
        let RecordedTrade { time, symbol, price, .. } = row;
        self.symbols.entry(symbol).or_default().push((time, price));
        self.count += 1;
    }

    /// How many prices there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Takes away symbols that no coin is read back as, and says so.
    pub(crate) fn keep_coins(&mut self) {
        self.symbols.retain(|symbol, _| {
            let kept = coinnews::coin(symbol).is_some();
            if !kept {
                warn!(%symbol, "passed over: only what is quoted in dollars, like BTC-USD, is a coin");
            }
            kept
        });
        self.count = self.symbols.values().map(Vec::len).sum();
    }

    /// The coins of the recording, played from `began`.
    pub(crate) fn play(mut self, factor: ReplaySpeed, began: Timestamp) -> Market {
        self.keep_coins();
        let times = || self.symbols.values().flatten().map(|(at, _)| *at);
        let pace = ReplayClock { factor, start: times().min().unwrap_or_default() };
        let last = times().max().unwrap_or_default();
        let lap_micros = micros(pace.due(last).saturating_add(PAUSE));
        let course = |(symbol, prices)| {
            let due = due(pace, prices);
            Some((coinnews::coin(&symbol)?, Course::Played(Playback { began, lap_micros, due })))
        };
        Market::new(self.symbols.into_iter().filter_map(course))
    }
}

/// When each price is due after the start of a lap, in microseconds; of several that are due at once the last.
fn due(pace: ReplayClock, mut prices: Vec<(Timestamp, Price)>) -> Vec<(u64, Price)> {
    prices.sort_by_key(|(at, _)| *at);
    let mut due: Vec<(u64, Price)> = Vec::with_capacity(prices.len());
    for (at, price) in prices {
        let at = micros(pace.due(at));
        match due.last_mut() {
            Some(last) if last.0 == at => last.1 = price,
            _ => due.push((at, price)),
        }
    }
    due
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The prices of one coin; one or more.
#[derive(Debug)]
pub(crate) struct Playback {
    began: Timestamp,
    /// From the start of a lap to the start of the next; more than any price's own.
    lap_micros: u64,
    /// Ascending.
    due: Vec<(u64, Price)>,
}

impl Playback {
    /// The number of the price that is current, counted from the server's start; `None` before the first is due.
    pub(crate) fn newest(&self, now: Timestamp) -> Option<u64> {
        // A clock that was set back finds the server at its start.
        let elapsed = u64::try_from(now.micros() - self.began.micros()).unwrap_or(0);
        let (laps, into) = (elapsed / self.lap_micros, elapsed % self.lap_micros);
        let in_lap = self.due.partition_point(|(due, _)| *due <= into) as u64;
        (laps * self.due.len() as u64 + in_lap).checked_sub(1)
    }

    /// A price by its number, and its time.
    pub(crate) fn nth(&self, number: u64) -> (Timestamp, Price) {
        let prices = self.due.len() as u64;
        let (due, price) = self.due[(number % prices) as usize];
        let after = (number / prices).saturating_mul(self.lap_micros).saturating_add(due);
        let at = self.began.micros().saturating_add(i64::try_from(after).unwrap_or(i64::MAX));
        (Timestamp::from_micros(at).unwrap_or(Timestamp::LAST), price)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).expect("a time")
    }

    fn row(seconds: i64, symbol: &str, price: u32) -> RecordedTrade {
        let (symbol, price) = (symbol.parse().expect("a symbol"), price.to_string().parse().expect("a price"));
        RecordedTrade { time: at(seconds), symbol, price, size: None }
    }

    /// Played from second 1000.
    fn play(rows: impl IntoIterator<Item = RecordedTrade>, speed: &str) -> Market {
        let mut recorded = Recorded::default();
        rows.into_iter().for_each(|row| recorded.add(row));
        recorded.play(speed.parse().expect("a factor"), at(1_000))
    }

    /// The seconds and prices of a coin's history.
    fn history(market: &Market, coin: &str, now: i64) -> Option<Vec<(i64, String)>> {
        let past = market.history(coin, at(now))?;
        Some(past.iter().map(|past| (past.date.micros() / 1_000_000, past.value.to_string())).collect())
    }

    #[test]
    fn a_recording_begins_with_the_server_and_again_a_second_after_its_end() {
        let market = play([row(50, "BTC-USD", 1), row(54, "BTC-USD", 2)], "1x");
        let told = |now| market.quote("bitcoin", at(now)).map(|quote| (quote.updated_at, quote.value.to_string()));
        assert_eq!(told(999), told(1_000), "a clock that is behind is told the first price");
        assert_eq!(told(1_003), Some((at(1_000), "1".into())));
        assert_eq!(told(1_004), Some((at(1_004), "2".into())));
        assert_eq!(told(1_005), Some((at(1_005), "1".into())));
        let expected = [(1_000, "1"), (1_004, "2"), (1_005, "1")].map(|(at, price)| (at, price.to_owned()));
        assert_eq!(history(&market, "bitcoin", 1_008), Some(expected.to_vec()));
    }

    #[test]
    fn a_coin_is_there_from_its_first_price() {
        let market = play([row(0, "BTC-USD", 1), row(9, "DOGE-USD", 2)], "1x");
        assert_eq!(market.coins(at(1_008)), ["bitcoin"]);
        assert_eq!(market.quote("dogecoin", at(1_008)), None);
        assert_eq!(market.coins(at(1_009)), ["bitcoin", "dogecoin"]);
        assert_eq!(history(&market, "dogecoin", 1_015), Some(vec![(1_009, "2".into())]), "it stays in the next lap");
    }

    #[test]
    fn what_is_no_coin_is_left_out_and_delays_nothing() {
        let market = play([row(0, "SPY", 1), row(500, "BTC-USD", 2), row(600, "BTC-EUR", 3)], "1x");
        assert_eq!(market.coins(at(1_000)), ["bitcoin"]);
        assert_eq!(history(&market, "bitcoin", 1_001).map(|past| past.len()), Some(2), "its lap is a second");
    }

    #[test]
    fn lines_in_any_order_are_played_in_the_order_of_their_times_and_of_one_time_the_last() {
        let rows = [(7, 3), (0, 1), (7, 4), (3, 2)].map(|(seconds, price)| row(seconds, "BTC-USD", price));
        let expected = [(1_000, "1"), (1_003, "2"), (1_007, "4")].map(|(at, price)| (at, price.to_owned()));
        assert_eq!(history(&play(rows, "1x"), "bitcoin", 1_007), Some(expected.to_vec()));
    }

    #[test]
    fn the_slowest_play_of_the_longest_recording_is_a_long_wait() {
        let rows = || [row(0, "BTC-USD", 1), row(253_402_300_799, "BTC-USD", 2)];
        assert_eq!(history(&play(rows(), "0.001x"), "bitcoin", 253_402_300_799).map(|past| past.len()), Some(1));
        assert!(history(&play(rows(), "1000000x"), "bitcoin", 253_402_300_799).is_some());
    }

    proptest! {
        #[test]
        fn every_moment_is_told_what_was_due_by_then(
            recorded in vec((0_i64..100, 1_u32..1_000), 1..20), now in 0_i64..1_000,
        ) {
            let market = play(recorded.iter().map(|(seconds, price)| row(*seconds, "BTC-USD", *price)), "2x");
            // What a patient listener would have written down.
            let mut lap: BTreeMap<i64, u32> = BTreeMap::new();
            let first = recorded.iter().map(|(seconds, _)| *seconds).min().expect("one or more");
            let mut sorted = recorded.clone();
            sorted.sort_by_key(|(seconds, _)| *seconds);
            lap.extend(sorted.iter().map(|(seconds, price)| ((seconds - first) * 500_000, *price)));
            let length = lap.keys().max().expect("one or more") + 1_000_000;
            let heard: Vec<_> = (0..1_000)
                .flat_map(|number| lap.iter().map(move |(due, price)| (number * length + due, price.to_string())))
                .take_while(|(due, _)| *due <= now * 1_000_000)
                .collect();
            let past = market.history("bitcoin", at(1_000 + now)).expect("a history");
            let told: Vec<_> =
                past.iter().map(|past| (past.date.micros() - 1_000_000_000, past.value.to_string())).collect();
            prop_assert_eq!(told, heard);
        }
    }
}
