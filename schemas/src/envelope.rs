//! How an event travels: JSON in the body, CloudEvents 1.0 attributes as headers (binary content mode,
//! <https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md>).

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::Timestamp;

/// The header JetStream deduplicates by.
pub const NATS_MSG_ID: &str = "Nats-Msg-Id";
/// The event's identity, derived from its cause.
pub const CE_ID: &str = "ce-id";
/// The event's class and major version.
pub const CE_TYPE: &str = "ce-type";
/// The W3C trace context of what caused the event.
pub const TRACEPARENT: &str = "traceparent";

/// A fact, or a request that is one.
pub trait Event: Serialize + DeserializeOwned + JsonSchema {
    /// Class and major version, `tick.v1`; also the name of the published schema.
    const TYPE: &'static str;
    /// Which service makes it.
    const SOURCE: &'static str;

    /// Where it is published.
    fn subject(&self) -> String;
    /// What it is about, for `ce-subject`: a symbol, a rule, a delivery.
    fn ce_subject(&self) -> String;
    /// When it happened, in the event's own time.
    fn ce_time(&self) -> Timestamp;
}

/// A message ready to be published, once or, under the same id, again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// Where it goes.
    pub subject: String,
    /// Its identity: `Nats-Msg-Id` and `ce-id`.
    pub id: String,
    /// All headers; the trace context is added by whoever knows the cause.
    pub headers: Vec<(String, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

impl OutboundMessage {
    /// Wraps an event under an id derived from its cause.
    pub fn new<E: Event>(id: String, event: &E) -> Self {
        let headers = [
            (NATS_MSG_ID, id.clone()),
            (CE_ID, id.clone()),
            ("ce-specversion", "1.0".to_owned()),
            (CE_TYPE, E::TYPE.to_owned()),
            ("ce-source", E::SOURCE.to_owned()),
            ("ce-subject", event.ce_subject()),
            ("ce-time", event.ce_time().to_string()),
            ("ce-dataschema", schema_uri(E::TYPE)),
        ];
        Self {
            subject: event.subject(),
            id,
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: serde_json::to_vec(event).expect("wire types have text keys and no failing serializer"),
        }
    }
}

/// The URI that names an event's schema, in `ce-dataschema` and as the schema's `$id`.
pub fn schema_uri(event_type: &str) -> String {
    format!("urn:tickbell:schema:{event_type}")
}
