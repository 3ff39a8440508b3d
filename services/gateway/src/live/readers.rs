//! The readers of the streams that nothing else in the gateway follows: firings, orders and trades, deliveries.

use std::convert::Infallible;

use futures::{StreamExt, future::join_all};
use platform::{
    Message, ServiceError, StreamPosition,
    broker::{stream_follow, stream_position},
    runtime::{backoff::backoff, error::error_chain},
};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::live::{
    channel::Source,
    event::{self, LiveEvent, Owner},
    hub::Hub,
};

/// The streams that are read here. Ticks, candles and gaps are followed for the latest prices, and come from there.
const READ: [Source; 3] = [Source::Alerts, Source::Trades, Source::Deliveries];
/// The most messages whose owners are asked for at once.
const BATCH: usize = 256;

impl Hub {
    /// Reads the streams for ever.
    pub(crate) async fn follow(&self) -> Infallible {
        match join_all(READ.map(|source| self.follow_source(source))).await.pop() {
            Some(never) => never,
            None => std::future::pending().await,
        }
    }

    async fn follow_source(&self, source: Source) -> Infallible {
        let stream = source.stream();
        let mut waits = backoff();
        loop {
            self.broker.connected().await;
            let began = Instant::now();
            let lost = || ServiceError::transient(format!("read stream {stream}"), "the connection was lost");
            let ended = tokio::select! {
                ended = self.follow_connection(source) => ended,
                () = self.broker.reconnected() => Err(lost()),
            };
            let Err(error) = ended;
            let wait = waits.next().unwrap_or_default();
            if began.elapsed() > wait {
                waits = backoff();
            }
            warn!(stream, error = error_chain(&error), "live clients wait until the stream can be read again");
            sleep(wait).await;
        }
    }

    async fn follow_connection(&self, source: Source) -> Result<Infallible, ServiceError> {
        let stream = source.stream();
        let bounds = stream_position::bounds(&self.broker, stream).await?;
        let begins = self.begin(source, bounds);
        let behind =
            StreamPosition { stream_created: begins.created, sequence: begins.position.sequence, stored_at: None };
        let messages = stream_follow::follow_behind(&self.broker, stream, source.subjects(), Some(behind)).await?;
        let mut batches = messages.ready_chunks(BATCH);
        while let Some(batch) = batches.next().await {
            let batch = batch.into_iter().collect::<Result<Vec<_>, _>>()?;
            for (sequence, event) in self.read(source, &batch).await? {
                self.publish(source, sequence, event);
            }
        }
        Err(ServiceError::transient(format!("read stream {stream}"), "it ended"))
    }

    /// Reads the events of messages, each with the sequence of its message, and finds their owners.
    pub(super) async fn read(
        &self,
        source: Source,
        messages: &[Message],
    ) -> Result<Vec<(u64, Option<LiveEvent>)>, ServiceError> {
        let mut events: Vec<_> =
            messages.iter().map(|message| (message.sequence, event::read(source, message))).collect();
        let unowned = |event: &LiveEvent| event.owner.filter(|owner| owner.user.is_none())?.about;
        let ids: Vec<_> = events.iter().filter_map(|(_, event)| unowned(event.as_ref()?)).collect();
        if ids.is_empty() {
            return Ok(events);
        }
        let owners = self.owners.find(&self.store, &ids).await?;
        for (_, event) in &mut events {
            if let Some(Owner { user: user @ None, about: Some(id) }) =
                event.as_mut().and_then(|event| event.owner.as_mut())
            {
                *user = owners.get(id).copied();
            }
        }
        Ok(events)
    }
}
