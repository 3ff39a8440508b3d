//! The continuity of a venue whose trades have consecutive numbers: all numbers up to the last one are published, in a gap,
//! or given up.

use events::Timestamp;

use super::{
    Admission, Checkpoint, FillOutcome, Missing, Origin,
    gap::{GapReason, GapReport, GapState, StoredGap},
};

/// The most holes of one gap; the next hole begins another one.
const MAX_HOLES: usize = 1_000;
/// The most gaps of one symbol at a time. Beyond them the newest one grows.
const MAX_GAPS: usize = 1_000;

/// The continuity of one symbol whose trades are numbered.
#[derive(Debug, Clone, Default)]
pub struct IdContinuity {
    /// The first number that this process has seen; 0 after a restart, when everything before is settled.
    start: u64,
    last: Option<(u64, Timestamp)>,
    /// The gaps that are not final, oldest first. Only the newest one may be open-ended.
    gaps: Vec<StoredGap>,
    /// The number that the last heartbeat named.
    heard: u64,
    reports: Vec<GapReport>,
}

impl IdContinuity {
    pub(super) fn restore(Checkpoint { last_id, last_at, gaps }: Checkpoint) -> Self {
        let gaps = gaps
            .into_iter()
            .map(|gap| StoredGap { state: GapState::Open, has_grown: false, is_exhausted: false, ..gap })
            .collect();
        let last = last_id.map(|id| (id, last_at));
        let mut restored = Self { start: 0, last, gaps, heard: 0, reports: Vec::new() };
        restored.disconnect(GapReason::Down);
        restored
    }

    pub(super) fn admit(&mut self, first: u64, last: u64, at: Timestamp, origin: Origin) -> Admission {
        let Some((newest, newest_at)) = self.last else {
            self.start = first;
            self.last = Some((last, at));
            return Admission::New;
        };
        if first > newest {
            return self.advance(newest, newest_at, (first, last), at, origin);
        }
        if last > newest {
            // A message that stands for several trades, of which some are published: the others are asked for one by one.
            self.miss((newest.saturating_add(1), last), newest_at, Some(at), Origin::Live);
            self.last = Some((last, at.max(newest_at)));
            return Admission::Repeat;
        }
        if last < self.start && origin == Origin::Live {
            // The messages of a new feed arrive in another order than the trades.
            if last.saturating_add(1) < self.start {
                self.miss((last.saturating_add(1), self.start - 1), at, Some(newest_at), origin);
            }
            self.start = first;
            return Admission::New;
        }
        self.fill(first, last, at)
    }

    /// Moves the last number on, over what is missing before a trade.
    fn advance(
        &mut self,
        newest: u64,
        newest_at: Timestamp,
        (first, last): (u64, u64),
        at: Timestamp,
        origin: Origin,
    ) -> Admission {
        let has_open_end = self.gaps.last().is_some_and(|gap| gap.is_open_ended);
        if origin == Origin::Rest && !has_open_end {
            // The connection will bring it: the venue's two interfaces are not equally fast.
            return Admission::Repeat;
        }
        if first > newest.saturating_add(1) {
            self.miss((newest.saturating_add(1), first - 1), newest_at, Some(at), origin);
        }
        match origin {
            Origin::Rest => {
                if let Some(gap) = self.gaps.last_mut() {
                    gap.filled += 1;
                    gap.add_missed(first, last);
                }
            }
            Origin::Live => {
                for gap in self.gaps.iter_mut().filter(|gap| gap.is_open_ended || gap.to.is_none()) {
                    (gap.is_open_ended, gap.to) = (false, Some(at.max(gap.from)));
                }
            }
        }
        self.last = Some((last, at.max(newest_at)));
        self.conclude();
        Admission::New
    }

    /// Adds missing numbers to the newest gap, or begins one. `origin` is where they were seen to be missing.
    fn miss(&mut self, (first, last): (u64, u64), from: Timestamp, to: Option<Timestamp>, origin: Origin) {
        let is_full = self.gaps.len() >= MAX_GAPS;
        if let Some(gap) = self.gaps.last_mut()
            && (gap.is_open_ended || is_full || gap.state == GapState::Open && gap.missing.len() < MAX_HOLES)
        {
            gap.missing.insert(first, last);
            gap.add_missed(first, last);
            gap.from = gap.from.min(from);
            gap.to = gap.to.and_then(|known| to.map(|to| known.max(to))).or(to);
            if std::mem::take(&mut gap.is_exhausted) {
                gap.state = GapState::Open;
            }
            // What a request has shown to be missing is not on offer.
            gap.has_grown |= origin == Origin::Live && gap.state == GapState::Filling;
            return;
        }
        let mut gap = StoredGap::open_ended(first, from, GapReason::MissedIds);
        gap.missing.insert(first, last);
        gap.add_missed(first, last);
        (gap.is_open_ended, gap.to) = (false, to);
        self.reports.push(gap.report((Some(first), Some(last))));
        self.gaps.push(gap);
    }

