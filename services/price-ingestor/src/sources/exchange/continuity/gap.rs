//! A gap: what was missed, why, and what became of it.

use events::Timestamp;
pub use events::feed::{GapReason, GapState};
use serde::{Deserialize, Serialize};

use super::ranges::Ranges;

/// What is said about a gap, once for each state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapReport {
    /// The identity of the gap: its lower bound, which is an id, or a time in microseconds where ids say nothing.
    pub lower_bound: u64,
    /// The time of the last trade before the gap.
    pub from: Timestamp,
    /// The time of the first trade after it; none while it is open.
    pub to: Option<Timestamp>,
    /// The first missing id; none where ids say nothing.
    pub first_missing_id: Option<u64>,
    /// The last missing id; none where it is not known yet.
    pub last_missing_id: Option<u64>,
    /// The reason why trades were missed.
    pub reason: GapReason,
    /// The state that it has now.
    pub state: GapState,
    /// The number of trades that were filled in.
    pub filled: u64,
}

/// A gap as it is stored, and as it is held in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGap {
    /// The identity of the gap among those of its symbol.
    pub lower_bound: u64,
    /// The time of the last trade before it.
    pub from: Timestamp,
    /// The time of the first trade after it, where that is known.
    pub to: Option<Timestamp>,
    /// The ids that are missing, as far as they are known.
    pub missing: Ranges,
    /// The first and the last id that is missing or was, as far as they are known.
    #[serde(default)]
    pub missed: Option<(u64, u64)>,
    /// Whether nobody listens, or nobody has since, so that its end is not known.
    pub is_open_ended: bool,
    /// The reason why trades were missed.
    pub reason: GapReason,
    /// The state that it has now.
    pub state: GapState,
    /// Whether more was missed while it was being filled: what was asked for then is not all of it.
    #[serde(default)]
    pub has_grown: bool,
    /// Whether everything that the venue offers has arrived, and only the first trade after it is waited for, which says when
    /// it ended.
    #[serde(default)]
    pub is_exhausted: bool,
    /// The number of trades that were filled in.
    pub filled: u64,
}

impl StoredGap {
    /// Returns a gap that begins after `from` and whose end is not known.
    pub(super) fn open_ended(lower_bound: u64, from: Timestamp, reason: GapReason) -> Self {
        Self {
            lower_bound,
            from,
            to: None,
            missing: Ranges::default(),
            missed: None,
            is_open_ended: true,
            reason,
            state: GapState::Open,
            has_grown: false,
            is_exhausted: false,
            filled: 0,
        }
    }

    /// Remembers that these ids were missing, whatever becomes of them.
    pub(super) fn add_missed(&mut self, first: u64, last: u64) {
        let (known_first, known_last) = self.missed.unwrap_or((first, last));
        self.missed = Some((known_first.min(first), known_last.max(last)));
    }

    /// Returns whether it waits to be filled.
    pub(super) fn waits(&self, is_live: bool) -> bool {
        self.state == GapState::Open && (is_live || !self.is_open_ended)
    }

    /// Returns whether nothing can be said about it any more.
    pub(super) fn is_final(&self) -> bool {
        self.state.is_final()
    }

    /// Returns what is said about it now. `ids` are its first and last id that are missing, or were.
    pub(super) fn report(&self, ids: (Option<u64>, Option<u64>)) -> GapReport {
        GapReport {
            lower_bound: self.lower_bound,
            from: self.from,
            to: self.to.filter(|_| self.state != GapState::Open),
            first_missing_id: ids.0,
            last_missing_id: ids.1,
            reason: self.reason,
            state: self.state,
            filled: self.filled,
        }
    }
}
