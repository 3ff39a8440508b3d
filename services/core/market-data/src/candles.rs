//! Folds ticks into partial candles.
//!
//! A partial candle is what some ticks make of a bucket. Partial candles of one bucket merge in any order and grouping, so
//! it does not matter how ticks are cut into batches or how late one comes, as long as each tick is folded once.

use std::collections::BTreeMap;

use crate::{
    ticks::{InstrumentId, StoredTick},
    volume::Volume,
};
use events::{Interval, Price, Timestamp};

/// The part of a candle that some ticks make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialCandle {
    /// The instrument of the candle.
    pub instrument: InstrumentId,
    /// The width of the candle.
    pub interval: Interval,
    /// The start of the bucket.
    pub start: Timestamp,
    /// The first tick, by time and sequence.
    pub open: CandleEdge,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last tick, by time and sequence.
    pub close: CandleEdge,
    /// The exact sum of the sizes.
    pub volume: Volume,
    /// The number of ticks.
    pub trades: i64,
}

/// The tick that opens or closes a candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleEdge {
    /// The time of the tick.
    pub at: Timestamp,
    /// The sequence of the tick in stream `TICKS`.
    pub sequence: u64,
    /// The price of the tick.
    pub price: Price,
}

/// Folds ticks into one partial candle for each bucket of each interval that they fall into, in order.
pub fn fold<'a>(ticks: impl IntoIterator<Item = &'a (InstrumentId, StoredTick)>) -> Vec<PartialCandle> {
    let mut candles: BTreeMap<(InstrumentId, Interval, Timestamp), PartialCandle> = BTreeMap::new();
    for (instrument, stored) in ticks {
        for interval in Interval::ALL {
            let start = stored.tick.at.floor(interval);
            candles
                .entry((*instrument, interval, start))
                .and_modify(|candle| add(candle, stored))
                .or_insert_with(|| first(*instrument, interval, start, stored));
        }
    }
    candles.into_values().collect()
}

fn first(instrument: InstrumentId, interval: Interval, start: Timestamp, stored: &StoredTick) -> PartialCandle {
    let (edge, price) = (edge(stored), stored.tick.price);
    PartialCandle {
        instrument,
        interval,
        start,
        open: edge,
        high: price,
        low: price,
        close: edge,
        volume: size(stored),
        trades: 1,
    }
}

fn add(candle: &mut PartialCandle, stored: &StoredTick) {
    let edge = edge(stored);
    if (edge.at, edge.sequence) < (candle.open.at, candle.open.sequence) {
        candle.open = edge;
    }
    if (edge.at, edge.sequence) > (candle.close.at, candle.close.sequence) {
        candle.close = edge;
    }
    candle.high = candle.high.max(edge.price);
    candle.low = candle.low.min(edge.price);
    candle.volume = candle.volume.plus(size(stored));
    candle.trades += 1;
}

fn edge(stored: &StoredTick) -> CandleEdge {
    CandleEdge { at: stored.tick.at, sequence: stored.sequence, price: stored.tick.price }
}

fn size(stored: &StoredTick) -> Volume {
    stored.tick.size.map_or(Volume::ZERO, |size| size.decimal().into())
}

#[cfg(test)]
mod tests {
    use events::{
        Symbol, Tick, Venue,
        tick::{TickKind, TickSource},
    };
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn stored(at_seconds: i64, sequence: u64, cents: i64) -> (InstrumentId, StoredTick) {
        let at = Timestamp::from_micros(at_seconds * 1_000_000).expect("a time");
        let tick = Tick {
            venue: Venue::parse("test").expect("a venue"),
            symbol: Symbol::parse("SPY").expect("a symbol"),
            price: events::Price::new(Decimal::new(cents, 2)).expect("a price"),
            size: Some(events::Size::new(Decimal::new(cents, 4)).expect("a size")),
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        };
        (1, StoredTick { tick, trade_id: sequence.to_string(), sequence })
    }

    fn display(candles: &[PartialCandle], interval: Interval) -> Vec<String> {
        let of = candles.iter().filter(|candle| candle.interval == interval);
        of.map(|p| format!("{} {} {} {} {} {}", p.open.price, p.high, p.low, p.close.price, p.volume, p.trades))
            .collect()
    }

    #[test]
    fn open_and_close_are_the_first_and_last_by_time_then_sequence() {
        let candles =
            fold(&[stored(60, 5, 100), stored(61, 6, 300), stored(60, 4, 200), stored(61, 3, 50), stored(120, 7, 10)]);
        assert_eq!(
            display(&candles, Interval::Minute),
            ["2.00 3.00 0.50 3.00 0.0650 4", "0.10 0.10 0.10 0.10 0.0010 1"]
        );
        assert_eq!(display(&candles, Interval::Day), ["2.00 3.00 0.10 0.10 0.0660 5"]);
    }

    proptest! {
        #[test]
        fn the_order_of_ticks_changes_no_candle(ticks in prop::collection::vec((0..400_i64, 1..999_i64), 1..60), seed in any::<u64>()) {
            let ticks: Vec<_> = ticks.into_iter().enumerate().map(|(i, (at, cents))| stored(at, i as u64, cents)).collect();
            let mut shuffled = ticks.clone();
            shuffled.sort_by_key(|(_, stored)| (stored.sequence ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            prop_assert_eq!(fold(&ticks), fold(&shuffled));
        }
    }
}
