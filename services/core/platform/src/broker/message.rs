//! A message as JetStream stored it, and the event that it carries.

use async_nats::HeaderMap;
use bytes::Bytes;
use events::{
    DeadLetter, Event, Timestamp,
    dead_letter::Body,
    envelope::{CE_ID, CE_TYPE, NATS_MSG_ID, TRACEPARENT},
};
use thiserror::Error;

/// A message that a stream has stored.
#[derive(Debug, Clone)]
pub struct Message {
    /// The subject that it was published to.
    pub subject: String,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// The time at which the broker stored it, by the broker's clock.
    pub stored_at: Timestamp,
    pub(super) headers: Option<HeaderMap>,
    pub(super) body: Bytes,
    /// Why its headers cannot be read; it then has none.
    pub(super) unreadable: Option<String>,
}

/// The most characters of the reason of a dead letter.
const MAX_REASON: usize = 1_000;

/// The reason why a message cannot be decoded as the event that its stream is for.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The `ce-type` names another event.
    #[error("its ce-type is {0}, expected {1}")]
    Type(String, &'static str),
    /// The `ce-type` names no event of the stream.
    #[error("its ce-type is {0}, which is not an event of this stream")]
    Class(String),
    /// The headers or the subject are not what the protocol allows.
    #[error("{0}")]
    Unreadable(String),
    /// The body is not the JSON of the event.
    #[error("its body is not a {1}: {0}")]
    Body(serde_json::Error, &'static str),
}

impl Message {
    /// Decodes the event in the body.
    pub fn event<E: Event>(&self) -> Result<E, DecodeError> {
        self.read(E::TYPE, |body| serde_json::from_slice(body))
    }

    /// Decodes the body, which must be that of an event of this class, in another form than the event's.
    pub fn read<T>(
        &self,
        class: &'static str,
        read: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, DecodeError> {
        if let Some(reason) = &self.unreadable {
            return Err(DecodeError::Unreadable(reason.clone()));
        }
        if let Some(found) = self.header(CE_TYPE)
            && found != class
        {
            return Err(DecodeError::Type(found.to_owned(), class));
        }
        read(&self.body).map_err(|error| DecodeError::Body(error, class))
    }

    /// Returns the body as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the event's class and major version, for streams that carry several.
    pub fn class(&self) -> &str {
        self.header(CE_TYPE).unwrap_or_default()
    }

    /// Returns the event's identity: `ce-id`, else the id that the broker deduplicates by.
    pub fn id(&self) -> Option<&str> {
        self.header(CE_ID).or_else(|| self.header(NATS_MSG_ID))
    }

    /// Returns the names and the values of its headers, in order; none where they cannot be read.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.headers.iter().flat_map(|headers| headers.iter());
        headers.flat_map(|(name, values)| {
            let name: &str = name.as_ref();
            values.iter().map(move |value| (name, value.as_str()))
        })
    }

    /// Returns the trace context of the event's cause, if it is well-formed.
    pub fn traceparent(&self) -> Option<&str> {
        // https://www.w3.org/TR/trace-context/: version, trace, parent and flags in hexadecimal digits.
        let is_well_formed = |text: &&str| {
            let widths = text.split('-').map(|part| part.bytes().all(|b| b.is_ascii_hexdigit()).then_some(part.len()));
            widths.eq([2, 32, 16, 2].map(Some))
        };
        self.header(TRACEPARENT).filter(is_well_formed)
    }

    /// Makes the dead letter by which `service` rejects this message because of `reason`.
    pub fn dead_letter(&self, service: &str, stream: &str, reason: &impl std::fmt::Display) -> DeadLetter {
        let headers = self.headers.iter().flat_map(|headers| headers.iter());
        DeadLetter {
            service: service.to_owned(),
            stream: stream.to_owned(),
            sequence: self.sequence,
            index: None,
            subject: self.subject.clone(),
            headers: headers
                .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())))
                .collect(),
            body: Body::new(&self.body),
            reason: bounded_line(&reason.to_string()),
            attempts: 1,
            at: self.stored_at,
            frame: None,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(|value| value.as_str())
    }
}

/// Escapes control characters, and cuts what is too long. A reason may quote the body, and PostgreSQL would refuse a NUL each
/// time that the dead letter is stored.
fn bounded_line(text: &str) -> String {
    let escaped = |char: char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
    let line: String = text.chars().take(MAX_REASON).map(escaped).collect();
    if text.chars().nth(MAX_REASON).is_some() { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests {
    use events::TickPage;

    use super::*;

    #[test]
    fn a_reason_contains_no_control_characters_whatever_the_body_says() {
        let message = Message {
            subject: "ticks.test.BTC-USD".into(),
            sequence: 1,
            stored_at: Timestamp::EPOCH,
            headers: None,
            body: Bytes::from_static(br#"{"kind":"\u0000"}"#),
            unreadable: None,
        };
        let reason = message.event::<TickPage>().expect_err("no page");
        assert!(reason.to_string().contains('\0'), "{reason}");
        let dead_letter = message.dead_letter("history-writer", "TICKS", &reason);
        assert!(dead_letter.reason.contains(r"\u{0}") && !dead_letter.reason.contains('\0'), "{}", dead_letter.reason);
    }

    #[test]
    fn a_reason_has_a_bound() {
        assert_eq!(bounded_line("too long"), "too long");
        assert_eq!(bounded_line(&"é".repeat(60_000)).chars().count(), MAX_REASON + 1);
    }

    #[test]
    fn a_trace_context_is_well_formed_or_none() {
        let traceparent = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, text);
            let (subject, body) = ("ticks.test.SPY".into(), Bytes::new());
            let message = Message {
                subject,
                sequence: 1,
                stored_at: Timestamp::EPOCH,
                headers: Some(headers),
                body,
                unreadable: None,
            };
            message.traceparent().map(str::to_owned)
        };
        let good = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        assert_eq!(traceparent(&good), Some(good.clone()));
        for bad in ["", "00-a-b-01", &good[1..], &format!("{good}-more"), &good.replace('b', "\0"), &"0".repeat(8_000)]
        {
            assert_eq!(traceparent(bad), None, "{bad}");
        }
    }
}
