//! Somebody was told, or could not be.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Event, OutboundMessage, Timestamp};

/// How a person is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A mail to an address.
    Email,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email => f.write_str("email"),
        }
    }
}

/// One person to tell, one way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// How.
    pub channel: Channel,
    /// Where: for `email`, the address.
    pub address: String,
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The other side took it.
    Sent,
    /// A passing fault; there will be another attempt.
    Retrying,
    /// It may have been taken, the answer was lost; there will be another attempt under the same Message-ID.
    Unknown,
    /// It never will be taken.
    Failed,
}

impl Outcome {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Retrying, Self::Unknown, Self::Failed];

    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retrying => "retrying",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// One attempt at one delivery has ended. The address is not repeated: it is in the delivery's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryUpdated {
    /// The delivery.
    pub delivery_id: Uuid,
    /// What it tells: an alert's id, or the rule whose confirmation it asks for.
    pub about: String,
    /// How.
    pub channel: Channel,
    /// Counts the attempts from 1.
    pub attempt: i32,
    /// How this one ended.
    pub outcome: Outcome,
    /// What the other side said.
    pub detail: String,
    /// When, by the notifier's clock.
    pub at: Timestamp,
}

impl DeliveryUpdated {
    /// The message to publish; the delivery and its attempt are its identity.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(format!("{}-{}", self.delivery_id, self.attempt), self)
    }
}

impl Event for DeliveryUpdated {
    const TYPE: &'static str = "delivery-updated.v1";
    const SOURCE: &'static str = "/tickbell/notifier";

    fn subject(&self) -> String {
        format!("deliveries.{}.{}", self.channel, self.delivery_id)
    }

    fn ce_subject(&self) -> String {
        self.delivery_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
