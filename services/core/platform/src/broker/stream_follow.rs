//! Following a stream without a consumer of a service: its messages as they are stored.
//!
//! The client library ends its connection when a message is delivered that it cannot read. So each time that the delivery begins,
//! the next messages are read by the API of the broker first, among them the one at which the delivery before has ended.

use std::collections::VecDeque;

use async_nats::jetstream::consumer::{
    DeliverPolicy,
    pull::{OrderedConfig, OrderedError},
};
use events::Timestamp;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::watch;

use crate::{
    Broker, ServiceError,
    broker::{message::Message, stream_position::StreamPosition, stream_scan},
};

/// The number of messages that are read before the others are delivered.
const READ_FIRST: u64 = 500;

/// Messages of a stream as they are stored. It ends with an error when the broker has gone for long.
pub type Followed = BoxStream<'static, Result<Message, ServiceError>>;

/// Returns the messages of a stream on the subjects of `filter`, from now on or from a time on.
pub async fn follow(
    broker: &Broker,
    stream: &str,
    filter: &str,
    since: Option<Timestamp>,
) -> Result<Followed, ServiceError> {
    let last = find(broker, stream).await?.cached_info().state.last_sequence;
    let after = match since {
        None => last,
        Some(since) => stream_scan::first_sequence(broker, stream, since).await?.map_or(last, |first| first - 1),
    };
    Follower::begin(broker, stream, filter, after).await
}

/// Returns the messages of a stream on the subjects of `filter` behind a position. Behind a position of another stream, and without
/// one, it begins with the first message.
pub async fn follow_behind(
    broker: &Broker,
    stream: &str,
    filter: &str,
    position: Option<StreamPosition>,
) -> Result<Followed, ServiceError> {
    let found = find(broker, stream).await?;
    let created = Timestamp::from(found.cached_info().created);
    let after = position.filter(|position| position.stream_created == created).map_or(0, |position| position.sequence);
    Follower::begin(broker, stream, filter, after).await
}

/// A stream that is followed.
struct Follower {
    broker: Broker,
    stream: String,
    filter: String,
    /// The sequence of the last message that was read or delivered.
    after: u64,
    /// The messages that were read and not returned yet.
    read: VecDeque<Message>,
    delivery: Option<Delivery>,
    /// Whether a delivery has failed and nothing was read or delivered since.
    has_failed: bool,
}

/// The delivery of messages on one connection.
struct Delivery {
    messages: BoxStream<'static, Result<Message, ServiceError>>,
    connections: watch::Receiver<u64>,
}

impl Follower {
    async fn begin(broker: &Broker, stream: &str, filter: &str, after: u64) -> Result<Followed, ServiceError> {
        let (broker, stream, filter) = (broker.clone(), stream.to_owned(), filter.to_owned());
        let read = VecDeque::new();
        let mut follower = Self { broker, stream, filter, after, read, delivery: None, has_failed: false };
        follower.open().await?;
        let next = |mut follower: Self| async move { follower.next().await.map(|message| Some((message, follower))) };
        Ok(stream::try_unfold(follower, next).boxed())
    }

    async fn next(&mut self) -> Result<Message, ServiceError> {
        loop {
            if let Some(message) = self.read.pop_front() {
                return Ok(message);
            }
            let Some(Delivery { messages, connections }) = self.delivery.as_mut() else {
                self.open().await?;
                continue;
            };
            let failed = tokio::select! {
                biased;
                next = messages.next() => match next {
                    Some(Ok(message)) => {
                        (self.after, self.has_failed) = (message.sequence, false);
                        return Ok(message);
                    }
                    Some(Err(error)) => error,
                    None => ServiceError::transient(format!("read stream {}", self.stream), "it ended"),
                },
                Ok(()) = connections.changed() => {
                    self.delivery = None;
                    continue;
                }
            };
            self.delivery = None;
            if std::mem::replace(&mut self.has_failed, true) {
                return Err(failed);
            }
        }
    }

    /// Reads the next messages and has those behind them delivered.
    async fn open(&mut self) -> Result<(), ServiceError> {
        let connections = self.broker.connections();
        let found = find(&self.broker, &self.stream).await?;
        let state = &found.cached_info().state;
        // A stream whose last message is before the position was created anew.
        let after = if self.after <= state.last_sequence { self.after } else { 0 };
        let after = after.max(state.first_sequence.saturating_sub(1));
        let next = after + 1..=after + READ_FIRST;
        let read: Vec<Message> = stream_scan::messages(&self.broker, &self.stream, next).await?.try_collect().await?;
        self.has_failed &= read.is_empty();
        self.after = read.last().map_or(after, |message| message.sequence);
        self.read.extend(read.into_iter().filter(|message| has_subject(&self.filter, &message.subject)));
        self.delivery = Some(Delivery { messages: deliver(found, &self.filter, self.after + 1).await?, connections });
        Ok(())
    }
}

type Found = async_nats::jetstream::stream::Stream;

async fn find(broker: &Broker, stream: &str) -> Result<Found, ServiceError> {
    let found = broker.jetstream().get_stream(stream).await;
    found.map_err(|error| ServiceError::transient(needs_apply(stream), error))
}

async fn deliver(
    found: Found,
    filter: &str,
    start_sequence: u64,
) -> Result<BoxStream<'static, Result<Message, ServiceError>>, ServiceError> {
    let stream = found.cached_info().config.name.clone();
    let failed = |error: async_nats::Error| ServiceError::transient(needs_apply(&stream), error);
    let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence };
    let config = OrderedConfig { filter_subject: filter.to_owned(), deliver_policy, ..OrderedConfig::default() };
    let consumer = found.create_consumer(config).await.map_err(|error| failed(error.into()))?;
    let messages = consumer.messages().await.map_err(|error| failed(error.into()))?;
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

fn needs_apply(stream: &str) -> String {
    format!("read stream {stream}; it needs `tickbell streams apply`")
}

/// Decides whether a filter has a subject, as the broker does: `*` stands for one token, and `>` at its end for one or more.
fn has_subject(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", rest) => return rest.is_some(),
            (_, None) => return false,
            (wanted, Some(token)) if wanted != "*" && wanted != token => return false,
            _ => {}
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_the_subjects_that_the_broker_says() {
        for (filter, subject, expected) in [
            ("ticks.>", "ticks.test.SPY", true),
            ("ticks.>", "ticks", false),
            ("ticks.*.SPY", "ticks.test.SPY", true),
            ("ticks.*.SPY", "ticks.test.SPY.more", false),
            ("ticks.*.SPY", "ticks.test", false),
            ("ticks.*.SPY", "ticks.test.BRK_B", false),
            ("ticks.*.*", "ticks.test.A B", true),
        ] {
            assert_eq!(has_subject(filter, subject), expected, "{filter} {subject}");
        }
    }
}
