//! What is known of the feeds of a venue and not saved yet. No I/O and no clock.
//!
//! What is said about gaps is saved with a position that is as new or newer, so that a process that starts from it knows each
//! gap that was reported. What is said while the database is away is kept, up to a bound.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use events::{Symbol, feed::GapBounds};
use store::feeds::progress::{self, FeedProgress, OpenGap, ReportRow, StateRow};

use super::{
    continuity::{Checkpoint, GapReport, StoredGap},
    feed::FeedState,
};

/// The most reports that are saved at once.
const MAX_REPORTS_AT_ONCE: usize = 500;
/// The most reports that wait. Beyond them only the last one of each gap is kept, and then the oldest are lost.
const MAX_WAITING_REPORTS: usize = 50_000;
/// The trades of a minute are counted in spans of this many seconds.
const SPAN_SECONDS: u64 = 10;
const SPANS: usize = 6;

/// The trades of a symbol in the last minute.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    counts: [u64; SPANS],
    span: u64,
}

impl Rate {
    /// Forgets what is older than a minute before a second.
    fn advance(&mut self, second: u64) {
        let span = second / SPAN_SECONDS;
        for old in self.span + 1..=span.min(self.span + SPANS as u64) {
            self.counts[(old % SPANS as u64) as usize] = 0;
        }
        self.span = self.span.max(span);
    }

    fn count(&mut self, trades: u64, second: u64) {
        self.advance(second);
        self.counts[(self.span % SPANS as u64) as usize] += trades;
    }

    fn per_minute(&mut self, second: u64) -> u64 {
        self.advance(second);
        self.counts.iter().sum()
    }
}

/// What is said about feeds.
#[derive(Debug)]
enum Said {
    Report(ReportRow),
    /// A symbol is not followed any more. What is said about it afterwards is about one that was added anew.
    Removed(Symbol),
}

/// What is not saved yet, and what was saved last.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    /// How far each symbol was published, as it is now.
    checkpoints: BTreeMap<Symbol, Checkpoint>,
    /// The symbols of those that are not saved.
    moved: BTreeSet<Symbol>,
    /// Reports that wait for a position of their symbol.
    unplaced: BTreeMap<Symbol, Vec<ReportRow>>,
    /// What is said about gaps and what is removed, in its order.
    said: VecDeque<Said>,
    states: BTreeMap<Symbol, FeedState>,
    rates: BTreeMap<Symbol, Rate>,
    saved_states: BTreeMap<Symbol, StateRow>,
    saved_gaps: BTreeMap<(Symbol, u64), StoredGap>,
    /// The number of reports that were given up.
    pub(crate) lost_reports: u64,
}

impl Unsaved {
    /// Counts trades that were published at a second.
    pub(crate) fn count_trades(&mut self, symbol: &Symbol, trades: u64, second: u64) {
        self.rates.entry(symbol.clone()).or_default().count(trades, second);
    }

    /// Notes the state of a symbol.
    pub(crate) fn set_state(&mut self, symbol: Symbol, state: FeedState) {
        self.states.insert(symbol, state);
    }

    /// Notes what is said about a gap.
    pub(crate) fn report(&mut self, symbol: Symbol, bounds: GapBounds, report: &GapReport) {
        let GapReport { lower_bound, from, to, first_missing_id, last_missing_id, reason, state, filled } = *report;
        let row = ReportRow {
            symbol: symbol.clone(),
            lower_bound,
            bounds,
            from,
            to,
            first_missing_id,
            last_missing_id,
            reason,
            state,
            filled,
        };
        self.unplaced.entry(symbol).or_default().push(row);
    }

    /// Notes how far a symbol was published. What was said about its gaps can now be saved.
    pub(crate) fn checkpoint(&mut self, symbol: Symbol, checkpoint: Checkpoint) {
        self.place(&symbol);
        self.moved.insert(symbol.clone());
        self.checkpoints.insert(symbol, checkpoint);
    }

    /// Notes that a symbol is not followed any more.
    pub(crate) fn remove(&mut self, symbol: Symbol) {
        self.place(&symbol);
        self.moved.remove(&symbol);
        self.checkpoints.remove(&symbol);
        self.forget(&symbol);
        self.said.push_back(Said::Removed(symbol));
    }

    /// Notes that a symbol is not followed for now.
    pub(crate) fn forget(&mut self, symbol: &Symbol) {
        self.states.remove(symbol);
        self.rates.remove(symbol);
        self.saved_states.remove(symbol);
    }

