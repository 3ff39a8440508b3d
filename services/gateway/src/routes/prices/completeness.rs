//! What gaps in the trades say about candles: which ones lack trades, and of which intervals nothing is known.

use std::{collections::BTreeSet, str::FromStr};

use events::{Interval, Timestamp};
use market_data::{Completeness, GapSpan, completeness, unknown_buckets};
use serde::Serialize;
use store::market::candle_list::{CandlePage, CandleText};
use utoipa::ToSchema;

use crate::{http::problem::Problem, market::candle_pages::PageKey};

/// `partial`: trades are missing. `backfilled`: trades were missed and fetched afterwards. `unknown`: there is no tick, and trades are
/// missing; such candles are answered for `gaps=include`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CandleCompleteness {
    Complete,
    Partial,
    Backfilled,
    Unknown,
}

impl CandleCompleteness {
    /// Returns the word as it is written.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Backfilled => "backfilled",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Completeness> for CandleCompleteness {
    fn from(completeness: Completeness) -> Self {
        match completeness {
            Completeness::Complete => Self::Complete,
            Completeness::Partial => Self::Partial,
            Completeness::Backfilled => Self::Backfilled,
        }
    }
}

/// Whether intervals are answered of which nothing is known.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum UnknownCandles {
    Include,
}

impl FromStr for UnknownCandles {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "include" { Ok(Self::Include) } else { Err("must be include") }
    }
}

/// A line of a page of candles.
#[derive(Debug, Clone, Copy)]
pub(super) enum CandleLine<'page> {
    /// The ticks of an interval.
    Traded(CandleText<'page>, CandleCompleteness),
    /// The start of an interval of which nothing is known.
    Unknown(Timestamp),
}

impl CandleLine<'_> {
    /// Returns the start of the interval.
    pub(super) fn start(&self) -> Timestamp {
        match self {
            Self::Traded(candle, _) => candle.start,
            Self::Unknown(start) => *start,
        }
    }
}

/// The times of a page of candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSpan {
    /// The first time that the page is about.
    pub(super) from: Timestamp,
    /// The time at which the next page begins, or now.
    pub(super) to: Timestamp,
    /// The end of its last candle, where that is later.
    pub(super) last_end: Timestamp,
}

impl PageSpan {
    /// Returns the times of the page that these candles, up to one more than its limit, are of. A page without a beginning begins
    /// with its first candle.
    pub(super) fn new(key: &PageKey, candles: &CandlePage, now: Timestamp) -> Self {
        let last = candles.start(candles.len().saturating_sub(1));
        Self::of(key, (candles.start(0), candles.start(usize::from(key.limit)), last), now)
    }

    /// `first`, `next` and `last` are the starts of the first candle, of the one behind the page, and of the last one that was read.
    fn of(
        key: &PageKey,
        (first, next, last): (Option<Timestamp>, Option<Timestamp>, Option<Timestamp>),
        now: Timestamp,
    ) -> Self {
        let to = next.unwrap_or(key.to.min(now));
        let from = if key.from > Timestamp::EPOCH { key.from } else { first.unwrap_or(to) };
        let last_end = last.map_or(to, |last| to.max(last.after(key.interval.span())));
        Self { from, to, last_end }
    }
}

/// Returns the lines of candles, which are up to one more than the limit of their page.
pub(super) fn lines<'page>(
    candles: &'page CandlePage,
    interval: Interval,
    gaps: &'page [GapSpan],
) -> Result<impl ExactSizeIterator<Item = Result<CandleLine<'page>, Problem>>, Problem> {
    Ok(candles.iter()?.map(move |candle| {
        let candle = candle?;
        Ok(CandleLine::Traded(candle, completeness(candle.start, interval, gaps).into()))
    }))
}

/// Adds the intervals of which nothing is known to the lines of candles, up to one more than the limit of the page.
pub(super) fn with_unknown<'page>(
    mut lines: Vec<CandleLine<'page>>,
    key: &PageKey,
    span: PageSpan,
    gaps: &[GapSpan],
) -> Vec<CandleLine<'page>> {
    let (starts, rows): (BTreeSet<Timestamp>, _) =
        (lines.iter().map(CandleLine::start).collect(), usize::from(key.limit) + 1);
    let unknown = unknown_buckets(&starts, (span.from, span.to), key.interval, gaps, rows);
    lines.extend(unknown.into_iter().map(CandleLine::Unknown));
    lines.sort_by_key(CandleLine::start);
    lines.truncate(rows);
    lines
}

#[cfg(test)]
mod tests {
    use market_data::GapOutcome;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000).expect("a time")
    }

    #[test]
    fn a_page_is_about_the_times_up_to_the_next_page_or_now() {
        let key = |from: i64, to: Option<i64>| PageKey {
            interval: Interval::Minute,
            from: at(from),
            to: to.map_or(Timestamp::LAST, at),
            limit: 2,
        };
        let some = |minute| Some(at(minute));
        for (key, starts, expected) in [
            (key(10, Some(20)), (some(12), None, some(12)), (10, 20, 20)),
            (key(10, Some(20)), (None, None, None), (10, 20, 20)),
            (key(10, None), (some(12), None, some(30)), (10, 30, 31)),
            (key(10, Some(99)), (None, None, None), (10, 30, 30)),
            (key(0, None), (some(12), None, some(13)), (12, 30, 30)),
            (key(0, None), (None, None, None), (30, 30, 30)),
            (key(10, Some(20)), (some(11), some(15), some(15)), (10, 15, 16)),
        ] {
            let span = PageSpan::of(&key, starts, at(30));
            let (from, to, last_end) = expected;
            assert_eq!(span, PageSpan { from: at(from), to: at(to), last_end: at(last_end) }, "{key:?} {starts:?}");
        }
    }

    #[test]
    fn intervals_of_which_nothing_is_known_stand_among_the_candles_up_to_the_limit() {
        let key = PageKey { interval: Interval::Minute, from: at(1), to: at(9), limit: 3 };
        let span = PageSpan { from: at(1), to: at(9), last_end: at(9) };
        let gap = GapSpan { from: at(2), to: Some(at(8)), outcome: GapOutcome::Missing };
        let starts = |gaps: &[GapSpan]| {
            let lines = with_unknown(vec![CandleLine::Unknown(at(4))], &key, span, gaps);
            lines.iter().map(|line| line.start().micros() / 60_000_000).collect::<Vec<_>>()
        };
        assert_eq!(starts(&[gap]), [2, 3, 4, 5]);
        assert_eq!(starts(&[GapSpan { outcome: GapOutcome::Backfilled, ..gap }]), [4]);
        assert_eq!(starts(&[]), [4]);
        assert_eq!("include".parse::<UnknownCandles>().map(|_| ()), Ok(()));
        assert!("exclude".parse::<UnknownCandles>().is_err());
    }
}
