//! The delivery of a consumer's messages: a pull request that is renewed, from the time at which the consumer is reset to a
//! position until something fails.

use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use tokio::{sync::watch, time::sleep};

use crate::{
    Broker, ServiceError,
    broker::{
        message::Message,
        stream_position::{self, StreamPosition},
        stream_scan::unreadable_behind,
        stream_watch, topology,
    },
    runtime::error::error_chain,
};

/// The number of messages of one pull request; the client asks again when half of them have arrived. With those, 750 messages
/// may have arrived and not be read: 48 MiB of the largest ones.
const PULL_MESSAGES: usize = 500;
/// The time after which an unanswered pull request is renewed; in between the broker sends heartbeats. A leader that is paused
/// leaves a request behind, which takes the messages of the next leader until it expires.
const PULL_EXPIRES: Duration = Duration::from_secs(4);
const HEARTBEAT: Duration = Duration::from_secs(2);

/// What is delivered: a consumer of a stream, and the subjects that it reads.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) stream: String,
    pub(super) consumer: String,
    pub(super) filter: String,
}

/// A consumer that delivers.
pub(super) struct Delivery {
    /// The messages behind the position that cannot be delivered, because the connection ends at each of them. What is
    /// delivered is behind them.
    pub(super) unreadable: Vec<Message>,
    pub(super) messages: pull::Stream,
    /// The connections since the consumer was opened. What was delivered on one before may be lost, and would be missed only
    /// when the next message arrives.
    pub(super) connections: watch::Receiver<u64>,
    /// The number of messages that were pending when it was opened.
    pub(super) pending: u64,
    /// The last message that had arrived at the last look, where the broker had delivered later ones by then.
    behind_delivered: Option<u64>,
    /// The number of the last delivery; the next one must be greater by one.
    pub(super) delivered: u64,
}

/// The reason why nothing is delivered.
pub(super) enum Failure {
    /// The consumer is opened again.
    Reopen(String),
    /// The run ends: the stream is not the one that was read, so that the position means nothing any more, or it or the consumer
    /// is missing.
    EndRun(ServiceError),
}

impl Delivery {
    /// Returns the reason to open the consumer again when the broker has delivered what did not arrive between two looks: to a
    /// connection that passes nothing, or to a reader that stands still.
    pub(super) fn verify_arrival(&mut self, arrived: u64, delivered: u64) -> Result<(), String> {
        let behind = (delivered > arrived).then_some(arrived);
        let before = std::mem::replace(&mut self.behind_delivered, behind);
        if behind.is_some() && behind == before {
            return Err(format!("message {delivered} was delivered and has not arrived"));
        }
        Ok(())
    }
}

/// Opens a consumer behind a position, after a wait.
pub(super) async fn open_after(
    wait: Duration,
    broker: Broker,
    source: Source,
    position: StreamPosition,
) -> Result<Delivery, Failure> {
    sleep(wait).await;
    let opened = broker.on_connection(open_behind(&broker, &source, position)).await;
    opened.unwrap_or_else(|| Err(Failure::Reopen("the connection was lost".into())))
}

async fn open_behind(broker: &Broker, source: &Source, position: StreamPosition) -> Result<Delivery, Failure> {
    let Source { stream: stream_name, consumer: consumer_name, filter } = source;
    let connections = broker.connections();
    let again = |error: ServiceError| Failure::Reopen(error_chain(&error));
    if let Some(missing) = topology::find_missing(broker, stream_name, consumer_name).await.map_err(again)? {
        return Err(Failure::EndRun(topology::missing(&missing)));
    }
    let found = stream_position::check(broker, stream_name, &position).await.map_err(again)?;
    stream_watch::verify(stream_name, &position, found).map_err(Failure::EndRun)?;
    let unreadable = unreadable_behind(broker, stream_name, filter, position.sequence).await.map_err(again)?;
    let after = unreadable.last().map_or(position.sequence, |message| message.sequence);
    let passing = |what: &str, error: async_nats::Error| {
        let what = format!("{what} consumer {consumer_name} of stream {stream_name}");
        Failure::Reopen(error_chain(&ServiceError::transient(what, error)))
    };
    let stream = broker.jetstream().get_stream_no_info(stream_name).await;
    let stream = stream.map_err(|error| passing("find", error.into()))?;
    let mut consumer: PullConsumer =
        stream.get_consumer(consumer_name).await.map_err(|error| passing("find", error))?;
    let state = consumer.reset(Some(after + 1)).await.map_err(|error| passing("reset", error.into()))?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(PULL_MESSAGES)
        .expires(PULL_EXPIRES)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(|error| passing("read", error.into()))?;
    let pending = state.info.num_pending;
    Ok(Delivery { unreadable, messages, connections, pending, behind_delivered: None, delivered: 0 })
}
