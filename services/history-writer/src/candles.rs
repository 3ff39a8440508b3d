//! Folding ticks into parts of candles.
//!
//! A part says what some ticks make of a bucket. Parts of one candle merge in any order and grouping, so it does not
//! matter how ticks were cut into batches or how late one comes; what matters is that each tick is folded once.

use std::collections::BTreeMap;

use events::{Interval, Timestamp};
use rust_decimal::Decimal;
use store::market::history::{CandleEdge, InstrumentId, PartialCandle, StoredTick};

/// The parts that ticks make of every candle they fall into, in order.
pub fn fold<'a>(ticks: impl IntoIterator<Item = &'a (InstrumentId, StoredTick)>) -> Vec<PartialCandle> {
    let mut parts: BTreeMap<(InstrumentId, Interval, Timestamp), PartialCandle> = BTreeMap::new();
    for (instrument, kept) in ticks {
        for interval in Interval::ALL {
            let start = kept.tick.at.floor(interval);
            parts
                .entry((*instrument, interval, start))
                .and_modify(|part| add(part, kept))
                .or_insert_with(|| first(*instrument, interval, start, kept));
        }
    }
    parts.into_values().collect()
}

fn first(instrument: InstrumentId, interval: Interval, start: Timestamp, kept: &StoredTick) -> PartialCandle {
    let (edge, price) = (edge(kept), kept.tick.price);
    PartialCandle {
        instrument,
        interval,
        start,
        open: edge,
        high: price,
        low: price,
        close: edge,
        volume: size(kept),
        trades: 1,
    }
}

fn add(part: &mut PartialCandle, kept: &StoredTick) {
    let edge = edge(kept);
    if (edge.at, edge.sequence) < (part.open.at, part.open.sequence) {
        part.open = edge;
    }
    if (edge.at, edge.sequence) > (part.close.at, part.close.sequence) {
        part.close = edge;
    }
    part.high = part.high.max(edge.price);
    part.low = part.low.min(edge.price);
    part.volume += size(kept);
    part.trades += 1;
}

fn edge(kept: &StoredTick) -> CandleEdge {
    CandleEdge { at: kept.tick.at, sequence: kept.sequence, price: kept.tick.price }
}

fn size(kept: &StoredTick) -> Decimal {
    kept.tick.size.map(|size| size.decimal()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use events::{
        Symbol, Tick, Venue,
        tick::{TickKind, TickSource},
    };
    use proptest::prelude::*;

    use super::*;

    fn kept(at_seconds: i64, sequence: u64, cents: i64) -> (InstrumentId, StoredTick) {
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

    fn shown(parts: &[PartialCandle], interval: Interval) -> Vec<String> {
        let of = parts.iter().filter(|part| part.interval == interval);
        of.map(|p| format!("{} {} {} {} {} {}", p.open.price, p.high, p.low, p.close.price, p.volume, p.trades))
            .collect()
    }

    #[test]
    fn open_and_close_are_the_first_and_last_by_time_then_sequence() {
        let parts = fold(&[kept(60, 5, 100), kept(61, 6, 300), kept(60, 4, 200), kept(61, 3, 50), kept(120, 7, 10)]);
        assert_eq!(shown(&parts, Interval::Minute), ["2.00 3.00 0.50 3.00 0.0650 4", "0.10 0.10 0.10 0.10 0.0010 1"]);
        assert_eq!(shown(&parts, Interval::Day), ["2.00 3.00 0.10 0.10 0.0660 5"]);
    }

    proptest! {
        #[test]
        fn the_order_of_ticks_does_not_matter(ticks in prop::collection::vec((0..400_i64, 1..999_i64), 1..60), seed in any::<u64>()) {
            let ticks: Vec<_> = ticks.into_iter().enumerate().map(|(i, (at, cents))| kept(at, i as u64, cents)).collect();
            let mut shuffled = ticks.clone();
            shuffled.sort_by_key(|(_, kept)| (kept.sequence ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            prop_assert_eq!(fold(&ticks), fold(&shuffled));
        }
    }
}
