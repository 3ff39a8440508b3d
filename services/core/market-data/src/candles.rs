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
    /// The number of those that came after the candle had closed.
    pub late: i64,
}

/// A tick that came after candles had closed that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateTick {
    /// The instrument of the tick.
    pub instrument: InstrumentId,
    /// The time of the tick.
    pub at: Timestamp,
    /// The newest time of its market when it came.
    pub newest: Timestamp,
}

/// Returns whether a candle has closed: its market has a tick that is not before its end.
pub fn is_closed(interval: Interval, start: Timestamp, newest: Timestamp) -> bool {
    start.after(interval.span()) <= newest
}

/// Returns whether a tick comes after the shortest of its candles has closed, and so maybe others.
pub fn is_late(at: Timestamp, newest: Timestamp) -> bool {
    is_closed(Interval::ALL[0], at.floor(Interval::ALL[0]), newest)
}

/// Counts late ticks in the partial candles that had closed before them. The candles are what [`fold`] has made of these ticks
/// among others.
///
/// What is late follows from the order of the stream alone, so that the count is the same however ticks are cut into batches.
pub fn count_late(candles: &mut [PartialCandle], ticks: impl IntoIterator<Item = LateTick>) {
    for LateTick { instrument, at, newest } in ticks {
        for interval in Interval::ALL {
            let start = at.floor(interval);
            let key = (instrument, interval, start);
            let found = candles.binary_search_by_key(&key, |candle| (candle.instrument, candle.interval, candle.start));
            if let Ok(index) = found
                && is_closed(interval, start, newest)
            {
                candles[index].late += 1;
            }
        }
    }
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
        late: 0,
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

    #[test]
    fn a_tick_is_late_for_the_candles_that_have_closed_before_it() {
        let minute = |minute: i64| Timestamp::from_micros(minute * 60_000_000).expect("a time");
        for (at, newest, closed) in [
            (minute(61), minute(62), &[Interval::Minute][..]),
            (minute(61), minute(64), &[Interval::Minute]),
            (minute(61), minute(65), &[Interval::Minute, Interval::FiveMinutes]),
            (minute(61), minute(120), &Interval::ALL[..4]),
            (minute(61), minute(2 * 1_440), &Interval::ALL),
            (minute(61), minute(61), &[]),
        ] {
            let mut candles = fold(&[(at.micros() / 1_000_000, 1, 0, 5), (0, 2, 0, 5)]);
            assert_eq!(is_late(at, newest), !closed.is_empty());
            count_late(&mut candles, [LateTick { instrument: 1, at, newest }]);
            let late = candles.iter().filter(|candle| candle.late == 1).map(|candle| (candle.interval, candle.start));
            let expected = closed.iter().map(|interval| (*interval, at.floor(*interval)));
            assert!(late.eq(expected), "{at} behind {newest}");
        }
        count_late(&mut [], [LateTick { instrument: 1, at: minute(0), newest: minute(9) }]);
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
