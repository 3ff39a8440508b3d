//! The hub: where each stream of the broker arrives once, and from where its events go to the queues of all clients.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use market_data::{MaxAhead, StoredPage, TickFilter};
use platform::{Broker, Message, broker::stream_position::StreamBounds};
use store::Store;
use tokio::sync::Semaphore;

use crate::{
    live::{
        channel::{Channel, Source},
        cursor::{Cursor, Position, SourcePosition},
        event::{self, LiveEvent},
        interest::{Interest, Key},
        owners::Owners,
        queue::{Cut, Queue},
    },
    market::latest_prices::LatestPrices,
};

/// The hub of a gateway.
pub(crate) struct Hub {
    pub(super) broker: Broker,
    pub(super) store: Store,
    pub(super) owners: Owners,
    pub(super) latest_prices: Arc<LatestPrices>,
    pub(super) max_ahead: MaxAhead,
    pub(super) replays: Semaphore,
    queue_bytes: usize,
    next_client: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The place up to which each stream has been read; none before the first connection.
    positions: Cursor,
    clients: HashMap<Key, HashMap<u64, Arc<Client>>>,
    filter: TickFilter,
    /// The last page that the filter has seen: what is read again behind a lost connection is not repeated.
    filtered: u64,
    /// The ticks that the filter has not admitted: a replay leaves them out too.
    refused: Refused,
}

/// The ticks of a part of the stream that were not admitted.
#[derive(Default)]
struct Refused {
    ticks: BTreeSet<(u64, u16)>,
    /// The sequence behind which all that were not admitted are known; none before the first tick.
    since: Option<u64>,
}

/// The most ticks that were not admitted and are remembered.
const MAX_REFUSED: usize = 100_000;

struct Client {
    interest: Arc<Interest>,
    queue: Arc<Queue>,
}

/// A client's place in the hub. It leaves when this is dropped.
pub(super) struct Registration {
    hub: Arc<Hub>,
    id: u64,
    keys: Vec<Key>,
    pub(super) queue: Arc<Queue>,
}

/// What the hub is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubOptions {
    /// How far ahead a tick may be.
    pub(crate) max_ahead: MaxAhead,
    /// The most bytes that wait for one client.
    pub(crate) queue_bytes: usize,
    /// The number of clients that get what they have missed at a time.
    pub(crate) replays_at_once: usize,
}

/// The streams have not been read yet: the broker cannot be reached since the gateway was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFollowed;

