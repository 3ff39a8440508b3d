//! Publishing so that nothing acknowledged is lost or reordered.

use std::collections::HashSet;

use async_nats::{HeaderMap, RequestError, RequestErrorKind};
use events::{OutboundMessage, envelope::TRACEPARENT};
use futures::future::try_join_all;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::timeout;
use tracing::warn;
use uuid::Uuid;

use super::{ACK_TIMEOUT, Broker, topology};
use crate::{
    ServiceError,
    runtime::{backoff::backoff, error::error_chain},
};

/// The number of messages that the server accepts in one atomic batch.
const MAX_BATCH_MESSAGES: usize = 1_000;
/// The number of messages from which on an atomic batch is used. The server creates and removes a store in folders of its own
/// for each batch, so fewer messages cost less one by one.
const MIN_ATOMIC_MESSAGES: usize = 16;
/// The reason why nobody answers a publish.
const NO_STREAM: &str = "no stream stores the subject (run `tickbell streams apply`), or JetStream is unavailable";
/// A message that the broker will never accept.
#[derive(Debug, Error)]
#[error("the broker rejected the message for {subject}: {reason}")]
pub struct Rejected {
    /// The subject of the message.
    pub subject: String,
    /// The server's reason.
    pub reason: String,
}

/// The reason why a publish was not acknowledged.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The broker rejected the message.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The process is stopping. After a restart the messages are published again under the same ids.
    #[error("the process stopped before the broker acknowledged")]
    Stopped,
}

impl From<PublishError> for ServiceError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Rejected(_) => Self::permanent("publish", error),
            PublishError::Stopped => Self::transient("publish", error),
        }
    }
}

impl Broker {
    /// Publishes messages in order and returns when all are acknowledged. What is not acknowledged is published again under
    /// the same ids.
    ///
    /// Consecutive messages for one stream go as atomic batches, one batch at a time: a batch costs the server a single fsync,
    /// and the next batch cannot overtake one that was lost on the way. Few messages go one by one.
    pub async fn publish(&self, messages: &[OutboundMessage]) -> Result<(), PublishError> {
        self.publish_in(Order::OfAll, messages).await
    }

    /// Publishes messages as [`Self::publish`] does, but in order within each subject alone: few messages of different subjects
    /// do not wait for each other's acknowledgement.
    pub async fn publish_ordered_by_subject(&self, messages: &[OutboundMessage]) -> Result<(), PublishError> {
        self.publish_in(Order::WithinSubjects, messages).await
    }

    async fn publish_in(&self, order: Order, messages: &[OutboundMessage]) -> Result<(), PublishError> {
        for same_stream in messages.chunk_by(|a, b| first_token(&a.subject) == first_token(&b.subject)) {
            for batch in same_stream.chunks(MAX_BATCH_MESSAGES) {
                self.publish_until_acknowledged(order, batch).await?;
            }
        }
        Ok(())
    }

    async fn publish_until_acknowledged(&self, order: Order, batch: &[OutboundMessage]) -> Result<(), PublishError> {
        let mut delays = backoff();
        let mut atomic = batch.len() >= MIN_ATOMIC_MESSAGES;
        let at_once = order == Order::WithinSubjects && !atomic && have_different_subjects(batch);
        let mut reported_failure = false;
        let mut connections = self.connections.clone();
        loop {
            connections.mark_unchanged();
            let attempt = async {
                if atomic {
                    self.publish_atomic(batch).await
                } else if at_once {
                    self.publish_at_once(batch).await
                } else {
                    self.publish_singly(batch).await
                }
            };
            let result = tokio::select! {
                result = attempt => result,
                Ok(()) = connections.changed() => Err(AttemptError::Unanswered("the connection was lost".into())),
                () = self.shutdown.cancelled() => return Err(PublishError::Stopped),
            };
            match result {
                Ok(()) => {
                    if reported_failure {
                        self.check.ready();
                    }
                    return Ok(());
                }
                Err(AttemptError::NotAsBatch) if atomic => atomic = false,
                Err(AttemptError::NotAsBatch) => {
                    return Err(rejected(&batch[0], "it carries the headers of an atomic batch").into());
                }
                Err(AttemptError::Rejected(rejected)) => return Err(rejected.into()),
                Err(AttemptError::Unanswered(error)) => {
                    if error == NO_STREAM {
                        // In a box, because each future that publishes would be as large as this one, which is rare.
                        Box::pin(topology::create_missing_for_publisher(self)).await;
                    }
                    reported_failure = true;
                    self.check.failing(format!("publishes are not acknowledged: {error}"));
                    metrics::counter!("tickbell_publish_retries_total").increment(batch.len() as u64);
                    let wait = delays.next().unwrap_or(ACK_TIMEOUT);
                    warn!(
                        subject = batch[0].subject,
                        messages = batch.len(),
                        error,
                        wait_ms = wait.as_millis() as u64,
                        "publish not acknowledged, retrying under the same ids"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.shutdown.cancelled() => return Err(PublishError::Stopped),
                    }
                }
            }
        }
    }

