//! A message that could never be processed, kept whole so that it can be looked at and replayed.

use base64::{Engine, prelude::BASE64_STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Event, OutboundMessage, Timestamp};

/// A service gave a message up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// Who gave up.
    pub service: String,
    /// The stream it came from.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Where it was published.
    pub subject: String,
    /// Its headers, in order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Body,
    /// What is wrong with it.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When the broker had stored it.
    pub at: Timestamp,
}

/// Bytes in JSON: as text where they are text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// UTF-8.
    Text(String),
    /// Anything else, in base64 (RFC 4648, padded).
    Base64(String),
}

impl Body {
    /// Text where it is text.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }

    /// The bytes, or what is wrong with the base64.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        match self {
            Self::Text(text) => Ok(text.clone().into_bytes()),
            Self::Base64(text) => BASE64_STANDARD.decode(text),
        }
    }
}

impl DeadLetter {
    /// The message to publish. The stream and sequence of what was given up are its identity, so that a message two
    /// services give up is there once.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(format!("{}-{}", self.stream, self.sequence), self)
    }
}

impl Event for DeadLetter {
    const TYPE: &'static str = "dead-letter.v1";
    const SOURCE: &'static str = "/tickbell";

    fn subject(&self) -> String {
        format!("dlq.{}", self.service)
    }

    fn ce_subject(&self) -> String {
        self.subject.clone()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
