//! Reading a stream without a consumer of its own: its stored messages one by one, by the API of the broker.
//!
//! The client library ends its connection when a message is delivered whose subject or headers it cannot read, and again
//! each time that the message is delivered. The API gives headers and bodies as bytes: here such a message is read like any
//! other, so that it can be given up.

use std::ops::{Bound, RangeBounds};

use async_nats::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use events::Timestamp;
use futures::{StreamExt, stream::BoxStream};
use serde::{Deserialize, Serialize};

use crate::{Broker, ServiceError, broker::message::Message};

/// The number of concurrent reads.
const CONCURRENT_READS: usize = 16;

/// Returns the messages of a stream, oldest first, whose sequences are in a range. Messages that were deleted from the stream
/// are skipped.
pub async fn messages<'a>(
    broker: &'a Broker,
    stream: &'a str,
    sequences: impl RangeBounds<u64>,
) -> Result<BoxStream<'a, Result<Message, ServiceError>>, ServiceError> {
    let found = broker.jetstream().get_stream(stream).await;
    let found = found.map_err(|error| {
        ServiceError::permanent(format!("find stream {stream}; run `tickbell streams apply`"), error)
    })?;
    let state = &found.cached_info().state;
    // Sequences count from 1; in an empty stream the first sequence is greater than the last, or 0.
    let first = match sequences.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 1,
    };
    let last = match sequences.end_bound() {
        Bound::Included(last) => *last,
        Bound::Excluded(after) => after.saturating_sub(1),
        Bound::Unbounded => u64::MAX,
    };
    let wanted = state.first_sequence.max(first).max(1)..=state.last_sequence.min(last);
    let message = move |seq| async move { read(broker, stream, Which::At { seq }).await.transpose() };
    Ok(futures::stream::iter(wanted).map(message).buffered(CONCURRENT_READS).filter_map(std::future::ready).boxed())
}

/// Returns the sequence of the last message of a stream on the subjects of `filter`; none where there is none.
pub async fn last_sequence(broker: &Broker, stream: &str, filter: &str) -> Result<Option<u64>, ServiceError> {
    let last = read(broker, stream, Which::Last { last_by_subj: filter }).await?;
    Ok(last.map(|message| message.sequence))
}

/// Returns the sequence of the first message that a stream has stored at a time or later; none where there is none.
pub(super) async fn first_sequence(
    broker: &Broker,
    stream: &str,
    since: Timestamp,
) -> Result<Option<u64>, ServiceError> {
    let first = read(broker, stream, Which::FromTime { start_time: since, next_by_subj: ">" }).await?;
    Ok(first.map(|message| message.sequence))
}

