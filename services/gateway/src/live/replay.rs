//! The replay: a part of a stream, read from the broker for one client.
//!
//! It makes the same events as the hub has made, and finds the same ticks repeated or late: the hub remembers those that it has
//! not admitted, and where it had not begun yet the messages before the part are read too.

use std::sync::Arc;

use futures::StreamExt;
use market_data::TickFilter;
use platform::{ServiceError, broker::stream_scan};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::live::{
    channel::Source,
    cursor::Position,
    event::{self, LiveEvent},
    hub::Hub,
    interest::Interest,
};

/// The number of messages whose events are handed over at once.
const BATCH: usize = 64;
/// The number of batches that wait for the client. With this, a replay has some hundred messages in memory.
const BATCHES: usize = 2;
/// The number of messages before the part that are read to recognise repeated and late ticks in it.
const BEFORE: u64 = 500;

/// A part of a stream that is being read.
pub(super) struct Replay {
    batches: mpsc::Receiver<Result<Vec<LiveEvent>, ServiceError>>,
    task: JoinHandle<()>,
}

impl Replay {
    /// Begins to read the events of an interest behind a place, up to the end of a message.
    pub(super) fn start(
        hub: &Arc<Hub>,
        interest: &Arc<Interest>,
        source: Source,
        (behind, until): (Position, u64),
    ) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES);
        let (hub, interest) = (Arc::clone(hub), Arc::clone(interest));
        let task = tokio::spawn(async move {
            let part = Part { hub: &hub, interest: &interest, source, behind, until };
            if let Err(error) = part.read(&sender).await {
                // Nobody receives what is left.
                _ = sender.send(Err(error)).await;
            }
        });
        Self { batches, task }
    }

    /// Returns the next events; none at the end of the part. The future is cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<LiveEvent>, ServiceError>> {
        self.batches.recv().await
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Part<'a> {
    hub: &'a Hub,
    interest: &'a Interest,
    source: Source,
    behind: Position,
    until: u64,
}

type Sender = mpsc::Sender<Result<Vec<LiveEvent>, ServiceError>>;

impl Part<'_> {
    async fn read(&self, sender: &Sender) -> Result<(), ServiceError> {
        // The semaphore is never closed.
        let _permit = self.hub.replays.acquire().await.ok();
        let mut filter = TickFilter::default();
        let begins = self.behind.next_sequence();
        let first = match self.source {
            // The hub may not know which ticks of the part it would not have admitted.
            Source::Ticks if self.hub.has_refused(begins, 0).is_none() => begins.saturating_sub(BEFORE).max(1),
            _ => begins,
        };
        let messages = stream_scan::messages(&self.hub.broker, self.source.stream(), first..=self.until).await?;
        let mut batches = messages.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let messages = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
            let mut events = Vec::new();
            if self.source == Source::Ticks {
                messages.iter().for_each(|message| events.extend(self.prices(message, &mut filter)));
            } else {
                events.extend(self.hub.read(self.source, &messages).await?.into_iter().filter_map(|(_, event)| event));
            }
            events.retain(|event| event.position > self.behind && self.interest.includes(event));
            if !events.is_empty() && sender.send(Ok(events)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn prices(&self, message: &platform::Message, filter: &mut TickFilter) -> Vec<LiveEvent> {
        let Ok(page) = event::page(message, self.hub.max_ahead) else { return Vec::new() };
        let admits = |tick: &market_data::StoredTick<'_>| {
            let admits = filter.admits(tick);
            let refused = self.hub.has_refused(tick.position.sequence, tick.position.index);
            refused.map_or(admits, |refused| !refused)
        };
        event::prices(&page, message.stored_at, admits, |tick| self.hub.latest_prices.day_change(tick))
    }
}
