//! The dead-letter queue: listing what stream `DLQ` holds, and replaying it.

use async_nats::header::HeaderName;
use events::{DeadLetter, OutboundMessage, envelope::NATS_MSG_ID};
use futures::{StreamExt, TryStreamExt};

use crate::{
    Broker, ServiceError,
    broker::{message::Message, stream_scan},
};

const STREAM: &str = "DLQ";

/// A dead letter as stream `DLQ` stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterEntry {
    /// The sequence in stream `DLQ`.
    pub sequence: u64,
    /// The dead letter, or the reason why it cannot be decoded.
    pub dead_letter: Result<DeadLetter, String>,
}

/// Returns all dead letters, oldest first.
pub async fn list(broker: &Broker) -> Result<Vec<DeadLetterEntry>, ServiceError> {
    let entry = |message: Message| DeadLetterEntry {
        sequence: message.sequence,
        dead_letter: message.event().map_err(|error| error.to_string()),
    };
    stream_scan::messages(broker, STREAM, ..).await?.map(|message| message.map(entry)).try_collect().await
}

/// Publishes the message of a dead letter again to its subject, then deletes the dead letter.
///
/// The message keeps its `ce-id`, by which consumers recognise a repeat; only `Nats-Msg-Id` is new, because the broker would
/// drop the message as a duplicate. A rejected tick is published as a page of this tick alone. Replaying again after a failure in between publishes the message once.
pub async fn replay(broker: &Broker, entry: &DeadLetterEntry) -> Result<(), ServiceError> {
    let dead_letter =
        entry.dead_letter.as_ref().map_err(|error| ServiceError::permanent("replay a dead letter", error.clone()))?;
    let body = dead_letter.body.bytes().map_err(|error| ServiceError::permanent("read a dead letter's body", error))?;
    let id = format!("replay-{}", dead_letter.identity());
    // The broker's own headers describe the first publish: its message id, and its place in an atomic batch.
    // A dead letter that somebody has made by hand may have headers that cannot be sent.
    let is_sendable = |name: &str, value: &str| name.parse::<HeaderName>().is_ok() && !value.contains(['\r', '\n']);
    let headers = dead_letter.headers.iter().filter(|(name, _)| !name.starts_with("Nats-"));
    let headers = headers.filter(|(name, value)| is_sendable(name, value)).cloned();
    let headers = headers.chain([(NATS_MSG_ID.to_owned(), id.clone())]).collect();
    let message = OutboundMessage { subject: dead_letter.subject.clone(), id, headers, body };
    broker.publish(std::slice::from_ref(&message)).await?;
    let failed = |error: async_nats::Error| {
        ServiceError::transient(format!("delete message {} of stream {STREAM}", entry.sequence), error)
    };
    let stream = broker.jetstream().get_stream_no_info(STREAM).await.map_err(|error| failed(error.into()))?;
    stream.delete_message(entry.sequence).await.map_err(|error| failed(error.into()))?;
    Ok(())
}