/// The message of a stream that is asked for.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Which<'a> {
    /// The message of this sequence.
    At { seq: u64 },
    /// The first message of a subject, from this sequence on.
    From { seq: u64, next_by_subj: &'a str },
    /// The first message of a subject, from this time on.
    FromTime { start_time: Timestamp, next_by_subj: &'a str },
    /// The last message of a subject.
    Last { last_by_subj: &'a str },
}

#[derive(Deserialize)]
struct Reply {
    message: Option<Stored>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    code: u16,
    #[serde(default)]
    description: String,
}

/// A message as the broker writes it in JSON, with headers and body in base64.
#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: Timestamp,
}

/// Reads a message; none when the stream has no such message.
pub(super) async fn read(broker: &Broker, stream: &str, which: Which<'_>) -> Result<Option<Message>, ServiceError> {
    let what = || format!("read a message of stream {stream}");
    let reply = broker.jetstream().request(format!("STREAM.MSG.GET.{stream}"), &which).await;
    let Reply { message, error } = reply.map_err(|error| ServiceError::transient(what(), error))?;
    match (message, error) {
        (Some(stored), _) => stored.decode().map(Some).map_err(|error| ServiceError::transient(what(), error)),
        (None, Some(ApiError { code: 404, description })) if description.contains("no message") => Ok(None),
        (None, Some(error)) => Err(ServiceError::transient(what(), error.description)),
        (None, None) => Err(ServiceError::transient(what(), "the broker has sent neither a message nor an error")),
    }
}

/// Returns the messages of a subject that come next behind a sequence and that the client library cannot read.
pub(super) async fn unreadable_behind(
    broker: &Broker,
    stream: &str,
    subject: &str,
    after: u64,
) -> Result<Vec<Message>, ServiceError> {
    let mut unreadable: Vec<Message> = Vec::new();
    while unreadable.len() < MAX_UNREADABLE {
        let seq = unreadable.last().map_or(after, |message| message.sequence) + 1;
        match read(broker, stream, Which::From { seq, next_by_subj: subject }).await? {
            Some(message) if message.unreadable.is_some() => unreadable.push(message),
            _ => break,
        }
    }
    Ok(unreadable)
}

/// The most messages that [`unreadable_behind`] returns.
const MAX_UNREADABLE: usize = 1_000;

impl Stored {
    fn decode(self) -> Result<Message, base64::DecodeError> {
        let Self { subject, seq, hdrs, data, time } = self;
        let body = BASE64_STANDARD.decode(data)?.into();
        let headers = BASE64_STANDARD.decode(hdrs)?;
        let (headers, unreadable) = match readable_subject(&subject).and_then(|()| parse_headers(&headers)) {
            Ok(headers) => (headers, None),
            Err(reason) => (None, Some(reason)),
        };
        Ok(Message { subject, sequence: seq, stored_at: time, headers, body, unreadable })
    }
}

/// Checks that the client library finds the end of a subject, which it looks for by white space. The broker writes what is
/// not UTF-8 as replacement characters.
fn readable_subject(subject: &str) -> Result<(), String> {
    let is_bad = |char: char| char.is_whitespace() || char == char::REPLACEMENT_CHARACTER;
    if subject.contains(is_bad) { Err("its subject has white space or is not UTF-8".into()) } else { Ok(()) }
}

/// Reads headers as the client library does. The error says why it cannot.
fn parse_headers(bytes: &[u8]) -> Result<Option<HeaderMap>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "its headers are not UTF-8")?;
    let mut lines = text.lines().peekable();
    let status = lines.next().and_then(|version| version.strip_prefix("NATS/1.0"));
    if status.is_none_or(|status| !status.trim().is_empty()) {
        return Err("its headers do not begin with the version NATS/1.0".into());
    }
    let mut headers = HeaderMap::new();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or("a line of its headers has no colon")?;
        let name: HeaderName = name.parse().map_err(|error| format!("a name among its headers is refused: {error}"))?;
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        headers.append(name, HeaderValue::from(value.trim_end()));
    }
    Ok(Some(headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(subject: &str, headers: &[u8]) -> Message {
        let (hdrs, data) = (BASE64_STANDARD.encode(headers), BASE64_STANDARD.encode("{}"));
        Stored { subject: subject.into(), seq: 7, hdrs, data, time: Timestamp::EPOCH }.decode().expect("base64")
    }

    #[test]
    fn headers_are_read_or_refused_with_a_reason() {
        let good = decode("ticks.test.SPY", b"NATS/1.0\r\nce-id: 5\r\nce-type:ticks.v1\r\nlong: a\r\n  b\r\n\r\n");
        assert_eq!((good.id(), good.class(), &good.unreadable), (Some("5"), "ticks.v1", &None));
        assert!(decode("ticks.test.SPY", b"").unreadable.is_none(), "a message need not have headers");
        for (subject, headers, reason) in [
            ("ticks", b"NATS/1.0\r\nce-id: \xff\r\n\r\n".as_slice(), "not UTF-8"),
            ("ticks", b"NATS/1.0\r\nno colon\r\n\r\n", "no colon"),
            ("ticks", b"NATS/1.0\r\nna\xc3\xa4me: x\r\n\r\n", "a name"),
            ("ticks", b"NATS/2.0\r\n\r\n", "version"),
            ("ticks", b"NATS/1.0 503\r\n\r\n", "version"),
            ("ticks.a\u{a0}b", b"", "subject"),
            ("ticks.a\u{fffd}b", b"NATS/1.0\r\n\r\n", "subject"),
        ] {
            let message = decode(subject, headers);
            assert!(message.unreadable.is_some_and(|said| said.contains(reason)), "{reason}");
        }
    }
}
