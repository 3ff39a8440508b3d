//! Where ticks of markets are missing: each gap of a feed from its first report until it is judged.

use std::collections::{BTreeMap, HashMap};

use events::{FeedGap, Period, Symbol, Timestamp, Venue, feed::GapState};

/// A longer gap is not judged: prices from before it say nothing about what its owner would have wanted to know in time. It also
/// bounds how long samples stay that only the judgement of a gap looks back to.
const LONGEST: Period = Period::DAY;
/// Of one market so many gaps are followed at a time; further ones are not judged.
const MAX_FOLLOWED: usize = 1_000;

/// A gap in the ticks of a market, as the engine has read about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketGap {
    /// The id of the gap, as in `feed-gap.v1`.
    pub gap_id: String,
    /// The symbol whose ticks are missing.
    pub symbol: Symbol,
    /// The venue whose ticks are missing.
    pub venue: Venue,
    /// The number of the report that was applied last.
    pub revision: u32,
    /// The time of the last tick before the gap.
    pub from: Timestamp,
    /// The time of the first tick after it; none while it is not known.
    pub to: Option<Timestamp>,
    /// What is known of its ticks.
    pub stage: GapStage,
}

/// What is known of the ticks of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapStage {
    /// They are missing.
    Missing,
    /// They were published, and the gap waits to be judged.
    Known {
        /// Their sequences in stream `TICKS` are not above this one.
        until: u64,
        /// Whether nothing is missing any more. The venue may not have offered all of them.
        is_complete: bool,
    },
    /// The gap is judged, or there is nothing to judge.
    Judged,
}

/// The gaps of all markets that are not judged.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    markets: HashMap<(Symbol, Venue), BTreeMap<String, MarketGap>>,
    changed: BTreeMap<String, MarketGap>,
    /// The revisions that were judged, of the gaps that the reports of the batch are about.
    judged: HashMap<String, u32>,
}

impl Gaps {
    /// Restores the gaps that are not judged.
    pub(crate) fn restore(saved: Vec<MarketGap>) -> Self {
        let mut gaps = Self::default();
        for gap in saved {
            gaps.of_market(&gap.symbol, &gap.venue).insert(gap.gap_id.clone(), gap);
        }
        gaps
    }

    /// Notes the revisions of gaps that were judged before this batch.
    pub(crate) fn note_judged(&mut self, judged: HashMap<String, u32>) {
        for (gap_id, revision) in judged {
            let known = self.judged.entry(gap_id).or_default();
            *known = revision.max(*known);
        }
    }

    /// Applies a report, unless it or a later one was applied before. A gap that is judged is followed again when it is reported with
    /// a higher revision: no trade lies between two gaps with one id.
    pub(crate) fn apply(&mut self, report: &FeedGap, known_until: u64) {
        let judged = self.judged.get(&report.gap_id).copied();
        let followed = self.of_market(&report.symbol, &report.venue);
        let known = followed.get(&report.gap_id);
        if known.map(|known| known.revision).max(judged) >= Some(report.revision) {
            return;
        }
        let fits = known.is_some() || followed.len() < MAX_FOLLOWED;
        let is_short = report.to.is_none_or(|to| to <= report.from.after(LONGEST));
        let stage = match (report.state.is_final(), report.to) {
            (false, _) if fits => GapStage::Missing,
            (true, Some(_)) if fits && is_short && report.filled > 0 => {
                GapStage::Known { until: known_until, is_complete: report.state == GapState::Filled }
            }
            _ => GapStage::Judged,
        };
        let FeedGap { gap_id, symbol, venue, revision, from, to, .. } = report.clone();
        let gap = MarketGap { gap_id: gap_id.clone(), symbol, venue, revision, from, to, stage };
        if stage == GapStage::Judged {
            followed.remove(&gap_id);
            self.judged.insert(gap_id.clone(), revision);
        } else {
            followed.insert(gap_id.clone(), gap.clone());
        }
        self.changed.insert(gap_id, gap);
    }

    /// Returns a gap that waits to be judged.
    pub(crate) fn next_known(&self) -> Option<&MarketGap> {
        let mut gaps = self.markets.values().flat_map(BTreeMap::values);
        gaps.find(|gap| matches!(gap.stage, GapStage::Known { .. }))
    }

    /// Removes a gap that is judged, unless a later report about it was applied meanwhile.
    pub(crate) fn remove(&mut self, gap: &MarketGap) {
        let followed = self.of_market(&gap.symbol, &gap.venue);
        if followed.get(&gap.gap_id).is_some_and(|known| known.revision <= gap.revision) {
            followed.remove(&gap.gap_id);
        }
    }

    /// Returns the time since which ticks of a market are missing; none where none are.
    pub(crate) fn missing_since(&self, symbol: &Symbol, venue: &Venue) -> Option<Timestamp> {
        self.gaps(symbol, venue).filter(|gap| gap.stage == GapStage::Missing).map(|gap| gap.from).min()
    }

    /// Returns the time from which on windows must find their samples, where the last tick of the market is at `last`.
    pub(crate) fn needed_from(&self, symbol: &Symbol, venue: &Venue, last: Timestamp) -> Timestamp {
        let recent = self.gaps(symbol, venue).map(|gap| gap.from).filter(|from| last <= from.after(LONGEST));
        recent.min().map_or(last, |from| from.min(last))
    }

    /// Takes the gaps that have changed since the last call. Which are judged is forgotten: from now on the database knows it.
    pub(crate) fn take_changes(&mut self) -> Vec<MarketGap> {
        self.judged.clear();
        std::mem::take(&mut self.changed).into_values().collect()
    }

    fn gaps(&self, symbol: &Symbol, venue: &Venue) -> impl Iterator<Item = &MarketGap> {
        self.markets.get(&(symbol.clone(), venue.clone())).into_iter().flat_map(BTreeMap::values)
    }

    fn of_market(&mut self, symbol: &Symbol, venue: &Venue) -> &mut BTreeMap<String, MarketGap> {
        self.markets.entry((symbol.clone(), venue.clone())).or_default()
    }
}
