//! What came out of a feed.

use std::collections::{BTreeMap, BTreeSet};

use events::{Symbol, tick::TickSource};
use price_ingestor::sources::exchange::{
    continuity::{GapReport, GapState},
    feed::{Checkpoints, FeedEvent, FeedState},
};

use crate::{venues::SYMBOLS, verdicts::Published};

/// What came out of a feed.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) ids: BTreeMap<Symbol, Vec<u64>>,
    /// The ids that were filled in.
    pub(crate) filled_in: BTreeMap<Symbol, BTreeSet<u64>>,
    pub(crate) published: BTreeMap<Symbol, Vec<Published>>,
    pub(crate) reports: BTreeMap<Symbol, Vec<GapReport>>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) bad_messages: u64,
    pub(crate) states: BTreeMap<Symbol, FeedState>,
    pub(crate) left: Vec<Symbol>,
}

impl Output {
    pub(crate) fn take(&mut self, events: Vec<FeedEvent>) {
        for event in events {
            match event {
                FeedEvent::Tick(tick, id) => {
                    let (symbol, number) = (tick.symbol.clone(), id.parse().expect("a number"));
                    self.ids.entry(symbol.clone()).or_default().push(number);
                    if tick.source == TickSource::Backfill {
                        self.filled_in.entry(symbol.clone()).or_default().insert(number);
                    }
                    self.published.entry(symbol).or_default().push(Published::Tick(tick, id.to_string()));
                }
                FeedEvent::Gap(symbol, report) => {
                    self.published.entry(symbol.clone()).or_default().push(Published::Gap(report.clone()));
                    self.reports.entry(symbol).or_default().push(report);
                }
                FeedEvent::Checkpoint(symbol, checkpoint) => drop(self.checkpoints.insert(symbol, checkpoint)),
                FeedEvent::BadMessage(_) => self.bad_messages += 1,
                FeedEvent::State(symbol, state) => drop(self.states.insert(symbol, state)),
                FeedEvent::Listed(symbols) => assert_eq!(symbols.len(), SYMBOLS.len()),
                FeedEvent::Paused(symbol) | FeedEvent::Removed(symbol) => self.left.push(symbol),
                FeedEvent::FromTheFuture(symbol) => panic!("{symbol} from the future"),
            }
        }
    }

    /// Returns the ids of the trades of a symbol in the order in which they came out.
    pub(crate) fn published(&self, symbol: &str) -> &[u64] {
        self.ids.get(&Symbol::parse(symbol).expect("a symbol")).map_or(&[], Vec::as_slice)
    }

    /// Returns the gaps that are neither filled nor unfillable.
    pub(crate) fn open_gaps(&self) -> Vec<(Symbol, u64)> {
        let mut open = BTreeSet::new();
        for (symbol, reports) in &self.reports {
            for report in reports {
                let gap = (symbol.clone(), report.lower_bound);
                match report.state {
                    GapState::Open | GapState::Filling => drop(open.insert(gap)),
                    GapState::Filled | GapState::Unfillable => drop(open.remove(&gap)),
                }
            }
        }
        open.into_iter().collect()
    }
}
