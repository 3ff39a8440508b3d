//! Deliveries: channels, targets, and the outcome of each attempt.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Event, OutboundMessage, Timestamp};

/// The channel by which a recipient is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A message by email.
    Email,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email => f.write_str("email"),
        }
    }
}

/// A recipient on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// The channel to send on.
    pub channel: Channel,
    /// The address on the channel; for `email`, the email address.
    pub address: String,
}

/// The outcome of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The recipient's server accepted the message.
    Sent,
    /// A transient error occurred; another attempt follows.
    Retrying,
    /// The message may have been accepted, but the reply was lost; another attempt follows under the same Message-ID.
    Unknown,
    /// The message cannot be delivered; no attempt follows.
    Failed,
}

impl Outcome {
    /// Every outcome of an attempt.
    pub const ALL: [Self; 4] = [Self::Sent, Self::Retrying, Self::Unknown, Self::Failed];

    /// Returns the outcome as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Retrying => "retrying",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// Reports the outcome of one attempt at a delivery. It contains no address, because addresses are personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryUpdated {
    /// The id of the delivery.
    pub delivery_id: Uuid,
    /// The id of the firing, rule, order change, trade or account notice that the delivery is about.
    pub about: String,
    /// The channel of the delivery.
    pub channel: Channel,
    /// The number of the attempt, counted from 1.
    pub attempt: i32,
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// The reply of the recipient's server, or the error.
    pub detail: String,
    /// The time at which the attempt ended, by the notifier's clock.
    pub at: Timestamp,
}

impl DeliveryUpdated {
    /// Returns the message to publish, identified by the delivery and the attempt.
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
