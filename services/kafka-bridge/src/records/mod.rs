//! Messages of streams as records of Kafka, with CloudEvents attributes as headers (binary content mode,
//! <https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md>). This module does no I/O.

mod event;
mod tick;

use std::{borrow::Cow, sync::Arc};

use events::{
    Timestamp,
    envelope::{CE_ID, CE_TYPE, NATS_MSG_ID, TRACEPARENT},
};
use market_data::MaxAhead;
use platform::Message;

use crate::position::{POSITION_HEADER, RecordPosition};

pub use event::event_record;
pub use tick::tick_records;

/// The header with the media type of the body.
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/json");

/// A record that is ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key: records of one key stay in order.
    pub key: Arc<str>,
    /// The body, in JSON.
    pub body: Vec<u8>,
    /// The time of the event in milliseconds, at most a little after the time at which the stream stored it.
    pub timestamp_ms: i64,
    /// The headers that this record alone has.
    pub headers: Vec<RecordHeader>,
    /// The headers that it has in common with others of its message.
    pub common_headers: Arc<[RecordHeader]>,
}

/// The name and the value of a header.
pub type RecordHeader = (Cow<'static, str>, String);

impl Record {
    /// Returns all headers.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().chain(self.common_headers.iter()).map(|(name, value)| (&**name, value.as_str()))
    }
}

/// A message, as records are made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source<'a> {
    /// The subject that it was published to.
    pub subject: &'a str,
    /// The names and the values of its headers.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The body of the message.
    pub body: &'a [u8],
    /// Its position in the stream.
    pub position: RecordPosition,
    /// How far the time of an event may be after the time at which the stream stored it.
    pub max_ahead: MaxAhead,
}

impl<'a> Source<'a> {
    /// Takes a message of a stream that was created at `stream_created`.
    pub fn new(message: &'a Message, stream: &str, stream_created: Timestamp, max_ahead: MaxAhead) -> Self {
        let traceparent = message.traceparent();
        // A context that is not well-formed is none.
        let headers = message.headers().filter(|(name, _)| !name.eq_ignore_ascii_case(TRACEPARENT));
        let headers = headers.chain(traceparent.map(|value| (TRACEPARENT, value))).collect();
        let (sequence, stored_at) = (message.sequence, message.stored_at);
        let position = RecordPosition { stream: stream.to_owned(), stream_created, sequence, stored_at };
        Self { subject: &message.subject, headers, body: message.body(), position, max_ahead }
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn class(&self) -> &'a str {
        self.header(CE_TYPE).unwrap_or_default()
    }

    /// Returns the timestamp of the record: the time of the event or, where that is too far ahead, the time at which the stream stored
    /// it. Times come from outside, Kafka refuses a record that is an hour ahead of its clock (`message.timestamp.after.max.ms`), and it
    /// deletes none before its time has passed.
    fn timestamp_ms(&self, at: Timestamp) -> i64 {
        let stored_at = self.position.stored_at;
        milliseconds(self.max_ahead.check(at, stored_at).map_or(stored_at, |()| at))
    }

    /// Returns the event's identity; that of a message without one is its place.
    fn id(&self) -> Cow<'a, str> {
        let id = self.header(CE_ID).or_else(|| self.header(NATS_MSG_ID)).map(Cow::Borrowed);
        id.unwrap_or_else(|| format!("{}:{}", self.position.stream, self.position.sequence).into())
    }

    /// Returns the CloudEvents attributes but the identity, and what else travels with each record.
    fn common_headers(&self, without: &[&str]) -> Vec<RecordHeader> {
        let attributes = self.headers.iter().filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let attribute = name.strip_prefix("ce-")?;
            let is_wanted = attribute != "id" && !without.contains(&attribute);
            is_wanted.then(|| (Cow::Owned(format!("ce_{attribute}")), (*value).to_owned()))
        });
        let mut headers: Vec<RecordHeader> = attributes.collect();
        headers.push((CONTENT_TYPE.0.into(), CONTENT_TYPE.1.to_owned()));
        headers.extend(self.header(TRACEPARENT).map(|value| (TRACEPARENT.into(), value.to_owned())));
        headers.push((POSITION_HEADER.into(), self.position.to_header()));
        headers
    }
}

/// Returns a time as the timestamp of a record.
fn milliseconds(at: Timestamp) -> i64 {
    at.micros() / 1_000
}
