//! Reading a stream in order through a durable consumer, from a position that the database stores.
//!
//! The broker's acknowledgement state is not used: when the consumer is opened it is reset to the position (server 2.14,
//! ADR-60), so nothing that was delivered to a process that died is skipped or waits for its `ack_wait`. Deliveries then
//! count from one; a gap in the numbers means that messages were lost on the way or taken by another reader, and the
//! consumer is reset to the last message that it returned. So it is after a new connection, and when the broker has delivered
//! what does not arrive: a connection may be dead without a word, and a leader that stands still leaves a pull request behind.
//! Acknowledgements only report progress to the broker, for
//! everyone who watches the consumer's lag.

use std::time::Duration;

use async_nats::jetstream::{self, AckKind, consumer::pull};
use events::{
    Timestamp,
    streams::{Consumer, Topology},
};
use futures::{FutureExt, StreamExt};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{debug, warn};

use crate::{
    Broker, ServiceError,
    broker::{
        delivery::{Delivery, Failure, Source, open_after},
        message::Message,
        stream_position::StreamPosition,
        stream_watch::StreamWatch,
        topology,
    },
    runtime::{backoff::backoff, error::error_chain},
};

/// The time for which a consumer that cannot be opened is tried again before its run ends, which is then said to be unready.
const GIVE_UP_AFTER: Duration = Duration::from_secs(4);
/// The number of messages that are pending at the broker from which on a batch is filled for a moment. Below it a batch has what has
/// arrived: somebody may wait for it.
const BEHIND_FROM: u64 = 500;
/// The time for which a batch is filled then.
const LINGER: Duration = Duration::from_millis(25);

/// The bytes of messages after which a batch is full, whatever their number.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The time between acknowledgements, and the number of messages after which one is sent earlier: for each the broker writes
/// the consumer's state to disk.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(500);
const ACKNOWLEDGE_AFTER: u64 = 4_000;

/// Messages in stream order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The messages, at least one.
    pub messages: Vec<Message>,
    /// The stream sequence of the last message.
    pub last: u64,
    /// The reply subject that acknowledges the batch.
    ack: String,
    /// The bytes of the messages' bodies.
    pub(super) bytes: usize,
}

/// A durable consumer that is read in stream order, without gaps or repeats.
pub struct OrderedConsumer {
    broker: Broker,
    source: Source,
    open: Option<Delivery>,
    /// The attempt to open it. It runs in a task of its own, because the future of [`OrderedConsumer::next`] may be dropped
    /// again and again.
    opening: Option<JoinHandle<Result<Delivery, Failure>>>,
    /// The last message that was collected.
    position: StreamPosition,
    stream: StreamWatch,
    /// The number of messages that were pending behind it at the broker.
    pending: u64,
    /// The batch that is being filled. It is a field, because the future of [`OrderedConsumer::next`] may be dropped.
    batch: Batch,
    acknowledged: Acknowledged,
    /// The time since which the consumer cannot be opened.
    failing_since: Option<Instant>,
    /// The waits between attempts to open it.
    delays: Box<dyn Iterator<Item = Duration> + Send + Sync>,
}

/// The progress that was reported to the broker.
struct Acknowledged {
    /// The stream sequence of the last acknowledgement.
    sequence: u64,
    /// The time of the last acknowledgement.
    at: Instant,
    /// The reply subject of an acknowledgement that is not sent yet.
    due: Option<String>,
}

impl OrderedConsumer {
    /// Opens the durable consumer `name` of `streams.yaml` behind a position, which
    /// [`resume`](super::stream_position::resume) has returned.
    pub async fn open(broker: &Broker, name: &str, position: StreamPosition) -> Result<Self, ServiceError> {
        let declared = Topology::declared()?;
        let (stream, Consumer { filter, .. }) = topology::declared_consumer(&declared, name)?;
        let source = Source { stream: stream.to_owned(), consumer: name.to_owned(), filter: filter.clone() };
        let mut consumer = Self {
            broker: broker.clone(),
            source,
            open: None,
            opening: None,
            position,
            stream: StreamWatch::start(broker, stream, name, position),
            pending: 0,
            batch: Batch::default(),
            acknowledged: Acknowledged { sequence: position.sequence, at: Instant::now(), due: None },
            failing_since: None,
            delays: Box::new(backoff()),
        };
        metrics::counter!("tickbell_consumer_rebuilds_total", "consumer" => name.to_owned()).increment(0);
        metrics::counter!("tickbell_messages_missed_total", "consumer" => name.to_owned()).increment(0);
        consumer.report_retention_gap().await?;
        consumer.reopen().await?;
        Ok(consumer)
    }

