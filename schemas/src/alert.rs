//! A rule has fired.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Condition, Event, OutboundMessage, Price, Symbol, Target, Timestamp, Venue};

/// A rule's condition was met and its owner is to be told. Suppressed firings are recorded, not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertFired {
    /// `<rule id>-<number>`.
    pub id: String,
    /// The rule that fired.
    pub rule_id: Uuid,
    /// Counts the rule's firings from 1, suppressed ones too.
    pub number: i64,
    /// What was watched.
    pub symbol: Symbol,
    /// Whose price fired.
    pub venue: Venue,
    /// What the rule waited for.
    pub condition: Condition,
    /// The time of the tick that fired.
    pub fired_at: Timestamp,
    /// Its price.
    pub price: Price,
    /// What it was measured against; null for a `price` condition.
    pub reference_price: Option<Price>,
    /// When that was.
    pub reference_at: Option<Timestamp>,
    /// The change in percent, to 4 places; null for a `price` condition.
    #[schemars(with = "Option<String>")]
    #[serde(with = "rust_decimal::serde::str_option")]
    pub change_percent: Option<Decimal>,
    /// Where the tick is in stream `TICKS`.
    pub stream_sequence: u64,
    /// Whom to tell.
    pub targets: Vec<Target>,
}

impl AlertFired {
    /// The identity of a rule's firing.
    pub fn id_of(rule_id: Uuid, number: i64) -> String {
        format!("{rule_id}-{number}")
    }

    /// The message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.id.clone(), self)
    }
}

impl Event for AlertFired {
    const TYPE: &'static str = "alert-fired.v1";
    const SOURCE: &'static str = "/tickbell/alert-engine";

    fn subject(&self) -> String {
        format!("alerts.{}", self.symbol)
    }

    fn ce_subject(&self) -> String {
        self.symbol.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.fired_at
    }
}
