//! The position in the header of each record: which message of which stream it was made of.

use events::Timestamp;
use platform::StreamPosition;

/// The header of a record that says which message of which stream it was made of. A bridge whose offset Kafka has forgotten finds its
/// position by it.
pub const POSITION_HEADER: &str = "tickbell_position";

/// The message that a record was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPosition {
    /// The name of the stream.
    pub stream: String,
    /// When the stream was created.
    pub stream_created: Timestamp,
    /// The sequence of the message.
    pub sequence: u64,
    /// When the broker stored the message.
    pub stored_at: Timestamp,
}

impl RecordPosition {
    /// Returns the value of the header.
    pub fn to_header(&self) -> String {
        let Self { stream, stream_created, sequence, stored_at } = self;
        format!("{stream} {stream_created} {sequence} {stored_at}")
    }

    /// Reads the value of the header; none where it is that of somebody else.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(header).ok()?.split(' ');
        let mut word = || words.next();
        let (stream, stream_created, sequence, stored_at) = (word()?, word()?, word()?, word()?);
        if word().is_some() {
            return None;
        }
        Some(Self {
            stream: stream.to_owned(),
            stream_created: stream_created.parse().ok()?,
            sequence: sequence.parse().ok()?,
            stored_at: stored_at.parse().ok()?,
        })
    }

    /// Returns the position behind the message.
    pub fn stream_position(&self) -> StreamPosition {
        let Self { stream_created, sequence, stored_at, .. } = *self;
        StreamPosition { stream_created, sequence, stored_at: Some(stored_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).expect("a time")
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let position = RecordPosition { stream: "TICKS".into(), stream_created: at(7), sequence: 42, stored_at: at(9) };
        assert_eq!(RecordPosition::parse(position.to_header().as_bytes()), Some(position));
        for bad in ["", "TICKS", "TICKS 7 42 9", "TICKS 1970-01-01T00:00:00Z 1 1970-01-01T00:00:00Z more"] {
            assert_eq!(RecordPosition::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
