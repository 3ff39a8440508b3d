//! Whether candles say rightly if trades are missing in them, beside what the market knows.

use std::collections::{BTreeMap, BTreeSet};

use events::{Interval, Timestamp};
use market_data::{Completeness, GapOutcome, GapSpan, completeness};
use price_ingestor::sources::exchange::continuity::{GapReport, GapState};

/// What is known of a trade.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) at: Timestamp,
    pub(crate) came_out: bool,
    pub(crate) was_filled_in: bool,
}

/// Asserts the completeness of each bucket: `trades` are those from the first one on that came out, by their ids.
pub(crate) fn judge(seed: u64, symbol: &str, trades: &BTreeMap<u64, Outcome>, reports: &[GapReport]) {
    let gaps = spans(reports);
    for interval in [Interval::Minute, Interval::FiveMinutes] {
        let buckets: BTreeSet<Timestamp> = trades.values().map(|trade| trade.at.floor(interval)).collect();
        for start in buckets {
            let said = completeness(start, interval, &gaps);
            let within = || trades.values().filter(|trade| trade.at.floor(interval) == start);
            let is_missing = within().any(|trade| !trade.came_out);
            let was_missing = within().any(|trade| trade.was_filled_in);
            let context = format!("seed {seed}: {symbol} {start} {interval}: {gaps:?}");
            assert!(!is_missing || said == Completeness::Partial, "{context}");
            assert!(!was_missing || said != Completeness::Complete, "{context}");
            // Without a trade that was missed in it, a bucket is touched only by a gap that begins or ends with one of its trades,
            // or by one of several holes.
            let is_near = is_near_a_gap(trades, start, interval, reports);
            assert!(said == Completeness::Complete || is_missing || was_missing || is_near, "{context}");
        }
    }
}

/// Returns what the store says about the gaps: the last report of each, without those in which nothing was missing.
fn spans(reports: &[GapReport]) -> Vec<GapSpan> {
    let last: BTreeMap<u64, &GapReport> = reports.iter().map(|report| (report.lower_bound, report)).collect();
    let missed = last.values().filter(|report| report.state != GapState::Filled || report.filled > 0);
    let span = |report: &&GapReport| GapSpan {
        from: report.from,
        to: report.to,
        outcome: if report.state == GapState::Filled { GapOutcome::Backfilled } else { GapOutcome::Missing },
    };
    missed.map(span).collect()
}

/// Returns whether a bucket has a trade that is next to a gap, or between two of its holes. The time of a gap is that of the trades next
/// to it, also where the venue offers some of what was missed and not the rest.
fn is_near_a_gap(trades: &BTreeMap<u64, Outcome>, start: Timestamp, interval: Interval, reports: &[GapReport]) -> bool {
    let gaps: BTreeSet<u64> = reports.iter().map(|report| report.lower_bound).collect();
    let is_near = |gap: u64, id: u64, at: Timestamp| {
        let of_gap = || reports.iter().filter(|report| report.lower_bound == gap);
        let is_next = of_gap().any(|report| report.from == at || report.to == Some(at));
        let first = of_gap().filter_map(|report| report.first_missing_id).min();
        let last = of_gap().filter_map(|report| report.last_missing_id).max();
        is_next || first <= Some(id) && last >= Some(id)
    };
    let mut within = trades.iter().filter(|(_, trade)| trade.at.floor(interval) == start);
    within.any(|(id, trade)| gaps.iter().any(|gap| is_near(*gap, *id, trade.at)))
}