    fn place(&mut self, symbol: &Symbol) {
        self.said.extend(self.unplaced.remove(symbol).unwrap_or_default().into_iter().map(Said::Report));
        if self.said.len() > MAX_WAITING_REPORTS {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let gap = |said: &Said| match said {
            Said::Report(report) => Some((report.symbol.clone(), report.lower_bound)),
            Said::Removed(_) => None,
        };
        let last: BTreeMap<_, _> =
            self.said.iter().enumerate().filter_map(|(at, said)| Some((gap(said)?, at))).collect();
        let mut at = 0;
        self.said.retain(|said| {
            at += 1;
            gap(said).is_none_or(|gap| last.get(&gap) == Some(&(at - 1)))
        });
        let mut excess = self.said.len().saturating_sub(MAX_WAITING_REPORTS / 2);
        self.said.retain(|said| {
            let is_lost = excess > 0 && matches!(said, Said::Report(_));
            excess -= usize::from(is_lost);
            self.lost_reports += u64::from(is_lost);
            !is_lost
        });
    }

    /// Takes what is to be saved now. [`Unsaved::put_back`] takes it back when that fails.
    pub(crate) fn take(&mut self, second: u64) -> FeedProgress {
        let mut progress = FeedProgress { states: self.changed_states(second), ..FeedProgress::default() };
        while progress.reports.len() < MAX_REPORTS_AT_ONCE
            && let Some(said) = self.said.pop_front()
        {
            match said {
                Said::Report(report) if progress.removed.is_empty() => progress.reports.push(report),
                Said::Removed(symbol) => progress.removed.push(symbol),
                // It is said after the removal.
                Said::Report(_) => {
                    self.said.push_front(said);
                    break;
                }
            }
        }
        if !self.said.is_empty() {
            // Positions are no older than what is said about the gaps before them.
            return progress;
        }
        for symbol in std::mem::take(&mut self.moved) {
            let Some(checkpoint) = self.checkpoints.get(&symbol) else { continue };
            progress.open_gaps.extend(changed_gaps(&mut self.saved_gaps, &symbol, &checkpoint.gaps));
            progress.positions.push((symbol, checkpoint.last_id, checkpoint.last_at));
        }
        progress
    }

    fn changed_states(&mut self, second: u64) -> Vec<StateRow> {
        let mut changed = Vec::new();
        for (symbol, state) in &self.states {
            let trades_per_minute = self.rates.get_mut(symbol).map_or(0, |rate| rate.per_minute(second));
            let row = state_row(symbol, state, trades_per_minute);
            let saved = self.saved_states.get(symbol);
            let is_same = |saved: &StateRow| (saved.state, &saved.detail) == (row.state, &row.detail);
            // A rate changes all the time, so it is saved once for each span.
            let is_due = second.is_multiple_of(SPAN_SECONDS) && saved != Some(&row);
            if is_due || !saved.is_some_and(is_same) {
                self.saved_states.insert(symbol.clone(), row.clone());
                changed.push(row);
            }
        }
        changed
    }

    /// Takes back what could not be saved.
    pub(crate) fn put_back(&mut self, progress: FeedProgress) {
        let FeedProgress { positions, states, reports, open_gaps, removed } = progress;
        let said = reports.into_iter().map(Said::Report).chain(removed.into_iter().map(Said::Removed));
        for said in said.rev() {
            self.said.push_front(said);
        }
        let positions = positions.into_iter().map(|(symbol, ..)| symbol);
        self.moved.extend(positions.filter(|symbol| self.checkpoints.contains_key(symbol)));
        for OpenGap { symbol, lower_bound, .. } in open_gaps {
            self.saved_gaps.remove(&(symbol, lower_bound));
        }
        for StateRow { symbol, .. } in states {
            self.saved_states.remove(&symbol);
        }
    }
}

/// Returns the gaps of a symbol that are not as they were saved last, which they then count as.
fn changed_gaps(saved: &mut BTreeMap<(Symbol, u64), StoredGap>, symbol: &Symbol, gaps: &[StoredGap]) -> Vec<OpenGap> {
    let all = (symbol.clone(), 0)..=(symbol.clone(), u64::MAX);
    let before: BTreeMap<_, _> = saved.extract_if(all, |_, _| true).collect();
    let mut changed = Vec::new();
    for gap in gaps {
        let key = (symbol.clone(), gap.lower_bound);
        if before.get(&key) != Some(gap)
            && let Ok(document) = serde_json::to_value(gap)
        {
            changed.push(OpenGap { symbol: symbol.clone(), lower_bound: gap.lower_bound, document });
        }
        saved.insert(key, gap.clone());
    }
    changed
}

fn state_row(symbol: &Symbol, state: &FeedState, trades_per_minute: u64) -> StateRow {
    let (state, detail) = match state {
        FeedState::Live => (progress::FeedState::Live, None),
        FeedState::Stale => (progress::FeedState::Stale, None),
        FeedState::Reconnecting(why) => (progress::FeedState::Reconnecting, Some(why.clone())),
        FeedState::Refused(why) => (progress::FeedState::Refused, Some(why.clone())),
    };
    StateRow { symbol: symbol.clone(), state, detail, trades_per_minute }
}

#[cfg(test)]
mod tests {
    use events::{
        Timestamp,
        feed::{GapReason, GapState},
    };

    use super::*;

    fn symbol(name: &str) -> Symbol {
        Symbol::parse(name).expect("a symbol")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000).expect("a time")
    }