    /// Publishes a batch that is stored as a whole or not at all (ADR-50). Only the last message requests an answer.
    async fn publish_atomic(&self, batch: &[OutboundMessage]) -> Result<(), AttemptError> {
        #[expect(clippy::disallowed_methods, reason = "the id of one attempt, by which nothing is identified later")]
        let id = Uuid::new_v4().simple().to_string();
        let (last, first) = batch.split_last().ok_or(AttemptError::NotAsBatch)?;
        let sends = async {
            for (index, message) in first.iter().enumerate() {
                let mut headers = headers(message);
                headers.insert("Nats-Batch-Id", id.as_str());
                headers.insert("Nats-Batch-Sequence", (index + 1).to_string());
                let body = message.body.clone().into();
                self.client
                    .publish_with_headers(message.subject.clone(), headers, body)
                    .await
                    .map_err(|error| AttemptError::Unanswered(error_chain(&error)))?;
            }
            Ok::<_, AttemptError>(())
        };
        // The send queue of a disconnected client fills up, and a send would then block for ever.
        timeout(ACK_TIMEOUT, sends).await.map_err(|_| AttemptError::Unanswered("the send queue is full".into()))??;

        let mut headers = headers(last);
        headers.insert("Nats-Batch-Id", id.as_str());
        headers.insert("Nats-Batch-Sequence", batch.len().to_string());
        headers.insert("Nats-Batch-Commit", "1");
        let reply = self
            .client
            .request_with_headers(last.subject.clone(), headers, last.body.clone().into())
            .await
            .map_err(AttemptError::from)?;
        check_ack(&reply.payload, last)
    }

    /// Publishes each message after the acknowledgement of the one before, so that none overtakes another. This is for few
    /// messages, and for a batch of which a part is stored already.
    async fn publish_singly(&self, batch: &[OutboundMessage]) -> Result<(), AttemptError> {
        for message in batch {
            self.publish_one(message).await?;
        }
        Ok(())
    }

    /// Publishes a few messages that need not stay in order.
    async fn publish_at_once(&self, batch: &[OutboundMessage]) -> Result<(), AttemptError> {
        try_join_all(batch.iter().map(|message| self.publish_one(message))).await.map(|_| ())
    }

    async fn publish_one(&self, message: &OutboundMessage) -> Result<(), AttemptError> {
        let request =
            self.client.request_with_headers(message.subject.clone(), headers(message), message.body.clone().into());
        check_ack(&request.await?.payload, message)
    }
}

/// Which messages must be stored in the order in which they are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    OfAll,
    WithinSubjects,
}

/// The reason why one attempt at a publish failed.
enum AttemptError {
    /// The messages may or may not be stored; they are published again under the same ids.
    Unanswered(String),
    /// A part is stored already, or the stream accepts no batches; the messages go one by one.
    NotAsBatch,
    /// The broker will never store the message.
    Rejected(Rejected),
}

impl From<RequestError> for AttemptError {
    fn from(error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders => Self::Unanswered(NO_STREAM.into()),
            _ => Self::Unanswered(error_chain(&error)),
        }
    }
}

#[derive(Deserialize)]
struct PubAck {
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    err_code: u32,
    description: String,
}

/// Reads a publish acknowledgement. The codes are those of the server's `errors.json`.
fn check_ack(payload: &[u8], message: &OutboundMessage) -> Result<(), AttemptError> {
    let ack: PubAck = serde_json::from_slice(payload).map_err(|error| AttemptError::Unanswered(error.to_string()))?;
    match ack.error {
        None => Ok(()),
        // 10174 to 10211: atomic publish is off, or the batch lost a part, is too large, or holds an id that is stored already.
        Some(error) if matches!(error.err_code, 10174..=10179 | 10198..=10211) => Err(AttemptError::NotAsBatch),
        // 10054: the message is larger than the stream's limit.
        Some(error) if error.err_code == 10054 => Err(AttemptError::Rejected(rejected(message, &error.description))),
        Some(error) => Err(AttemptError::Unanswered(error.description)),
    }
}

fn rejected(message: &OutboundMessage, reason: &str) -> Rejected {
    Rejected { subject: message.subject.clone(), reason: reason.to_owned() }
}

fn headers(message: &OutboundMessage) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    headers
}

/// Returns the first token of a subject, which decides its stream.
fn first_token(subject: &str) -> &str {
    subject.split('.').next().unwrap_or(subject)
}

fn have_different_subjects(batch: &[OutboundMessage]) -> bool {
    let subjects: HashSet<&str> = batch.iter().map(|message| message.subject.as_str()).collect();
    subjects.len() == batch.len()
}

/// Adds the trace context to an outbound message.
pub fn with_trace_context(mut message: OutboundMessage, traceparent: Option<String>) -> OutboundMessage {
    message.headers.extend(traceparent.map(|value| (TRACEPARENT.to_owned(), value)));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_subject_wait_for_each_other() {
        for (subjects, expected) in [(&["a", "b", "c"][..], true), (&["a", "b", "a"], false), (&["a"], true)] {
            let message = |subject: &&str| OutboundMessage {
                subject: (*subject).to_owned(),
                id: String::new(),
                headers: Vec::new(),
                body: Vec::new(),
            };
            let batch: Vec<_> = subjects.iter().map(message).collect();
            assert_eq!(have_different_subjects(&batch), expected, "{subjects:?}");
        }
    }
}
