//! Whether a candle has all trades of its bucket, as the gaps around it say.

use std::collections::BTreeSet;

use events::{Interval, Timestamp};

/// What became of the trades of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapOutcome {
    /// Some are missing, for now or for ever.
    Missing,
    /// All were filled in afterwards.
    Backfilled,
}

/// The time of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapSpan {
    /// The time of the last trade before it.
    pub from: Timestamp,
    /// The time of the first trade after it; none while it is open.
    pub to: Option<Timestamp>,
    /// What became of its trades.
    pub outcome: GapOutcome,
}

/// Whether a candle has all trades of its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// No gap touches the bucket, or nothing was missing in it.
    Complete,
    /// Trades are missing in a gap that touches the bucket.
    Partial,
    /// Trades were filled in after they had been missed.
    Backfilled,
}

/// Returns the completeness of the bucket that begins at `start`.
pub fn completeness(start: Timestamp, interval: Interval, gaps: &[GapSpan]) -> Completeness {
    let mut touching = gaps.iter().filter(|gap| touches(gap, start, interval)).map(|gap| gap.outcome).peekable();
    if touching.peek().is_none() {
        return Completeness::Complete;
    }
    if touching.any(|outcome| outcome == GapOutcome::Missing) {
        Completeness::Partial
    } else {
        Completeness::Backfilled
    }
}

/// Returns the first `limit` buckets without a candle in which trades are missing, from `from` on and before `to`. `candles` are the
/// starts of those that have one.
pub fn unknown_buckets(
    candles: &BTreeSet<Timestamp>,
    (from, to): (Timestamp, Timestamp),
    interval: Interval,
    gaps: &[GapSpan],
    limit: usize,
) -> Vec<Timestamp> {
    let mut unknown = BTreeSet::new();
    for gap in gaps.iter().filter(|gap| gap.outcome == GapOutcome::Missing) {
        let first = gap.from.max(from).floor(interval);
        let buckets = std::iter::successors(Some(first), |start| Some(start.after(interval.span())));
        let within = buckets.take_while(|start| *start < to && touches(gap, *start, interval));
        let empty = within.filter(|start| *start >= from && !candles.contains(start));
        unknown.extend(empty.take(limit));
    }
    unknown.into_iter().take(limit).collect()
}

/// A missing trade may have the time of the trades around its gap.
fn touches(gap: &GapSpan, start: Timestamp, interval: Interval) -> bool {
    gap.from < start.after(interval.span()) && gap.to.is_none_or(|to| to >= start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000).expect("a time")
    }

    fn gap(from: i64, to: Option<i64>, outcome: GapOutcome) -> GapSpan {
        let second = |second: i64| Timestamp::from_micros(second * 1_000_000).expect("a time");
        GapSpan { from: second(from), to: to.map(second), outcome }
    }

    #[test]
    fn a_candle_is_partial_where_trades_are_missing_and_backfilled_where_they_were() {
        use Completeness::{Backfilled, Complete, Partial};
        let missing = |from, to| gap(from, to, GapOutcome::Missing);
        let backfilled = |from, to| gap(from, to, GapOutcome::Backfilled);
        // The bucket of the seconds 60 to 120.
        for (gaps, expected) in [
            (vec![], Complete),
            (vec![missing(10, Some(59))], Complete),
            (vec![missing(10, Some(60))], Partial),
            (vec![missing(119, Some(300))], Partial),
            (vec![missing(120, Some(300))], Complete),
            (vec![missing(10, None)], Partial),
            (vec![missing(120, None)], Complete),
            (vec![backfilled(70, Some(80))], Backfilled),
            (vec![backfilled(70, Some(80)), missing(90, Some(100))], Partial),
            (vec![backfilled(70, Some(80)), missing(190, None)], Backfilled),
        ] {
            assert_eq!(completeness(at(1), Interval::Minute, &gaps), expected, "{gaps:?}");
        }
    }

    #[test]
    fn a_bucket_without_trades_is_unknown_only_where_some_are_missing() {
        let gaps = [
            gap(130, Some(310), GapOutcome::Missing),
            gap(500, Some(700), GapOutcome::Backfilled),
            gap(790, None, GapOutcome::Missing),
        ];
        let candles = BTreeSet::from([at(2), at(5), at(13)]);
        let starts = |range: (i64, i64), limit| {
            let unknown = unknown_buckets(&candles, (at(range.0), at(range.1)), Interval::Minute, &gaps, limit);
            unknown.iter().map(|start| start.micros() / 60_000_000).collect::<Vec<_>>()
        };
        assert_eq!(starts((0, 17), 100), [3, 4, 14, 15, 16]);
        assert_eq!(starts((0, 17), 3), [3, 4, 14]);
        assert_eq!(starts((4, 15), 100), [4, 14]);
        assert_eq!(starts((6, 13), 100), Vec::<i64>::new());
    }
}
