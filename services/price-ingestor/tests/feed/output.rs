//! What came out of a feed.

use std::collections::{BTreeMap, BTreeSet};

use events::{Symbol, tick::TickSource};
use price_ingestor::sources::exchange::{
    continuity::{GapReport, GapState},
    feed::{Checkpoints, FeedEvent, FeedState},
};

use crate::{venues::SYMBOLS, verdicts::Published};

/// What came out of a feed about a symbol, from its first trade until it was removed.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) ids: Vec<u64>,
    /// The ids that were filled in.
    pub(crate) filled_in: BTreeSet<u64>,
    pub(crate) published: Vec<Published>,
    pub(crate) reports: Vec<GapReport>,
}

/// What came out of a feed.
#[derive(Default)]
pub(crate) struct Output {
    /// The symbols as they are now.
    pub(crate) lives: BTreeMap<Symbol, Life>,
    /// The symbols as they were until they were removed.
    pub(crate) ended: Vec<(Symbol, Life)>,
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
                    let life = self.lives.entry(symbol).or_default();
                    life.ids.push(number);
                    if tick.source == TickSource::Backfill {
                        life.filled_in.insert(number);
                    }
                    life.published.push(Published::Tick(tick, id.to_string()));
                }
                FeedEvent::Gap(symbol, report) => {
                    let life = self.lives.entry(symbol).or_default();
                    life.published.push(Published::Gap(report.clone()));
                    life.reports.push(report);
                }
                FeedEvent::Checkpoint(symbol, checkpoint) => drop(self.checkpoints.insert(symbol, checkpoint)),
                FeedEvent::BadMessage(_) => self.bad_messages += 1,
                FeedEvent::State(symbol, state) => drop(self.states.insert(symbol, state)),
                FeedEvent::Listed(symbols) => assert_eq!(symbols.len(), SYMBOLS.len()),
                FeedEvent::Paused(symbol) => self.left.push(symbol),
                FeedEvent::Removed(symbol) => {
                    // What was stored of it is deleted.
                    self.checkpoints.remove(&symbol);
                    self.ended.extend(self.lives.remove_entry(&symbol));
                    self.left.push(symbol);
                }
                FeedEvent::FromTheFuture(symbol) => panic!("{symbol} from the future"),
            }
        }
    }

    /// Returns the ids of the trades of a symbol in the order in which they came out.
    pub(crate) fn published(&self, symbol: &str) -> &[u64] {
        self.lives.get(&Symbol::parse(symbol).expect("a symbol")).map_or(&[], |life| &life.ids)
    }

    /// Returns the gaps that are neither filled nor unfillable.
    pub(crate) fn open_gaps(&self) -> Vec<(Symbol, u64)> {
        let mut open = BTreeSet::new();
        for (symbol, life) in &self.lives {
            for report in &life.reports {
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
