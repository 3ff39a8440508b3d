//! The dead-letter queue: listing what stream `DLQ` holds, and replaying it.

use async_nats::header::HeaderName;
use events::{DeadLetter, OutboundMessage, envelope::NATS_MSG_ID};
use futures::{StreamExt, TryStreamExt};
use thiserror::Error;

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

/// The reason why a dead letter is never published again.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NotReplayable {
    /// It is no dead letter that this version can read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is a venue's message, which was never a message of a stream, and of which only the beginning may be stored.
    #[error(
        "it is a message of {venue}, not of a stream: its trades, if it has any, come back when the gap that it left is filled; \
         `tickbell dlq show` prints what is stored of it"
    )]
    Frame {
        /// The venue that sent it.
        venue: String,
    },
}

impl DeadLetterEntry {
    /// Returns the dead letter, where its message can be published again.
    pub fn replayable(&self) -> Result<&DeadLetter, NotReplayable> {
        match &self.dead_letter {
            Err(error) => Err(NotReplayable::Unreadable(error.clone())),
            Ok(DeadLetter { frame: Some(frame), .. }) => Err(NotReplayable::Frame { venue: frame.venue.to_string() }),
            Ok(dead_letter) => Ok(dead_letter),
        }
    }
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
    let dead_letter = entry.replayable().map_err(|error| ServiceError::permanent("replay a dead letter", error))?;
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

#[cfg(test)]
mod tests {
    use events::{RawFrame, Timestamp, Venue};

    use super::*;

    #[test]
    fn a_message_of_a_venue_is_not_published_again() {
        let venue = Venue::parse("coinbase").expect("a venue");
        let frame = RawFrame { venue, digest: "00".to_owned(), bytes: 1 };
        let frame = DeadLetter::of_frame("price-ingestor", frame, b"{", "no JSON".to_owned(), Timestamp::EPOCH);
        let of_stream = DeadLetter { frame: None, ..frame.clone() };
        let entry = |dead_letter| DeadLetterEntry { sequence: 1, dead_letter };
        assert_eq!(entry(Ok(of_stream.clone())).replayable(), Ok(&of_stream));
        let refusal = entry(Ok(frame)).replayable().expect_err("a frame").to_string();
        assert!(refusal.contains("a message of coinbase"), "{refusal}");
        assert!(entry(Err("no JSON".to_owned())).replayable().is_err());
    }
}
