//! The dead-letter stream: listed, and replayed.

use async_nats::jetstream::stream::Stream;
use events::{DeadLetter, OutboundMessage, envelope::NATS_MSG_ID};
use futures::{StreamExt, TryStreamExt};

use crate::{Broker, Message, ServiceError, broker::stream_scan};

const STREAM: &str = "DLQ";

/// A dead letter and its place in stream `DLQ`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub sequence: u64,
    /// What was given up, and why; or why even that cannot be read.
    pub letter: Result<DeadLetter, String>,
}

/// All dead letters, oldest first.
pub async fn list(broker: &Broker) -> Result<Vec<Entry>, ServiceError> {
    let entry = |message: Message| Entry {
        sequence: message.sequence,
        letter: message.event().map_err(|error| error.to_string()),
    };
    stream_scan::messages(broker, STREAM, None).await?.map(|message| message.map(entry)).try_collect().await
}

/// Publishes a dead letter's message again where it was published first, then takes the letter out of the stream.
///
/// The message keeps its `ce-id`, by which it is stored once; only `Nats-Msg-Id` is new, or the broker would drop it
/// as a repeat. Doing so twice, after a failure in between, is doing so once.
pub async fn replay(broker: &Broker, entry: &Entry) -> Result<(), ServiceError> {
    let letter =
        entry.letter.as_ref().map_err(|error| ServiceError::permanent("replay a dead letter", error.clone()))?;
    let body = letter.body.bytes().map_err(|error| ServiceError::permanent("read a dead letter's body", error))?;
    let id = format!("replay-{}-{}", letter.stream, letter.sequence);
    // The broker's own headers were about the first publish: its id, its place in an atomic batch.
    let kept = letter.headers.iter().filter(|(name, _)| !name.starts_with("Nats-")).cloned();
    let headers = kept.chain([(NATS_MSG_ID.to_owned(), id.clone())]).collect();
    let message = OutboundMessage { subject: letter.subject.clone(), id, headers, body };
    broker.publish(std::slice::from_ref(&message)).await?;
    let stream = stream(broker).await?;
    let failed =
        |error| ServiceError::transient(format!("delete message {} of stream {STREAM}", entry.sequence), error);
    stream.delete_message(entry.sequence).await.map_err(failed)?;
    Ok(())
}

async fn stream(broker: &Broker) -> Result<Stream, ServiceError> {
    let found = broker.jetstream().get_stream(STREAM).await;
    found.map_err(|error| ServiceError::permanent(format!("find stream {STREAM}; run `tickbell streams apply`"), error))
}
