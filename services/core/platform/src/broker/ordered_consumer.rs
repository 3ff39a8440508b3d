//! Reading a stream in order through a durable consumer, from a position that the database keeps.
//!
//! The broker's own idea of what is done is not used: at open the consumer is reset to the position (server 2.14,
//! ADR-60), so nothing that was delivered to a process that died is skipped or waits for its `ack_wait`. Deliveries
//! then count from one; a number that is missing means that messages were lost on the way or taken by another reader,
//! and the feed resets itself to the last one it gave out. Acknowledgements only tell the broker how far we are, for
//! everyone who watches its lag.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{self, AckKind, consumer::PullConsumer, consumer::pull},
};
use bytes::Bytes;
use events::{
    DeadLetter, Event, Timestamp,
    dead_letter::Body,
    envelope::{CE_ID, CE_TYPE, NATS_MSG_ID, TRACEPARENT},
    streams::Topology,
};
use futures::{FutureExt, StreamExt};
use thiserror::Error;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, warn};

use crate::{
    Broker, ServiceError,
    broker::topology,
    runtime::{error::error_chain, supervise::backoff},
};

/// How many messages one pull asks for; the client asks again when half are there.
const PULL_MESSAGES: usize = 4_000;
/// A pull that brings nothing is renewed after this; in between the broker sends heartbeats.
const PULL_EXPIRES: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// While more is waiting at the broker, a batch is filled for this long.
const LINGER: Duration = Duration::from_millis(25);

/// Acknowledgements go this often, or after so many messages: for each the broker writes the consumer's state to its disk.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(500);
const ACKNOWLEDGE_AFTER: u64 = 4_000;

/// One message as it was stored.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was published.
    pub subject: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// When the broker stored it, by the broker's clock.
    pub stored_at: Timestamp,
    headers: Option<HeaderMap>,
    body: Bytes,
}

/// Messages in stream order, and where they end.
#[derive(Debug, Default)]
pub struct Batch {
    /// At least one.
    pub messages: Vec<Message>,
    /// The sequence of the last.
    pub last: u64,
    ack: String,
}

