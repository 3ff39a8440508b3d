//! Turns the answers of the coinnews API about one coin into its new ticks. No I/O and no clock.

use std::collections::BTreeMap;

use events::{
    Price, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use market_data::coinnews::{HistoryEntry, Quote};

/// A coin and what is already published of it.
pub(super) struct KnownCoin<'coin> {
    pub(super) venue: &'coin Venue,
    pub(super) symbol: &'coin Symbol,
    /// The last current price that was published, and its time.
    pub(super) last_price: Option<(Timestamp, Price)>,
}

impl KnownCoin<'_> {
    /// Returns the ticks to publish, oldest first and one per time: those of the history, and the current price unless
    /// it is the last one.
    pub(super) fn new_ticks(&self, quote: Quote, history: &[HistoryEntry], received_at: Timestamp) -> Vec<Tick> {
        let history = history.iter().map(|entry| (entry.date, (entry.value.value, TickSource::Backfill)));
        let mut by_time: BTreeMap<Timestamp, (Price, TickSource)> = history.collect();
        // The history may contain the current price, which would have the same id.
        if self.last_price == Some((quote.updated_at, quote.value.value)) {
            by_time.remove(&quote.updated_at);
        } else {
            by_time.insert(quote.updated_at, (quote.value.value, TickSource::Live));
        }
        let tick = |(at, (price, source))| {
            let (venue, symbol) = (self.venue.clone(), self.symbol.clone());
            Tick { venue, symbol, price, size: None, at, received_at, kind: TickKind::Poll, source }
        };
        by_time.into_iter().map(tick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000).expect("a time")
    }

    fn price(text: &str) -> Price {
        text.parse().expect("a price")
    }

    /// Returns seconds, prices and sources of the new ticks, when 499 at second `last` was published last.
    fn new_ticks(last: Option<i64>, quote: (i64, &str), history: &[(i64, &str)]) -> Vec<(i64, String, TickSource)> {
        let (venue, symbol) = (Venue::parse("coinnews").expect("a venue"), Symbol::parse("BTC-USD").expect("a symbol"));
        let coin =
            KnownCoin { venue: &venue, symbol: &symbol, last_price: last.map(|second| (at(second), price("499"))) };
        let quote = Quote { value: price(quote.1).into(), updated_at: at(quote.0) };
        let history: Vec<_> =
            history.iter().map(|(date, value)| HistoryEntry { value: price(value).into(), date: at(*date) }).collect();
        let ticks = coin.new_ticks(quote, &history, at(100));
        ticks.iter().map(|tick| (tick.at.micros() / 1_000_000, tick.price.to_string(), tick.source)).collect()
    }

    #[test]
    fn an_unchanged_price_makes_no_tick_and_a_corrected_one_does() {
        assert_eq!(new_ticks(Some(5), (5, "499"), &[]), []);
        assert_eq!(new_ticks(Some(5), (5, "499.0"), &[(5, "499")]), []);
        assert_eq!(new_ticks(Some(5), (5, "500"), &[(5, "500")]), [(5, "500".into(), TickSource::Live)]);
        assert_eq!(new_ticks(Some(5), (6, "499"), &[]), [(6, "499".into(), TickSource::Live)]);
    }

    #[test]
    fn the_history_comes_first_and_each_time_once() {
        let history = [(5, "499"), (4, "500"), (3, "510"), (4, "500")];
        let expected = [
            (3, "510".into(), TickSource::Backfill),
            (4, "500".into(), TickSource::Backfill),
            (5, "499".into(), TickSource::Live),
        ];
        assert_eq!(new_ticks(None, (5, "499"), &history), expected);
    }
}