impl Hub {
    pub(crate) fn new(
        broker: Broker,
        store: Store,
        latest_prices: Arc<LatestPrices>,
        HubOptions { max_ahead, queue_bytes, replays_at_once }: HubOptions,
    ) -> Self {
        Self {
            broker,
            store,
            owners: Owners::default(),
            latest_prices,
            max_ahead,
            replays: Semaphore::new(replays_at_once),
            queue_bytes,
            next_client: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Returns the place up to which the streams of an interest have been read.
    pub(crate) fn positions(&self, interest: &Interest) -> Result<Cursor, NotFollowed> {
        positions(&self.lock(), interest)
    }

    /// Adds a client. Its queue gets all that comes behind the returned place.
    pub(super) fn register(self: &Arc<Self>, interest: &Arc<Interest>) -> Result<(Registration, Cursor), NotFollowed> {
        let queue = Arc::new(Queue::new(interest.conflation, self.queue_bytes));
        let id = self.next_client.fetch_add(1, Ordering::Relaxed);
        let (client, keys) = (Client { interest: Arc::clone(interest), queue: Arc::clone(&queue) }, interest.keys());
        let client = Arc::new(client);
        let mut state = self.lock();
        let positions = positions(&state, interest)?;
        for key in &keys {
            state.clients.entry(key.clone()).or_default().insert(id, Arc::clone(&client));
        }
        drop(state);
        Ok((Registration { hub: Arc::clone(self), id, keys, queue }, positions))
    }

    /// Returns the place up to which a client has been served that has taken everything: it moves on also where nothing is for
    /// the client. None while something waits for it.
    pub(super) fn served(&self, registration: &Registration, interest: &Interest) -> Option<Cursor> {
        let state = self.lock();
        // Events are only added under the same lock.
        if registration.queue.is_empty() { positions(&state, interest).ok() } else { None }
    }

    /// Begins to read a stream, or goes on, and returns the place behind which it is read. Clients of a stream that is another
    /// one than before are cut.
    pub(crate) fn begin(&self, source: Source, bounds: StreamBounds) -> SourcePosition {
        let StreamBounds { created, last_sequence, .. } = bounds;
        let mut state = self.lock();
        let known = state.positions.get(source);
        let goes_on = |known: &SourcePosition| known.created == created && known.position.sequence <= last_sequence;
        if let Some(known) = known.filter(goes_on) {
            return known;
        }
        let begins = SourcePosition { created, position: Position::end_of(last_sequence) };
        state.positions.set(source, begins);
        if source == Source::Ticks {
            (state.filter, state.filtered, state.refused) = (TickFilter::default(), 0, Refused::default());
        }
        if known.is_some() {
            for client in state.clients.values().flat_map(HashMap::values) {
                if client.interest.sources().any(|read| read == source) {
                    client.queue.cut(Cut::StreamReplaced);
                }
            }
        }
        begins
    }

    /// Takes a page of ticks. Pages before the place where the hub begins only let it know which ticks are repeated.
    pub(crate) fn publish_page(&self, page: &StoredPage, sequence: u64, stored_at: events::Timestamp) {
        let mut state = self.lock();
        let State { positions, filter, filtered, refused, clients } = &mut *state;
        if sequence <= *filtered {
            return;
        }
        *filtered = sequence;
        refused.since.get_or_insert(sequence.saturating_sub(1));
        let is_new = positions.get(Source::Ticks).is_some_and(|known| sequence > known.position.sequence);
        let mut admits = |tick: &market_data::StoredTick<'_>| {
            let admits = filter.admits(tick);
            if !admits {
                refused.add(tick.position.sequence, tick.position.index);
            }
            admits
        };
        let keys = [Key::All(Channel::Prices), Key::Symbol(Channel::Prices, page.head().symbol.clone())];
        let has_clients = keys.iter().any(|key| clients.contains_key(key));
        if !is_new || !has_clients {
            for tick in page.ticks() {
                admits(&tick);
            }
            positions.advance(Source::Ticks, Position::end_of(sequence));
            return;
        }
        let events = event::prices(page, stored_at, admits, |tick| self.latest_prices.day_change(tick));
        publish(&mut state, Source::Ticks, sequence, events);
    }

    /// Takes the events of a message of a stream, and moves on behind the message.
    pub(crate) fn publish(&self, source: Source, sequence: u64, events: impl IntoIterator<Item = LiveEvent>) {
        publish(&mut self.lock(), source, sequence, events);
    }

    /// Takes a message of a stream whose events need no owner.
    pub(crate) fn publish_message(&self, source: Source, message: &Message) {
        self.publish(source, message.sequence, event::read(source, message));
    }

    /// Moves on behind a message that nobody can read.
    pub(crate) fn skip(&self, source: Source, sequence: u64) {
        self.publish(source, sequence, None);
    }

    /// Returns whether the hub has not admitted a tick; none where it has not read the tick, or does not know any more.
    pub(super) fn has_refused(&self, sequence: u64, index: u16) -> Option<bool> {
        let state = self.lock();
        let knows = state.refused.since.is_some_and(|since| sequence > since);
        knows.then(|| state.refused.ticks.contains(&(sequence, index)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn positions(state: &State, interest: &Interest) -> Result<Cursor, NotFollowed> {
    let mut cursor = Cursor::default();
    for source in interest.sources() {
        cursor.set(source, state.positions.get(source).ok_or(NotFollowed)?);
    }
    Ok(cursor)
}

fn publish(state: &mut State, source: Source, sequence: u64, events: impl IntoIterator<Item = LiveEvent>) {
    // What was read before a lost connection comes again behind it.
    if !state.positions.advance(source, Position::end_of(sequence)) {
        return;
    }
    for event in events {
        let event = Arc::new(event);
        for client in Key::of(&event).filter_map(|key| state.clients.get(&key)).flat_map(HashMap::values) {
            if client.interest.includes(&event) {
                client.queue.push(&event);
            }
        }
    }
}

impl Refused {
    fn add(&mut self, sequence: u64, index: u16) {
        self.ticks.insert((sequence, index));
        if self.ticks.len() > MAX_REFUSED
            && let Some((oldest, _)) = self.ticks.pop_first()
        {
            self.since = self.since.max(Some(oldest));
            self.ticks = self.ticks.split_off(&(oldest + 1, 0));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        for key in &self.keys {
            if let Some(clients) = state.clients.get_mut(key) {
                clients.remove(&self.id);
                if clients.is_empty() {
                    state.clients.remove(key);
                }
            }
        }
    }
}