/// A message that is not what its subject promises.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Its `ce-type` names something else.
    #[error("its ce-type is {0}, expected {1}")]
    Type(String, &'static str),
    /// Its `ce-type` is none that its stream is for.
    #[error("its ce-type is {0}, which this stream is not for")]
    Class(String),
    /// Its body is not the JSON of the event.
    #[error("its body is no {1}: {0}")]
    Body(serde_json::Error, &'static str),
}

/// An ordered reader of one durable consumer.
pub struct OrderedConsumer {
    broker: Broker,
    consumer_name: Arc<str>,
    stream_name: String,
    open: Option<Open>,
    /// The last sequence given out.
    after: u64,
    /// How many messages were waiting behind it at the broker.
    pending: u64,
    /// What is being collected. It lives here and not in the future of [`OrderedConsumer::next`], which may be dropped.
    batch: Batch,
    acknowledged: Acknowledged,
}

/// What the broker has been told about what is committed.
struct Acknowledged {
    /// Up to which sequence.
    sequence: u64,
    at: Instant,
    /// What it is yet to be told.
    due: Option<String>,
}

struct Open {
    messages: pull::Stream,
    /// The last delivery's number; one more is expected.
    delivered: u64,
}

impl OrderedConsumer {
    /// Opens the durable consumer `name` of `streams.yaml` behind the stream sequence `after`.
    pub async fn open(broker: &Broker, name: &str, after: u64) -> Result<Self, ServiceError> {
        let declared = Topology::declared().map_err(|error| ServiceError::permanent("read streams.yaml", error))?;
        let (stream, _) = declared
            .consumer(name)
            .ok_or_else(|| ServiceError::permanent("open a feed", format!("{name} is not in streams.yaml")))?;
        topology::verify_consumer(broker, stream, name, &declared).await?;
        let mut feed = Self {
            broker: broker.clone(),
            consumer_name: name.into(),
            stream_name: stream.to_owned(),
            open: None,
            after,
            pending: 0,
            batch: Batch::default(),
            acknowledged: Acknowledged { sequence: after, at: Instant::now(), due: None },
        };
        metrics::counter!("tickbell_consumer_rebuilds_total", "consumer" => name.to_owned()).increment(0);
        metrics::counter!("tickbell_messages_missed_total", "consumer" => name.to_owned()).increment(0);
        feed.report_retention_gap().await?;
        feed.reset().await?;
        Ok(feed)
    }

    /// Messages that the stream dropped by age or size before they were read are lost to this consumer.
    async fn report_retention_gap(&self) -> Result<(), ServiceError> {
        let first = topology::first_sequence(&self.broker, &self.stream_name).await?;
        if self.after > 0 && first > self.after + 1 {
            let gone = first - self.after - 1;
            metrics::counter!("tickbell_messages_missed_total", "consumer" => self.consumer_name.clone())
                .increment(gone);
            warn!(
                consumer = &*self.consumer_name,
                stream = self.stream_name,
                after = self.after,
                first,
                gone,
                "the stream dropped messages before they were read; keep it longer or run this service more"
            );
        }
        Ok(())
    }

    /// When the stream of a durable consumer was made: sequences of another stream of the same name mean nothing here.
    pub async fn stream_created(broker: &Broker, name: &str) -> Result<Timestamp, ServiceError> {
        let declared = Topology::declared().map_err(|error| ServiceError::permanent("read streams.yaml", error))?;
        let (stream, _) = declared
            .consumer(name)
            .ok_or_else(|| ServiceError::permanent("ask for a stream", format!("{name} is not in streams.yaml")))?;
        topology::stream_created(broker, stream).await
    }

    /// How many messages were waiting at the broker behind the last one given out.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// The last sequence collected or passed over.
    pub(crate) fn last(&self) -> u64 {
        self.after
    }

    /// The last sequence that the stream has, whether or not it was delivered. What was stored before this is asked, and is
    /// there still, is at or below it.
    pub(crate) async fn last_stored_sequence(&self) -> Result<u64, ServiceError> {
        topology::last_sequence(&self.broker, &self.stream_name).await
    }

    /// Whether the broker has nothing more to deliver.
    pub(crate) async fn is_drained(&self) -> Result<bool, ServiceError> {
        let unknown = |error: async_nats::Error| {
            ServiceError::transient(
                format!("ask for consumer {} of stream {}", self.consumer_name, self.stream_name),
                error,
            )
        };
        let stream = self.broker.jetstream().get_stream_no_info(&self.stream_name).await;
        let stream = stream.map_err(|error| unknown(error.into()))?;
        let mut consumer: PullConsumer = stream.get_consumer(&self.consumer_name).await.map_err(unknown)?;
        let info = consumer.info().await.map_err(|error| unknown(error.into()))?;
        Ok(info.num_pending == 0 && info.delivered.stream_sequence <= self.after)
    }

    /// The stream this feed reads.
    pub fn stream(&self) -> &str {
        &self.stream_name
    }

    /// Waits for the next messages and gives out up to `most` of them, skipping none and repeating none.
    ///
    /// Heals by itself from a lost connection and lost messages; a consumer that was deleted is waited for until
    /// somebody makes it again (`tickbell streams apply`). Cancel safe: what was collected
    /// is given out by the next call.
    pub async fn next(&mut self, most: usize) -> Batch {
        let mut delays = backoff();
        loop {
            let failure = match self.collect(most).await {
                Ok(()) => return std::mem::take(&mut self.batch),
                Err(failure) => failure,
            };
            self.open = None;
            metrics::counter!("tickbell_consumer_rebuilds_total", "consumer" => self.consumer_name.clone())
                .increment(1);
            warn!(consumer = &*self.consumer_name, after = self.after, failure, "reading anew from here");
            while let Err(fault) = self.reset().await {
                let wait = delays.next().unwrap_or(LINGER);
                warn!(
                    consumer = &*self.consumer_name,
                    error = error_chain(&fault),
                    wait_ms = wait.as_millis() as u64,
                    "the consumer cannot be opened yet"
                );
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// Tells the broker that everything up to the end of a batch is committed, now or within half a second.
    pub async fn acknowledge(&mut self, batch: &Batch) {
        self.acknowledged.due = Some(batch.ack.clone());
        let since = batch.last.saturating_sub(self.acknowledged.sequence);
        if since >= ACKNOWLEDGE_AFTER || self.acknowledged.at.elapsed() >= ACKNOWLEDGE_EVERY {
            self.acknowledged.sequence = batch.last;
            self.tell_acknowledged().await;
        }
    }

    async fn tell_acknowledged(&mut self) {
        let Some(ack) = self.acknowledged.due.take() else { return };
        self.acknowledged.at = Instant::now();
        // A lost acknowledgement costs nothing: the position in the database decides.
        if let Err(error) = self.broker.jetstream().client().publish(ack, AckKind::Ack.into()).await {
            debug!(consumer = &*self.consumer_name, %error, "an acknowledgement was not sent");
        }
    }

    async fn reset(&mut self) -> Result<(), ServiceError> {
        let passing = |what: &str, error: async_nats::Error| {
            ServiceError::transient(
                format!("{what} consumer {} of stream {}", self.consumer_name, self.stream_name),
                error,
            )
        };
        let stream = self
            .broker
            .jetstream()
            .get_stream_no_info(&self.stream_name)
            .await
            .map_err(|error| passing("find", error.into()))?;
        let mut consumer: PullConsumer =
            stream.get_consumer(&self.consumer_name).await.map_err(|error| passing("find", error))?;
        // From here on deliveries are counted anew: what was due names one by its old number.
        self.acknowledged.due = None;
        let state = consumer.reset(Some(self.after + 1)).await.map_err(|error| passing("reset", error.into()))?;
        self.pending = state.info.num_pending;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PULL_MESSAGES)
            .expires(PULL_EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await
            .map_err(|error| passing("read", error.into()))?;
        self.open = Some(Open { messages, delivered: 0 });
        Ok(())
    }

    /// Fills the batch with what is there, and with what comes soon while more is waiting at the broker.
    async fn collect(&mut self, most: usize) -> Result<(), String> {
        let mut deadline = None;
        while self.batch.messages.len() < most {
            let Some(open) = self.open.as_mut() else { return Err("it is not open".into()) };
            let next = if self.batch.messages.is_empty() {
                tokio::select! {
                    biased;
                    next = open.messages.next() => next,
                    () = sleep_until(self.acknowledged.at + ACKNOWLEDGE_EVERY), if self.acknowledged.due.is_some() => {
                        self.tell_acknowledged().await;
                        continue;
                    }
                }
            } else if let Some(ready) = tokio::task::unconstrained(open.messages.next()).now_or_never() {
                ready
            } else if self.pending == 0 {
                break;
            } else {
                let until = *deadline.get_or_insert_with(|| Instant::now() + LINGER);
                match timeout_at(until, open.messages.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                }
            };
            match self.take(next) {
                Ok(()) => {}
                Err(failure) if self.batch.messages.is_empty() => return Err(failure),
                // What was collected is whole and in order. It is given out, and the next call begins anew.
                Err(failure) => {
                    debug!(consumer = &*self.consumer_name, failure, "after a batch");
                    self.open = None;
                    break;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, next: Option<Result<jetstream::Message, pull::MessagesError>>) -> Result<(), String> {
        let message = next.ok_or("the broker ended the delivery")?.map_err(|error| error_chain(&error))?;
        let info = message.info().map_err(|error| error.to_string())?;
        let (sequence, delivery) = (info.stream_sequence, info.consumer_sequence);
        let expected = self.open.as_ref().map_or(1, |open| open.delivered + 1);
        if delivery != expected {
            return Err(format!("delivery {delivery} came where {expected} was expected"));
        }
        if let Some(open) = self.open.as_mut() {
            open.delivered = delivery;
        }
        self.pending = info.pending;
        if sequence <= self.after {
            return Ok(()); // Delivered again because its batch took longer than `ack_wait`.
        }
        let stored_at = Timestamp::from(info.published);
        let async_nats::Message { subject, reply, payload, headers, .. } = message.message;
        self.batch.ack = reply.map(|reply| reply.to_string()).unwrap_or_default();
        self.batch.last = sequence;
        self.after = sequence;
        self.batch.messages.push(Message { subject: subject.to_string(), sequence, stored_at, headers, body: payload });
        Ok(())
    }
}

impl From<jetstream::message::StreamMessage> for Message {
    fn from(stored: jetstream::message::StreamMessage) -> Self {
        Self {
            subject: stored.subject.to_string(),
            sequence: stored.sequence,
            stored_at: Timestamp::from(stored.time),
            headers: Some(stored.headers),
            body: stored.payload,
        }
    }
}

impl Message {
    /// The event in the body, or why there is none.
    pub fn event<E: Event>(&self) -> Result<E, DecodeError> {
        if let Some(class) = self.header(CE_TYPE)
            && class != E::TYPE
        {
            return Err(DecodeError::Type(class.to_owned(), E::TYPE));
        }
        serde_json::from_slice(&self.body).map_err(|error| DecodeError::Body(error, E::TYPE))
    }

    /// The event's class and major version, where a stream carries several.
    pub fn class(&self) -> &str {
        self.header(CE_TYPE).unwrap_or_default()
    }

    /// The event's identity: `ce-id`, else the id it was deduplicated by.
    pub fn id(&self) -> Option<&str> {
        self.header(CE_ID).or_else(|| self.header(NATS_MSG_ID))
    }

    /// The trace context of what caused it.
    pub fn traceparent(&self) -> Option<&str> {
        self.header(TRACEPARENT)
    }

    /// This message as one that `service` gives up because of `reason`.
    pub fn dead_letter(&self, service: &str, stream: &str, reason: &impl std::fmt::Display) -> DeadLetter {
        let headers = self.headers.iter().flat_map(|headers| headers.iter());
        DeadLetter {
            service: service.to_owned(),
            stream: stream.to_owned(),
            sequence: self.sequence,
            subject: self.subject.clone(),
            headers: headers
                .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())))
                .collect(),
            body: Body::new(&self.body),
            reason: printable(&reason.to_string()),
            attempts: 1,
            at: self.stored_at,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(|value| value.as_str())
    }
}

/// Text with escapes in the place of control characters. A reason may repeat what is wrong with a body, and a NUL would be
/// refused by PostgreSQL each time that the message is given up.
fn printable(text: &str) -> String {
    let written = |char: char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
    text.chars().map(written).collect()
}

#[cfg(test)]
mod tests {
    use events::Tick;

    use super::*;

    #[test]
    fn why_a_message_is_given_up_can_be_kept_whatever_its_body_says() {
        let message = Message {
            subject: "ticks.test.BTC-USD".into(),
            sequence: 1,
            stored_at: Timestamp::EPOCH,
            headers: None,
            body: Bytes::from_static(br#"{"kind":"\u0000"}"#),
        };
        let reason = message.event::<Tick>().expect_err("no tick");
        assert!(reason.to_string().contains('\0'), "{reason}");
        let letter = message.dead_letter("history-writer", "TICKS", &reason);
        assert!(letter.reason.contains(r"\u{0}") && !letter.reason.contains('\0'), "{}", letter.reason);
    }
}
