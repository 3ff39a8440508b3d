//! How far a stream is mirrored, as Kafka stores it: an offset with metadata.
//!
//! The offset is the sequence of the next message. Its metadata has what a sequence alone does not say: when the stream was created,
//! and when the broker stored the message that was mirrored last.

use events::Timestamp;
use platform::StreamPosition;
use serde::{Deserialize, Serialize};

/// Records of a committed transaction that are to be written once more, because Kafka has not ended the transaction where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rewrite {
    /// The partition of the topic.
    pub(crate) partition: i32,
    /// The offset of the first record.
    pub(crate) from: i64,
    /// The offset behind the last record.
    pub(crate) to: i64,
}

/// A position as Kafka stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredPosition {
    /// The position of the last message. An offset that somebody has set by a tool of Kafka says nothing but a sequence: its time is then
    /// unknown.
    pub(crate) position: StreamPosition,
    /// What is to be written once more.
    pub(crate) rewrites: Vec<Rewrite>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    stream_created: Timestamp,
    stored_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rewrites: Vec<Rewrite>,
}

impl StoredPosition {
    /// Returns a position with nothing to be written once more.
    pub(crate) fn new(position: StreamPosition) -> Self {
        Self { position, rewrites: Vec::new() }
    }

    /// Returns the offset and its metadata.
    pub(crate) fn to_offset(&self) -> Result<(i64, String), String> {
        let StreamPosition { stream_created, sequence, stored_at } = self.position;
        let offset = i64::try_from(sequence + 1).map_err(|error| error.to_string())?;
        let metadata = Metadata { stream_created, stored_at, rewrites: self.rewrites.clone() };
        Ok((offset, serde_json::to_string(&metadata).map_err(|error| error.to_string())?))
    }

    /// Reads an offset with its metadata. An offset without metadata was set by an operator, and counts for the stream that is there:
    /// `stream_created`.
    pub(crate) fn of_offset(offset: i64, metadata: &str, stream_created: Timestamp) -> Result<Self, String> {
        let sequence = u64::try_from(offset.max(1) - 1).map_err(|error| error.to_string())?;
        if metadata.is_empty() {
            return Ok(Self::new(StreamPosition { stream_created, sequence, stored_at: None }));
        }
        let read: Metadata =
            serde_json::from_str(metadata).map_err(|error| format!("the offset's metadata {metadata:?}: {error}"))?;
        let Metadata { stream_created, stored_at, rewrites } = read;
        Ok(Self { position: StreamPosition { stream_created, sequence, stored_at }, rewrites })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).expect("a time")
    }

    #[test]
    fn an_offset_is_read_as_it_was_written() {
        let position = StreamPosition { stream_created: at(7), sequence: 42, stored_at: Some(at(9)) };
        let rewrites = vec![Rewrite { partition: 3, from: 10, to: 12 }];
        for stored in [StoredPosition::new(position), StoredPosition { position, rewrites }] {
            let (offset, metadata) = stored.to_offset().expect("an offset");
            assert_eq!(offset, 43);
            assert_eq!(StoredPosition::of_offset(offset, &metadata, at(1)), Ok(stored));
        }
        assert!(StoredPosition::of_offset(1, "{", at(1)).is_err());
    }

    #[test]
    fn an_offset_that_an_operator_has_set_is_the_next_message_of_the_stream_that_is_there() {
        for (offset, sequence) in [(0, 0), (1, 0), (43, 42)] {
            let stored = StoredPosition::of_offset(offset, "", at(5)).expect("a position");
            assert_eq!(stored.position, StreamPosition { stream_created: at(5), sequence, stored_at: None });
        }
    }
}
