//! Folds ticks into partial candles.
//!
//! A partial candle is what some ticks make of a bucket. Partial candles of one bucket merge in any order and grouping, so
//! it does not matter how ticks are cut into batches or how late one comes, as long as each tick is folded once.

use std::collections::BTreeMap;

use crate::{
    ticks::{InstrumentId, StoredTick, TickPosition},
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
    /// The first tick, by time and position.
    pub open: CandleEdge,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last tick, by time and position.
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
    /// The position of the tick in stream `TICKS`.
    pub position: TickPosition,
    /// The price of the tick.
    pub price: Price,
}

/// Folds ticks into one partial candle for each bucket of each interval that they fall into, in order.
pub fn fold<'a>(ticks: impl IntoIterator<Item = (InstrumentId, StoredTick<'a>)>) -> Vec<PartialCandle> {
    let mut candles: BTreeMap<(InstrumentId, Interval, Timestamp), PartialCandle> = BTreeMap::new();
    for minute in fold_minutes(ticks) {
        for interval in Interval::ALL {
            let start = minute.start.floor(interval);
            candles
                .entry((minute.instrument, interval, start))
                .and_modify(|candle| merge(candle, &minute))
                .or_insert_with(|| PartialCandle { interval, start, ..minute.clone() });
        }
    }
    candles.into_values().collect()
}

/// Folds ticks into minutes, each of which may appear several times: ticks of one minute mostly follow each other.
fn fold_minutes<'a>(ticks: impl IntoIterator<Item = (InstrumentId, StoredTick<'a>)>) -> Vec<PartialCandle> {
    let mut minutes: Vec<PartialCandle> = Vec::new();
    for (instrument, tick) in ticks {
        let start = tick.at.floor(Interval::Minute);
        let candle = first(instrument, Interval::Minute, start, &tick);
        match minutes.last_mut() {
            Some(last) if (last.instrument, last.start) == (instrument, start) => merge(last, &candle),
            _ => minutes.push(candle),
        }
    }
    minutes
}

fn first(instrument: InstrumentId, interval: Interval, start: Timestamp, stored: &StoredTick<'_>) -> PartialCandle {
    let (edge, price) = (edge(stored), stored.price);
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

/// Adds another part of the same candle.
fn merge(candle: &mut PartialCandle, other: &PartialCandle) {
    if (other.open.at, other.open.position) < (candle.open.at, candle.open.position) {
        candle.open = other.open;
    }
    if (other.close.at, other.close.position) > (candle.close.at, candle.close.position) {
        candle.close = other.close;
    }
    candle.high = candle.high.max(other.high);
    candle.low = candle.low.min(other.low);
    candle.volume = candle.volume.plus(other.volume);
    candle.trades += other.trades;
}

fn edge(stored: &StoredTick<'_>) -> CandleEdge {
    CandleEdge { at: stored.at, position: stored.position, price: stored.price }
}

fn size(stored: &StoredTick<'_>) -> Volume {
    stored.size.map_or(Volume::ZERO, |size| size.decimal().into())
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

    /// The time in seconds, the sequence and the index of a tick, and its price in cents.
    type Case = (i64, u64, u16, i64);

    fn tick(&(at_seconds, _, _, cents): &Case) -> Tick {
        let at = Timestamp::from_micros(at_seconds * 1_000_000).expect("a time");
        Tick {
            venue: Venue::parse("test").expect("a venue"),
            symbol: Symbol::parse("SPY").expect("a symbol"),
            price: events::Price::new(Decimal::new(cents, 2)).expect("a price"),
            size: Some(events::Size::new(Decimal::new(cents, 4)).expect("a size")),
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        }
    }

    fn fold(cases: &[Case]) -> Vec<PartialCandle> {
        let ticks: Vec<Tick> = cases.iter().map(tick).collect();
        let stored = ticks.iter().zip(cases).map(|(tick, case)| (1, StoredTick::of(tick, "7", case.1, case.2)));
        super::fold(stored)
    }

    fn display(candles: &[PartialCandle], interval: Interval) -> Vec<String> {
        let of = candles.iter().filter(|candle| candle.interval == interval);
        of.map(|p| format!("{} {} {} {} {} {}", p.open.price, p.high, p.low, p.close.price, p.volume, p.trades))
            .collect()
    }

    #[test]
    fn open_and_close_are_the_first_and_last_by_time_then_position() {
        let candles = fold(&[(60, 4, 1, 100), (61, 6, 0, 300), (60, 4, 0, 200), (61, 5, 9, 50), (120, 7, 0, 10)]);
        assert_eq!(
            display(&candles, Interval::Minute),
            ["2.00 3.00 0.50 3.00 0.0650 4", "0.10 0.10 0.10 0.10 0.0010 1"]
        );
        assert_eq!(display(&candles, Interval::Day), ["2.00 3.00 0.10 0.10 0.0660 5"]);
    }

    proptest! {
        #[test]
        fn the_order_of_ticks_changes_no_candle(ticks in prop::collection::vec((0..400_i64, 1..999_i64), 1..60), seed in any::<u64>()) {
            let ticks: Vec<Case> = ticks.into_iter().enumerate().map(|(i, (at, cents))| (at, i as u64 / 7, i as u16 % 7, cents)).collect();
            let mut shuffled = ticks.clone();
            shuffled.sort_by_key(|(_, sequence, index, _)| ((sequence * 7 + u64::from(*index)) ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            prop_assert_eq!(fold(&ticks), fold(&shuffled));
        }
    }
}