    fn report(lower_bound: u64, state: GapState) -> GapReport {
        let (first_missing_id, last_missing_id) = (Some(lower_bound), None);
        let reason = GapReason::Disconnected;
        GapReport { lower_bound, from: at(1), to: None, first_missing_id, last_missing_id, reason, state, filled: 0 }
    }

    fn checkpoint(last_id: u64) -> Checkpoint {
        Checkpoint { last_id: Some(last_id), last_at: at(2), gaps: Vec::new() }
    }

    #[test]
    fn what_is_said_about_a_gap_waits_for_a_position_that_is_as_new() {
        let (mut unsaved, btc) = (Unsaved::default(), symbol("BTC-USD"));
        unsaved.report(btc.clone(), GapBounds::Ids, &report(5, GapState::Open));
        assert_eq!(unsaved.take(1), FeedProgress::default());
        unsaved.checkpoint(btc.clone(), checkpoint(4));
        let progress = unsaved.take(1);
        assert_eq!((progress.reports.len(), progress.positions.as_slice()), (1, &[(btc, Some(4), at(2))][..]));
        assert_eq!(unsaved.take(1), FeedProgress::default());
    }

    #[test]
    fn what_could_not_be_saved_is_saved_in_its_order_with_the_newest_position() {
        let (mut unsaved, btc) = (Unsaved::default(), symbol("BTC-USD"));
        unsaved.set_state(btc.clone(), FeedState::Live);
        unsaved.report(btc.clone(), GapBounds::Ids, &report(5, GapState::Open));
        unsaved.checkpoint(btc.clone(), checkpoint(4));
        let failed = unsaved.take(1);
        assert_eq!(failed.states.len(), 1);
        unsaved.report(btc.clone(), GapBounds::Ids, &report(5, GapState::Filled));
        unsaved.checkpoint(btc.clone(), checkpoint(9));
        unsaved.put_back(failed);
        let progress = unsaved.take(2);
        let states: Vec<GapState> = progress.reports.iter().map(|report| report.state).collect();
        assert_eq!(states, [GapState::Open, GapState::Filled]);
        assert_eq!((progress.positions.as_slice(), progress.states.len()), (&[(btc, Some(9), at(2))][..], 1));
    }

    #[test]
    fn a_symbol_that_is_removed_and_added_again_keeps_what_is_said_about_it_since() {
        let (mut unsaved, btc) = (Unsaved::default(), symbol("BTC-USD"));
        let open = |unsaved: &mut Unsaved, gap| {
            unsaved.report(btc.clone(), GapBounds::Ids, &report(gap, GapState::Open));
            unsaved.checkpoint(btc.clone(), checkpoint(gap - 1));
        };
        open(&mut unsaved, 5);
        unsaved.remove(btc.clone());
        open(&mut unsaved, 9);
        let gaps =
            |progress: &FeedProgress| progress.reports.iter().map(|report| report.lower_bound).collect::<Vec<_>>();
        for fails in [true, false] {
            let progress = unsaved.take(1);
            assert_eq!((gaps(&progress), progress.removed.len(), progress.positions.len()), (vec![5], 1, 0));
            if fails {
                unsaved.put_back(progress);
            }
        }
        let progress = unsaved.take(1);
        assert_eq!((gaps(&progress), progress.removed.len()), (vec![9], 0));
        assert_eq!(progress.positions, [(btc.clone(), Some(8), at(2))]);
    }

    #[test]
    fn an_outage_of_days_keeps_the_last_word_about_each_gap() {
        let (mut unsaved, btc) = (Unsaved::default(), symbol("BTC-USD"));
        for gap in 0..MAX_WAITING_REPORTS as u64 * 2 / 5 {
            for state in [GapState::Open, GapState::Filling, GapState::Filled] {
                unsaved.report(btc.clone(), GapBounds::Ids, &report(gap, state));
            }
            unsaved.checkpoint(btc.clone(), checkpoint(gap));
        }
        assert!(unsaved.said.len() <= MAX_WAITING_REPORTS);
        let mut last = BTreeMap::new();
        while let progress = unsaved.take(1)
            && !progress.reports.is_empty()
        {
            last.extend(progress.reports.into_iter().map(|report| (report.lower_bound, report.state)));
        }
        assert!(last.len() == MAX_WAITING_REPORTS * 2 / 5 && last.values().all(|state| *state == GapState::Filled));
    }

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let (mut unsaved, btc) = (Unsaved::default(), symbol("BTC-USD"));
        unsaved.set_state(btc.clone(), FeedState::Live);
        for second in 0..120 {
            unsaved.count_trades(&btc, 1, second);
        }
        let rate = |unsaved: &mut Unsaved, second| unsaved.take(second).states.first().map(|row| row.trades_per_minute);
        assert_eq!(rate(&mut unsaved, 119), Some(60));
        assert_eq!(rate(&mut unsaved, 125), None, "a rate is saved once in ten seconds");
        assert_eq!(rate(&mut unsaved, 150), Some(20));
        assert_eq!(rate(&mut unsaved, 10_000), Some(0));
        assert_eq!(rate(&mut unsaved, 10_010), None);
    }
}