    fn fill(&mut self, first: u64, last: u64, at: Timestamp) -> Admission {
        let Some(gap) = self.gaps.iter_mut().find_map(|gap| gap.missing.remove(first, last).then_some(gap)) else {
            return Admission::Repeat;
        };
        gap.filled += 1;
        self.last = self.last.map(|(newest, newest_at)| (newest, newest_at.max(at)));
        self.conclude();
        Admission::New
    }

    /// Reports the gaps of which nothing more is to be learned, and forgets them.
    fn conclude(&mut self) {
        let Self { gaps, reports, last, .. } = self;
        gaps.retain_mut(|gap| {
            if gap.is_open_ended {
                return true;
            }
            if gap.missing.is_empty() {
                gap.state = GapState::Filled;
                gap.to = gap.to.or(last.map(|(_, at)| at));
                // Where nothing was missing, only the first id that might have been is known.
                let (first, last) = gap.missed.unzip();
                reports.push(gap.report((first.or(Some(gap.lower_bound)), last)));
                return false;
            }
            if gap.is_exhausted && gap.to.is_some() {
                gap.state = GapState::Unfillable;
                reports.push(gap.report((gap.missing.first(), gap.missing.last())));
                return false;
            }
            true
        });
    }

    pub(super) fn hear_last(&mut self, id: u64) {
        let heard = std::mem::replace(&mut self.heard, id);
        if let Some((newest, at)) = self.last
            && heard > newest
        {
            self.miss((newest.saturating_add(1), heard), at, None, Origin::Live);
            self.last = Some((heard, at));
        }
    }

    pub(super) fn disconnect(&mut self, reason: GapReason) {
        let Some((newest, at)) = self.last else { return };
        // The next connection has its own heartbeats.
        self.heard = 0;
        match self.gaps.last_mut().filter(|gap| gap.is_open_ended) {
            Some(gap) if gap.is_exhausted => (gap.is_exhausted, gap.state) = (false, GapState::Open),
            Some(gap) => gap.has_grown = gap.state == GapState::Filling,
            None => {
                let gap = StoredGap::open_ended(newest.saturating_add(1), at, reason);
                self.reports.push(gap.report((Some(newest.saturating_add(1)), None)));
                self.gaps.push(gap);
            }
        }
    }

    pub(super) fn next_open(&self, is_live: bool) -> Option<&StoredGap> {
        self.gaps.iter().find(|gap| gap.waits(is_live))
    }

    pub(super) fn begin_filling(&mut self, is_live: bool) -> Option<Missing> {
        let gap = self.gaps.iter_mut().find(|gap| gap.waits(is_live))?;
        (gap.state, gap.has_grown) = (GapState::Filling, false);
        let missing = missing(gap);
        self.reports.push(gap.report((missing.first_id, missing.last_id)));
        Some(missing)
    }

    pub(super) fn still_missing(&self, gap: u64) -> Option<Missing> {
        self.gaps.iter().find(|other| other.lower_bound == gap).map(missing)
    }

    pub(super) fn is_incomplete(&self, gap: u64) -> bool {
        let gap = self.gaps.iter().find(|other| other.lower_bound == gap);
        gap.is_some_and(|gap| !gap.missing.is_empty() && !gap.has_grown)
    }

    pub(super) fn end_filling(&mut self, gap: u64, outcome: FillOutcome) {
        let Some(at) = self.gaps.iter().position(|other| other.lower_bound == gap && !other.is_final()) else { return };
        let gap = &mut self.gaps[at];
        if std::mem::take(&mut gap.has_grown) {
            // The answers may be older than what was missed last, so that they do not say that the venue has nothing of it.
            gap.state = GapState::Open;
            return;
        }
        if gap.is_open_ended && outcome == FillOutcome::NotOffered {
            // The first live trade will say how far it goes. Until then the venue is not asked again.
            gap.is_exhausted = true;
            return;
        }
        // A trade behind the last missing one says when the gap ended. Where a heartbeat has named the last missing one, the
        // next live trade will say it.
        let (newest, newest_at) = self.last.unzip();
        if gap.missing.last() < newest && (gap.is_open_ended || gap.to.is_none()) {
            (gap.is_open_ended, gap.to) = (false, newest_at);
        }
        gap.is_exhausted = true;
        self.conclude();
    }

    pub(super) fn take_reports(&mut self) -> Vec<GapReport> {
        std::mem::take(&mut self.reports)
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let (last_id, last_at) = self.last?;
        Some(Checkpoint { last_id: Some(last_id), last_at, gaps: self.gaps.clone() })
    }

    pub(super) fn open_gaps(&self) -> usize {
        self.gaps.len()
    }
}

fn missing(gap: &StoredGap) -> Missing {
    let last_id = if gap.is_open_ended { None } else { gap.missing.last() };
    let first_id = gap.missing.first().or(Some(gap.lower_bound));
    let to = gap.to.filter(|_| !gap.is_open_ended);
    Missing { gap: gap.lower_bound, first_id, last_id, from: gap.from, to }
}
