//! The queue of one client: what the hub has for it and it has not taken yet. No I/O.
//!
//! It is bounded in bytes. A client that does not keep up is cut, and resumes from the cursor of what it has received: nothing is
//! skipped silently. Prices that are conflated wait in one place for each market, so that they cannot fill the queue.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use events::{Symbol, Venue};
use tokio::sync::Notify;

use crate::live::{channel::Channel, event::LiveEvent};

/// Whether only the latest price of a market is sent, at most some times a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflation {
    Latest,
    Off,
}

/// Why a client gets nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It has not read as fast as events came.
    Slow,
    /// A stream that it reads was created anew, or an older copy of it was put back.
    StreamReplaced,
}

/// An event that waits for a client.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) event: Arc<LiveEvent>,
    /// The number of earlier prices of the market that it stands for.
    pub(crate) conflated: u64,
}

/// The bytes that an event takes beside its JSON, roughly.
const OVERHEAD: usize = 64;

/// What waits for one client.
#[derive(Debug)]
pub(crate) struct Queue {
    conflation: Conflation,
    max_bytes: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Queued>,
    bytes: usize,
    /// The latest price of each market, where prices are conflated.
    latest: HashMap<(Symbol, Venue), Queued>,
    cut: Option<Cut>,
}

impl Queue {
    pub(crate) fn new(conflation: Conflation, max_bytes: usize) -> Self {
        Self { conflation, max_bytes, state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds an event, or cuts a client that has not taken enough.
    pub(crate) fn push(&self, event: &Arc<LiveEvent>) {
        let mut state = self.lock();
        if state.cut.is_some() {
            return;
        }
        let wakes = match (self.conflation, &event.tick, &event.symbol) {
            (Conflation::Latest, Some(tick), Some(symbol)) if event.channel == Channel::Prices => {
                let key = (symbol.clone(), tick.venue.clone());
                let was_empty = state.latest.is_empty();
                let slot = state.latest.entry(key);
                slot.and_modify(|queued| {
                    *queued = Queued { event: Arc::clone(event), conflated: queued.conflated + 1 };
                })
                .or_insert_with(|| Queued { event: Arc::clone(event), conflated: 0 });
                was_empty
            }
            _ => {
                let was_empty = state.events.is_empty();
                state.bytes += event.json.len() + OVERHEAD;
                state.events.push_back(Queued { event: Arc::clone(event), conflated: 0 });
                if state.bytes > self.max_bytes {
                    *state = State { cut: Some(Cut::Slow), ..State::default() };
                }
                was_empty || state.cut.is_some()
            }
        };
        if wakes {
            self.changed.notify_one();
        }
    }

    /// Ends the queue. What waits in it is dropped.
    pub(crate) fn cut(&self, cut: Cut) {
        let mut state = self.lock();
        if state.cut.is_none() {
            *state = State { cut: Some(cut), ..State::default() };
        }
        self.changed.notify_one();
    }

    /// Takes the oldest event that is not conflated.
    pub(crate) fn pop(&self) -> Option<Queued> {
        let mut state = self.lock();
        let queued = state.events.pop_front()?;
        state.bytes -= queued.event.json.len() + OVERHEAD;
        Some(queued)
    }

    /// Takes the latest prices, in the order of the stream: then the cursor of each stands for all before it.
    pub(crate) fn take_latest(&self) -> VecDeque<Queued> {
        let mut latest: Vec<_> = self.lock().latest.drain().map(|(_, queued)| queued).collect();
        latest.sort_unstable_by_key(|queued| queued.event.position);
        latest.into()
    }

    /// Returns whether latest prices wait.
    pub(crate) fn has_latest(&self) -> bool {
        !self.lock().latest.is_empty()
    }

    /// Returns whether nothing waits that comes from a stream.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.events.is_empty() && state.latest.is_empty()
    }

    /// Returns why the client gets nothing more.
    pub(crate) fn why_cut(&self) -> Option<Cut> {
        self.lock().cut
    }

    /// Waits until something was added to an empty queue, or the client was cut.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use events::{Timestamp, tick::TickKind, tick::TickSource};

    use super::*;
    use crate::live::{channel::Source, cursor::Position, event::LiveTick};

    fn price(symbol: &str, venue: &str, sequence: u64, bytes: usize) -> Arc<LiveEvent> {
        Arc::new(LiveEvent {
            source: Source::Ticks,
            position: Position::end_of(sequence),
            channel: Channel::Prices,
            symbol: Symbol::parse(symbol).ok(),
            owner: None,
            stored_at: Timestamp::EPOCH,
            tick: Some(LiveTick {
                venue: Venue::parse(venue).expect("a venue"),
                at: Timestamp::EPOCH,
                price: "1".parse().expect("a price"),
                size: None,
                kind: TickKind::Trade,
                source: TickSource::Live,
                id: "1".into(),
            }),
            json: vec![b' '; bytes].into(),
        })
    }

    fn sequences(queued: impl IntoIterator<Item = Queued>) -> Vec<(u64, u64)> {
        queued.into_iter().map(|queued| (queued.event.position.sequence, queued.conflated)).collect()
    }

    #[test]
    fn of_conflated_prices_each_market_keeps_the_latest_and_the_number_of_those_before() {
        let queue = Queue::new(Conflation::Latest, 100);
        for (symbol, venue, sequence) in
            [("BTC-USD", "a", 1), ("ETH-USD", "a", 2), ("BTC-USD", "b", 3), ("BTC-USD", "a", 4), ("BTC-USD", "a", 5)]
        {
            queue.push(&price(symbol, venue, sequence, 90));
        }
        assert_eq!(sequences(queue.take_latest()), [(2, 0), (3, 0), (5, 2)], "in the order of the stream");
        assert!(queue.is_empty() && queue.why_cut().is_none());
    }

    #[test]
    fn a_client_that_does_not_take_its_events_is_cut_at_the_bound() {
        let queue = Queue::new(Conflation::Off, 10 * (100 + OVERHEAD));
        (1..=10).for_each(|sequence| queue.push(&price("BTC-USD", "a", sequence, 100)));
        assert_eq!((queue.why_cut(), queue.pop().is_some()), (None, true), "what fits is kept");
        queue.push(&price("BTC-USD", "a", 11, 100));
        queue.push(&price("BTC-USD", "a", 12, 100));
        assert_eq!((queue.why_cut(), queue.pop().is_none()), (Some(Cut::Slow), true), "nothing is skipped silently");
        queue.push(&price("BTC-USD", "a", 13, 1));
        assert!(queue.is_empty(), "nothing is kept for a client that was cut");
    }
}
