//! The batches of a run whose events are published from memory while the next ones are decided.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use platform::{Broker, ServiceError};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{
    Store,
    outbox::relay::{self, CommittedEvents},
};

/// The number of batches whose events wait to be published, at most.
const MAX_BATCHES: usize = 100;
/// The number of events that wait in memory to be published, at most. Those beyond are read from the outbox.
const MAX_EVENTS: usize = 20_000;

/// The batches that are committed and not acknowledged, in the order of their commits.
#[derive(Debug)]
pub(super) struct PublishQueue {
    queue: mpsc::Sender<CommittedEvents>,
    /// The other end of the queue, until it is published.
    committed: Option<mpsc::Receiver<CommittedEvents>>,
    /// The room for events in memory.
    room: Arc<Semaphore>,
    /// The number of batches with events that are published.
    pub(super) published: Arc<watch::Sender<u64>>,
    /// The number of batches with events that were added.
    added: u64,
    /// What each batch has applied, and the number of batches with events up to it.
    unacknowledged: VecDeque<(u64, Vec<Option<u64>>)>,
}

impl Default for PublishQueue {
    fn default() -> Self {
        let (queue, committed) = mpsc::channel(MAX_BATCHES);
        let published = Arc::new(watch::Sender::new(0));
        let room = Arc::new(Semaphore::new(MAX_EVENTS));
        Self { queue, committed: Some(committed), room, published, added: 0, unacknowledged: VecDeque::new() }
    }
}

impl PublishQueue {
    /// Publishes what is added, until an error.
    pub(super) fn publish(
        &mut self,
        store: &Store,
        service: &'static str,
        broker: &Broker,
    ) -> impl Future<Output = Result<Infallible, ServiceError>> + use<> {
        let (store, broker) = (store.clone(), broker.clone());
        let (committed, published) = (self.committed.take(), Arc::clone(&self.published));
        async move {
            match committed {
                Some(committed) => relay::publish_committed(&store, service, &broker, committed, &published).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Adds a committed batch: its events, if it has any, and the last sequence of each consumer.
    pub(super) async fn add(
        &mut self,
        events: Option<CommittedEvents>,
        applied: Vec<Option<u64>>,
    ) -> Result<(), ServiceError> {
        if let Some(mut events) = events {
            let count = u32::try_from(events.events.len()).unwrap_or(u32::MAX);
            match Arc::clone(&self.room).try_acquire_many_owned(count) {
                Ok(room) => events.room = Some(room),
                Err(_) => events = CommittedEvents::default(),
            }
            let sent = self.queue.send(events).await;
            sent.map_err(|error| ServiceError::transient("publish committed events", error.to_string()))?;
            self.added += 1;
        }
        self.unacknowledged.push_back((self.added, applied));
        Ok(())
    }

    /// Takes the oldest batch whose events are published, and those of all before it.
    pub(super) fn next_published(&mut self) -> Option<Vec<Option<u64>>> {
        let published = *self.published.borrow();
        self.unacknowledged.pop_front_if(|(events, _)| *events <= published).map(|(_, applied)| applied)
    }
}
