//! The envelope of events: JSON in the body, CloudEvents 1.0 attributes as headers (binary content mode,
//! <https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md>).

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::Timestamp;

/// The header by which JetStream deduplicates.
pub const NATS_MSG_ID: &str = "Nats-Msg-Id";
/// The header with the event's identity, which is derived from its cause.
pub const CE_ID: &str = "ce-id";
/// The header with the event's class and major version.
pub const CE_TYPE: &str = "ce-type";
/// The header with the W3C trace context of the event's cause.
pub const TRACEPARENT: &str = "traceparent";

/// A message with a class, a subject and a time. It reports what happened, or requests an action.
pub trait Event: Serialize + DeserializeOwned + JsonSchema {
    /// The class and major version, like `ticks.v1`, which is also the name of the published schema.
    const TYPE: &'static str;
    /// The service that publishes the event, for `ce-source`.
    const SOURCE: &'static str;

    /// Returns the NATS subject to publish to.
    fn subject(&self) -> String;
    /// Returns the symbol, rule, order or delivery that the event is about, for `ce-subject`.
    fn ce_subject(&self) -> String;
    /// Returns when it happened, in the event's own time, for `ce-time`.
    fn ce_time(&self) -> Timestamp;
}

/// A message that is ready to be published. Publishing it again under the same id has no further effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// The NATS subject.
    pub subject: String,
    /// The identity, which is `Nats-Msg-Id` and `ce-id`.
    pub id: String,
    /// The headers of the message. The publisher adds the trace context of the cause.
    pub headers: Vec<(String, String)>,
    /// The body, in JSON.
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

/// Returns the URI that names an event's schema, in `ce-dataschema` and as the schema's `$id`.
pub fn schema_uri(event_type: &str) -> String {
    format!("urn:tickbell:schema:{event_type}")
}
