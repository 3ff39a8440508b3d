//! Following a stream without a consumer of a service: its messages as they are stored.

use async_nats::jetstream::consumer::{
    DeliverPolicy,
    pull::{OrderedConfig, OrderedError},
};
use events::Timestamp;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use crate::{
    Broker, ServiceError,
    broker::{message::Message, stream_position::StreamPosition, stream_scan},
};

/// The number of messages that [`follow_behind`] reads before it has the others delivered.
const READ_FIRST: u64 = 500;

/// Returns the messages of a stream on the subjects of `filter` as they are stored, from now on or from a time on. The stream
/// ends with an error when the broker has gone for long.
pub async fn follow(
    broker: &Broker,
    stream: &str,
    filter: &str,
    since: Option<Timestamp>,
) -> Result<BoxStream<'static, Result<Message, ServiceError>>, ServiceError> {
    let from = match since {
        Some(since) => DeliverPolicy::ByStartTime { start_time: since.datetime() },
        None => DeliverPolicy::New,
    };
    deliver(broker, stream, filter, from).await
}

/// Returns the messages of a stream behind a position, and then those that are stored, where `filter` has all subjects of the
/// stream. Behind a position of another stream, and without one, it begins with the first message. Messages that cannot be
/// delivered are read where they are among the next [`READ_FIRST`]; at one that comes later the connection ends.
pub async fn follow_behind(
    broker: &Broker,
    stream: &str,
    filter: &str,
    position: Option<StreamPosition>,
) -> Result<BoxStream<'static, Result<Message, ServiceError>>, ServiceError> {
    let found = broker.jetstream().get_stream(stream).await;
    let found = found.map_err(|error| ServiceError::transient(follows(stream), error))?;
    let info = found.cached_info();
    let is_of_stream = |position: &StreamPosition| {
        position.stream_created == Timestamp::from(info.created) && position.sequence <= info.state.last_sequence
    };
    let after = position.filter(is_of_stream).map_or(0, |position| position.sequence);
    let after = after.max(info.state.first_sequence.saturating_sub(1));
    let first: Vec<Message> =
        stream_scan::messages(broker, stream, after + 1..=after + READ_FIRST).await?.try_collect().await?;
    let start_sequence = first.last().map_or(after, |message| message.sequence) + 1;
    let next = deliver(broker, stream, filter, DeliverPolicy::ByStartSequence { start_sequence }).await?;
    Ok(futures::stream::iter(first).map(Ok).chain(next).boxed())
}

async fn deliver(
    broker: &Broker,
    stream: &str,
    filter: &str,
    deliver_policy: DeliverPolicy,
) -> Result<BoxStream<'static, Result<Message, ServiceError>>, ServiceError> {
    let failed = |error: async_nats::Error| ServiceError::transient(follows(stream), error);
    let found = broker.jetstream().get_stream(stream).await.map_err(|error| failed(error.into()))?;
    let config = OrderedConfig { filter_subject: filter.to_owned(), deliver_policy, ..OrderedConfig::default() };
    let consumer = found.create_consumer(config).await.map_err(|error| failed(error.into()))?;
    let messages = consumer.messages().await.map_err(|error| failed(error.into()))?;
    let stream = stream.to_owned();
    let read = move |next: Result<async_nats::jetstream::Message, _>| {
        let failed = |error: async_nats::Error| ServiceError::transient(format!("read stream {stream}"), error);
        let message = next.map_err(|error: OrderedError| failed(error.into()))?;
        let info = message.info().map_err(failed)?;
        let (sequence, stored_at) = (info.stream_sequence, Timestamp::from(info.published));
        let message = message.message;
        let (subject, headers, body) = (message.subject.to_string(), message.headers, message.payload);
        Ok(Message { subject, sequence, stored_at, headers, body, unreadable: None })
    };
    Ok(messages.map(read).boxed())
}

fn follows(stream: &str) -> String {
    format!("read stream {stream}; it needs `tickbell streams apply`")
}
