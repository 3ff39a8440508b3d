//! The dead letter: a message that can never be processed. A message of a stream is stored in full, so that it can be inspected
//! and replayed; of a venue's message that could not be read, the beginning is stored.

use base64::{Engine, prelude::BASE64_STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Event, OutboundMessage, TickPage, Timestamp, Venue,
    envelope::{CE_ID, NATS_MSG_ID},
};

/// Reports that a service rejected a message that it can never process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The name of the service that rejected the message.
    pub service: String,
    /// The stream that the message was read from; empty for a message of a venue.
    pub stream: String,
    /// The sequence of the message in that stream; 0 for a message of a venue.
    pub sequence: u64,
    /// The index of the rejected tick in the message, counted from 0; null where the whole message was rejected.
    #[serde(default)]
    pub index: Option<u16>,
    /// The subject that the message was published to; empty for a message of a venue.
    pub subject: String,
    /// The headers of the message, in order.
    pub headers: Vec<(String, String)>,
    /// The body of the message.
    pub body: Body,
    /// The reason of the rejection.
    pub reason: String,
    /// The number of attempts at processing it.
    pub attempts: u32,
    /// The time at which the broker stored the message, or the ingestor received it.
    pub at: Timestamp,
    /// What is known of a venue's message, of which the body is the beginning; null for a message of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<RawFrame>,
}

/// A message of a venue as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RawFrame {
    /// The venue that sent it.
    pub venue: Venue,
    /// The SHA-256 of the whole message, in hexadecimal digits.
    pub digest: String,
    /// The length of the whole message in bytes.
    pub bytes: u64,
}

/// The body of a message, as text where it is UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A body that is UTF-8 text.
    Text(String),
    /// Any other body, in base64 (RFC 4648, padded).
    Base64(String),
}

impl Body {
    /// Makes text where the bytes are UTF-8, else base64.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Base64(text) => BASE64_STANDARD.decode(text),
        }
    }
}

impl DeadLetter {
    /// Returns the dead letter of a venue's message; `excerpt` is the beginning of it.
    pub fn of_frame(service: &str, frame: RawFrame, excerpt: &[u8], reason: String, at: Timestamp) -> Self {
        Self {
            service: service.to_owned(),
            stream: String::new(),
            sequence: 0,
            index: None,
            subject: String::new(),
            headers: Vec::new(),
            body: Body::new(excerpt),
            reason,
            attempts: 1,
            at,
            frame: Some(frame),
        }
    }

    /// Makes the dead letter of one tick of the message: a page of this tick alone, which can be replayed.
    pub fn of_tick(self, index: u16, page: &[u8]) -> Self {
        let mut dead_letter = Self { index: Some(index), body: Body::new(page), ..self };
        let id = serde_json::from_slice::<TickPage>(page).map_or_else(|_| dead_letter.identity(), |page| page.id());
        let is_id = |name: &str| [NATS_MSG_ID, CE_ID].iter().any(|id| name.eq_ignore_ascii_case(id));
        for (_, value) in dead_letter.headers.iter_mut().filter(|(name, _)| is_id(name)) {
            value.clone_from(&id);
        }
        dead_letter
    }

    /// Returns the identity, which is the place of what was rejected: a message or a tick that two services reject is stored
    /// once. That of a venue's message is its digest.
    pub fn identity(&self) -> String {
        match (&self.frame, self.index) {
            (Some(RawFrame { venue, digest, .. }), _) => format!("{venue}-{digest}"),
            (None, Some(index)) => format!("{}:{}:{index}", self.stream, self.sequence),
            (None, None) => format!("{}-{}", self.stream, self.sequence),
        }
    }

    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.identity(), self)
    }

    /// Returns the message that publishes what was rejected again. It keeps its `ce-id`, by which consumers recognise a repeat;
    /// only `Nats-Msg-Id` is new, because the broker would drop the message as a duplicate. The error is that of a body that
    /// is not base64.
    pub fn to_replay(&self) -> Result<OutboundMessage, base64::DecodeError> {
        let id = format!("replay-{}", self.identity());
        // The broker's own headers describe the first publish: its message id, and its place in an atomic batch.
        let headers =
            self.headers.iter().filter(|(name, value)| !name.starts_with("Nats-") && is_sendable(name, value));
        let headers = headers.cloned().chain([(NATS_MSG_ID.to_owned(), id.clone())]).collect();
        Ok(OutboundMessage { subject: self.subject.clone(), id, headers, body: self.body.bytes()? })
    }
}

/// Returns whether a header can be sent: a dead letter that somebody has made by hand may have others.
fn is_sendable(name: &str, value: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    !name.is_empty() && name.bytes().all(is_name) && !value.contains(['\r', '\n', '\0'])
}

impl Event for DeadLetter {
    const TYPE: &'static str = "dead-letter.v1";
    const SOURCE: &'static str = "/tickbell";

    fn subject(&self) -> String {
        format!("dlq.{}", self.service)
    }

    fn ce_subject(&self) -> String {
        self.frame.as_ref().map_or_else(|| self.subject.clone(), |frame| frame.venue.to_string())
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