    /// Reports messages that the stream deleted by age or size before they were read: they are lost to this consumer.
    async fn report_retention_gap(&self) -> Result<(), ServiceError> {
        let first = topology::existing(&self.broker, &self.source.stream).await?.state.first_sequence;
        let after = self.last();
        if after > 0 && first > after + 1 {
            let missed = first - after - 1;
            metrics::counter!("tickbell_messages_missed_total", "consumer" => self.source.consumer.clone())
                .increment(missed);
            warn!(
                consumer = self.source.consumer.as_str(),
                stream = self.source.stream.as_str(),
                after,
                first,
                missed,
                "the stream deleted messages before they were read; raise its limits or run this service without pauses"
            );
        }
        Ok(())
    }

    /// Returns the number of messages that were pending at the broker behind the last one returned.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Returns the stream sequence of the last message that was collected.
    pub(crate) fn last(&self) -> u64 {
        self.position.sequence
    }

    /// Asks the broker for the last sequence of the stream, whether or not it was delivered. Every message that was stored
    /// before the call, and is still there, is at or below it.
    pub(crate) async fn last_stored_sequence(&self) -> Result<u64, ServiceError> {
        topology::last_sequence(&self.broker, &self.source.stream).await
    }

    /// Asks the broker whether it has delivered everything.
    pub(crate) async fn is_drained(&self) -> Result<bool, ServiceError> {
        let info = topology::existing_consumer(&self.broker, &self.source.stream, &self.source.consumer).await?;
        Ok(info.num_pending == 0 && info.delivered.stream_sequence <= self.last())
    }

    /// Returns the name of the stream.
    pub fn stream(&self) -> &str {
        &self.source.stream
    }

    /// Waits for the next messages and returns up to `most` of them, without gaps or repeats.
    ///
    /// It recovers by itself from a lost connection and lost messages. It returns a transient error where the consumer cannot be
    /// opened for a while, and where the stream is another one than the one that was read. The future is cancel safe: the next
    /// call returns what was collected.
    pub async fn next(&mut self, most: usize) -> Result<Batch, ServiceError> {
        loop {
            if self.open.is_none() {
                self.reopen().await?;
            }
            match self.collect(most).await {
                Ok(()) => {
                    self.stream.advance(self.position);
                    return Ok(std::mem::take(&mut self.batch));
                }
                Err(Failure::EndRun(error)) => return Err(error),
                Err(Failure::Reopen(failure)) => {
                    self.open = None;
                    metrics::counter!("tickbell_consumer_rebuilds_total", "consumer" => self.source.consumer.clone())
                        .increment(1);
                    warn!(
                        consumer = self.source.consumer.as_str(),
                        after = self.position.sequence,
                        failure,
                        "delivery failed, reopening the consumer"
                    );
                }
            }
        }
    }

    /// Opens the consumer behind the last message that was collected, and tries again for a while.
    async fn reopen(&mut self) -> Result<(), ServiceError> {
        let mut wait = Duration::ZERO;
        loop {
            let opening = self.opening.get_or_insert_with(|| {
                // The reset starts delivery numbers again from one: an acknowledgement that is due names an old number.
                self.acknowledged.due = None;
                tokio::spawn(open_after(wait, self.broker.clone(), self.source.clone(), self.position))
            });
            let opened = opening.await;
            self.opening = None;
            let error = match opened {
                Ok(Ok(mut open)) => {
                    self.pending = open.pending;
                    for message in std::mem::take(&mut open.unreadable) {
                        self.push(message);
                    }
                    self.open = Some(open);
                    self.failing_since = None;
                    self.delays = Box::new(backoff());
                    return Ok(());
                }
                Ok(Err(Failure::EndRun(error))) => return Err(error),
                Ok(Err(Failure::Reopen(error))) => error,
                Err(error) => error_chain(&error),
            };
            // The check of the broker says that it is not connected.
            if self.broker.is_connected() {
                let since = *self.failing_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= GIVE_UP_AFTER {
                    return Err(ServiceError::transient(format!("read stream {}", self.source.stream), error));
                }
            }
            wait = self.delays.next().unwrap_or(LINGER);
            warn!(
                consumer = self.source.consumer.as_str(),
                error,
                wait_ms = wait.as_millis() as u64,
                "cannot open the consumer, retrying"
            );
        }
    }

