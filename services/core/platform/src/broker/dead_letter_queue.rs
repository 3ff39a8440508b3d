//! The dead-letter queue: listing what stream `DLQ` holds, and replaying it.

use events::DeadLetter;
use futures::{StreamExt, TryStreamExt};
use thiserror::Error;

use crate::{
    Broker, ServiceError,
    broker::{
        message::Message,
        stream_scan::{self, Which},
    },
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

impl From<Message> for DeadLetterEntry {
    fn from(message: Message) -> Self {
        Self { sequence: message.sequence, dead_letter: message.event().map_err(|error| error.to_string()) }
    }
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
    let messages = stream_scan::messages(broker, STREAM, ..).await?;
    messages.map(|message| message.map(DeadLetterEntry::from)).try_collect().await
}

/// Returns the oldest dead letter whose number is greater than `after`; none behind the last one.
pub async fn next(broker: &Broker, after: u64) -> Result<Option<DeadLetterEntry>, ServiceError> {
    let next = Which::From { seq: after.saturating_add(1), next_by_subj: ">" };
    Ok(stream_scan::read(broker, STREAM, next).await?.map(DeadLetterEntry::from))
}

/// Returns the dead letter of this number; none where there is none.
pub async fn find(broker: &Broker, number: u64) -> Result<Option<DeadLetterEntry>, ServiceError> {
    let found = stream_scan::read(broker, STREAM, Which::At { seq: number }).await?;
    Ok(found.map(DeadLetterEntry::from))
}

/// Publishes the message of a dead letter again to its subject, then deletes the dead letter. A rejected tick is published as a
/// page of this tick alone. Replaying again after a failure in between publishes the message once.
pub async fn replay(broker: &Broker, entry: &DeadLetterEntry) -> Result<(), ServiceError> {
    let dead_letter = entry.replayable().map_err(|error| ServiceError::permanent("replay a dead letter", error))?;
    let message =
        dead_letter.to_replay().map_err(|error| ServiceError::permanent("read a dead letter's body", error))?;
    broker.publish(std::slice::from_ref(&message)).await?;
    delete(broker, entry.sequence).await
}

/// Deletes a dead letter; one that is not there any more is no error.
pub async fn delete(broker: &Broker, number: u64) -> Result<(), ServiceError> {
    let failed = |error: async_nats::Error| {
        ServiceError::transient(format!("delete message {number} of stream {STREAM}"), error)
    };
    let stream = broker.jetstream().get_stream_no_info(STREAM).await.map_err(|error| failed(error.into()))?;
    let Err(error) = stream.delete_message(number).await else { return Ok(()) };
    match find(broker, number).await? {
        None => Ok(()),
        Some(_) => Err(failed(error.into())),
    }
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
