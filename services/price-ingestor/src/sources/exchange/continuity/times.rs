//! The continuity of a venue whose ids say nothing about their neighbours: gaps are what happened while nobody listened.

use std::collections::{HashSet, VecDeque};

use events::Timestamp;

use super::{
    Admission, Checkpoint, FillOutcome, Missing, Origin,
    gap::{GapReason, GapReport, GapState, StoredGap},
};

/// The number of ids by which repeats are recognised.
const MAX_RECENT: usize = 20_000;

/// The continuity of one symbol whose trades have names.
#[derive(Debug, Clone, Default)]
pub struct TimeContinuity {
    last_at: Option<Timestamp>,
    /// The ids of the last trades, oldest first, and as a set.
    recent: VecDeque<String>,
    known: HashSet<String>,
    /// The gaps that are not final, oldest first. Only the newest one may be open-ended.
    gaps: Vec<StoredGap>,
    /// The lowest identity that the next gap may have.
    next_bound: u64,
    reports: Vec<GapReport>,
}

impl TimeContinuity {
    pub(super) fn restore(Checkpoint { last_at, gaps, .. }: Checkpoint) -> Self {
        let gaps: Vec<StoredGap> = gaps
            .into_iter()
            .map(|gap| StoredGap { state: GapState::Open, has_grown: false, is_exhausted: false, ..gap })
            .collect();
        let next_bound = gaps.last().map_or(0, |gap| gap.lower_bound.saturating_add(1));
        let mut restored = Self { last_at: Some(last_at), gaps, next_bound, ..Self::default() };
        restored.disconnect(GapReason::Down);
        restored
    }

    pub(super) fn admit(&mut self, id: &str, at: Timestamp, origin: Origin) -> Admission {
        // A page of past trades reaches back over the gap. What was before is published, though its id may be forgotten.
        if self.known.contains(id) || origin == Origin::Rest && !self.gaps.iter().any(|gap| contains(gap, at)) {
            return Admission::Repeat;
        }
        if self.recent.len() >= MAX_RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.recent.push_back(id.to_owned());
        self.known.insert(id.to_owned());
        match origin {
            Origin::Live => {
                if let Some(gap) = self.gaps.last_mut().filter(|gap| gap.is_open_ended) {
                    (gap.is_open_ended, gap.to) = (false, Some(at.max(gap.from)));
                }
            }
            Origin::Rest => {
                if let Some(gap) = self.gaps.iter_mut().find(|gap| contains(gap, at)) {
                    gap.filled += 1;
                }
            }
        }
        self.last_at = Some(self.last_at.map_or(at, |last| last.max(at)));
        Admission::New
    }

    pub(super) fn disconnect(&mut self, reason: GapReason) {
        let Some(at) = self.last_at else { return };
        if self.gaps.last().is_some_and(|gap| gap.is_open_ended) {
            return;
        }
        // Several gaps may begin at one time, and each needs an identity.
        let lower_bound = at.micros().unsigned_abs().max(self.next_bound);
        self.next_bound = lower_bound.saturating_add(1);
        let gap = StoredGap::open_ended(lower_bound, at, reason);
        self.reports.push(gap.report((None, None)));
        self.gaps.push(gap);
    }

    /// A gap is asked for once its end is known: before that, its trades look like those after it.
    pub(super) fn next_open(&self, is_live: bool) -> Option<&StoredGap> {
        self.gaps.iter().find(|gap| gap.waits(is_live) && !gap.is_open_ended)
    }

    pub(super) fn begin_filling(&mut self, is_live: bool) -> Option<Missing> {
        let gap = self.gaps.iter_mut().find(|gap| gap.waits(is_live) && !gap.is_open_ended)?;
        gap.state = GapState::Filling;
        self.reports.push(gap.report((None, None)));
        Some(missing(gap))
    }

    pub(super) fn still_missing(&self, gap: u64) -> Option<Missing> {
        self.gaps.iter().find(|other| other.lower_bound == gap).map(missing)
    }

    pub(super) fn end_filling(&mut self, gap: u64, outcome: FillOutcome) {
        let Some(at) = self.gaps.iter().position(|other| other.lower_bound == gap) else { return };
        let mut gap = self.gaps.remove(at);
        gap.state = match outcome {
            FillOutcome::Exhausted => GapState::Filled,
            FillOutcome::NotOffered => GapState::Unfillable,
        };
        self.reports.push(gap.report((None, None)));
    }

    pub(super) fn take_reports(&mut self) -> Vec<GapReport> {
        std::mem::take(&mut self.reports)
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.last_at.map(|last_at| Checkpoint { last_id: None, last_at, gaps: self.gaps.clone() })
    }

    pub(super) fn open_gaps(&self) -> usize {
        self.gaps.len()
    }
}

/// Returns whether a time is within a gap, in whole seconds: the REST API may cut a time that live messages have in full.
fn contains(gap: &StoredGap, at: Timestamp) -> bool {
    let second = |time: Timestamp| time.micros() / 1_000_000;
    second(gap.from) <= second(at) && gap.to.is_none_or(|to| at <= to)
}

fn missing(gap: &StoredGap) -> Missing {
    Missing { gap: gap.lower_bound, first_id: None, last_id: None, from: gap.from, to: gap.to }
}