    /// Reports to the broker, now or within half a second, that everything up to the end of a batch is committed.
    pub async fn acknowledge(&mut self, batch: &Batch) {
        // None of its messages was delivered: each could only be read by the broker's API.
        if batch.ack.is_empty() {
            return;
        }
        self.acknowledged.due = Some(batch.ack.clone());
        let since = batch.last.saturating_sub(self.acknowledged.sequence);
        if since >= ACKNOWLEDGE_AFTER || self.acknowledged.at.elapsed() >= ACKNOWLEDGE_EVERY {
            self.acknowledged.sequence = batch.last;
            self.send_acknowledgement().await;
        }
    }

    async fn send_acknowledgement(&mut self) {
        let Some(ack) = self.acknowledged.due.take() else { return };
        self.acknowledged.at = Instant::now();
        // A lost acknowledgement does no harm: the position in the database decides.
        if let Err(error) = self.broker.jetstream().client().publish(ack, AckKind::Ack.into()).await {
            debug!(consumer = self.source.consumer.as_str(), %error, "cannot send an acknowledgement");
        }
    }

    /// Fills the batch with the messages that have arrived, and for a moment with more while many are pending at the broker.
    async fn collect(&mut self, most: usize) -> Result<(), Failure> {
        self.stream.verify().map_err(Failure::EndRun)?;
        let mut deadline = None;
        while self.batch.messages.len() < most && self.batch.bytes < MAX_BATCH_BYTES {
            let Some(open) = self.open.as_mut() else {
                return Err(Failure::Reopen("the consumer is not open".into()));
            };
            let next = if self.batch.messages.is_empty() {
                tokio::select! {
                    biased;
                    next = open.messages.next() => next,
                    () = sleep_until(self.acknowledged.at + ACKNOWLEDGE_EVERY), if self.acknowledged.due.is_some() => {
                        self.send_acknowledgement().await;
                        continue;
                    }
                    Ok(()) = open.connections.changed() => {
                        return Err(Failure::Reopen("the connection was lost".into()));
                    }
                    delivered = self.stream.next_look() => {
                        self.stream.verify().map_err(Failure::EndRun)?;
                        open.verify_arrival(self.position.sequence, delivered).map_err(Failure::Reopen)?;
                        continue;
                    }
                }
            } else if let Some(ready) = tokio::task::unconstrained(open.messages.next()).now_or_never() {
                ready
            } else if self.pending < BEHIND_FROM {
                break;
            } else {
                let until = *deadline.get_or_insert_with(|| Instant::now() + LINGER);
                match timeout_at(until, open.messages.next()).await {
                    Ok(next) => next,
                    Err(_) => break,
                }
            };
            match self.accept(next) {
                Ok(()) => {}
                Err(failure) if self.batch.messages.is_empty() => return Err(Failure::Reopen(failure)),
                // What was collected has no gap and is in order. It is returned, and the next call reopens the consumer.
                Err(failure) => {
                    debug!(consumer = self.source.consumer.as_str(), failure, "delivery failed behind a batch");
                    self.open = None;
                    break;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, next: Option<Result<jetstream::Message, pull::MessagesError>>) -> Result<(), String> {
        let message = next.ok_or("the broker ended the delivery")?.map_err(|error| error_chain(&error))?;
        let info = message.info().map_err(|error| error.to_string())?;
        let (sequence, delivery) = (info.stream_sequence, info.consumer_sequence);
        let expected = self.open.as_ref().map_or(1, |open| open.delivered + 1);
        if delivery != expected {
            return Err(format!("received delivery {delivery}, expected {expected}"));
        }
        if let Some(open) = self.open.as_mut() {
            open.delivered = delivery;
        }
        self.pending = info.pending;
        if sequence <= self.last() {
            return Ok(()); // The broker delivered it again, because its batch took longer than `ack_wait`.
        }
        let stored_at = Timestamp::from(info.published);
        let message = message.message;
        self.batch.ack = message.reply.as_ref().map(|reply| reply.to_string()).unwrap_or_default();
        let subject = message.subject.to_string();
        let (headers, body) = (message.headers, message.payload);
        self.push(Message { subject, sequence, stored_at, headers, body, unreadable: None });
        Ok(())
    }

    fn push(&mut self, message: Message) {
        let (sequence, stored_at) = (message.sequence, Some(message.stored_at));
        self.position = StreamPosition { sequence, stored_at, ..self.position };
        self.batch.last = sequence;
        self.batch.bytes += message.body.len();
        self.batch.messages.push(message);
    }
}

impl Drop for OrderedConsumer {
    fn drop(&mut self) {
        if let Some(opening) = &self.opening {
            opening.abort();
        }
    }
}
