//! What of an answer is new. No I/O and no clock but the one it is told.

use std::collections::BTreeMap;

use events::{
    Price, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use market_data::coinnews::{HistoryEntry, Quote};

/// A coin as we know it.
pub(crate) struct Coin<'known> {
    pub(crate) venue: &'known Venue,
    pub(crate) symbol: &'known Symbol,
    /// The time of the current price that was published last.
    pub(crate) updated_at: Option<Timestamp>,
}

impl Coin<'_> {
    /// The ticks to publish, oldest first and one per time: what is past, and the current price unless it is as it was.
    pub(crate) fn news(&self, quote: Quote, past: &[HistoryEntry], received_at: Timestamp) -> Vec<Tick> {
        let past = past.iter().map(|past| (past.date, (past.value, TickSource::Backfill)));
        let mut by_time: BTreeMap<Timestamp, (Price, TickSource)> = past.collect();
        // The history may hold the current price already, under the same id.
        if self.updated_at == Some(quote.updated_at) {
            by_time.remove(&quote.updated_at);
        } else {
            by_time.insert(quote.updated_at, (quote.value, TickSource::Live));
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

    /// Seconds, prices and sources of what is new when the price of `updated_at` was published last.
    fn news(updated_at: Option<i64>, quote: (i64, &str), past: &[(i64, &str)]) -> Vec<(i64, String, TickSource)> {
        let (venue, symbol) = (Venue::parse("coinnews").expect("a venue"), Symbol::parse("BTC-USD").expect("a symbol"));
        let coin = Coin { venue: &venue, symbol: &symbol, updated_at: updated_at.map(at) };
        let quote = Quote { value: price(quote.1), updated_at: at(quote.0) };
        let past: Vec<_> =
            past.iter().map(|(date, value)| HistoryEntry { value: price(value), date: at(*date) }).collect();
        let ticks = coin.news(quote, &past, at(100));
        ticks.iter().map(|tick| (tick.at.micros() / 1_000_000, tick.price.to_string(), tick.source)).collect()
    }

    #[test]
    fn an_unchanged_time_is_no_new_tick() {
        assert_eq!(news(Some(5), (5, "499"), &[]), []);
        assert_eq!(news(Some(5), (5, "500"), &[(5, "500")]), []);
        assert_eq!(news(Some(5), (6, "499"), &[]), [(6, "499".into(), TickSource::Live)]);
    }

    #[test]
    fn history_comes_first_and_each_time_once() {
        let past = [(5, "499"), (4, "500"), (3, "510"), (4, "500")];
        let expected = [
            (3, "510".into(), TickSource::Backfill),
            (4, "500".into(), TickSource::Backfill),
            (5, "499".into(), TickSource::Live),
        ];
        assert_eq!(news(None, (5, "499"), &past), expected);
    }
}
