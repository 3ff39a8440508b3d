//! The event of a firing.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Condition, Event, OutboundMessage, Price, Symbol, Target, Timestamp, Venue};

/// Reports that a rule fired and its owner is to be notified. Firings that a cooldown suppresses are recorded but not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertFired {
    /// The id of the firing, `<rule id>-<number>`.
    pub id: String,
    /// The id of the rule that fired.
    pub rule_id: Uuid,
    /// The number of the firing. Firings of a rule are counted from 1, suppressed ones too.
    pub number: i64,
    /// The symbol that the rule watches.
    pub symbol: Symbol,
    /// The venue of the tick that fired.
    pub venue: Venue,
    /// The condition of the rule.
    pub condition: Condition,
    /// The time of the tick that fired.
    pub fired_at: Timestamp,
    /// The price of the tick that fired, in units of the quote currency.
    pub price: Price,
    /// The price that the change is measured against; null for a `price` condition.
    pub reference_price: Option<Price>,
    /// The time of the reference price; null for a `price` condition.
    pub reference_at: Option<Timestamp>,
    /// The change in percent, to 4 decimal places; null for a `price` condition.
    #[schemars(with = "Option<String>")]
    #[serde(with = "rust_decimal::serde::str_option")]
    pub change_percent: Option<Decimal>,
    /// The id of the tick, which is unique within symbol and venue.
    pub trade_id: String,
    /// The sequence in stream `TICKS` of the page that has the tick.
    pub stream_sequence: u64,
    /// The index of the tick in its page, counted from 0.
    pub stream_index: u16,
    /// The time since which prices of the market may be incomplete, because trades that were missed were not filled in yet; absent
    /// where nothing is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete_since: Option<Timestamp>,
    /// The targets to notify.
    pub targets: Vec<Target>,
}

impl AlertFired {
    /// Returns the id of a firing.
    pub fn id_of(rule_id: Uuid, number: i64) -> String {
        format!("{rule_id}-{number}")
    }

    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.id.clone(), self)
    }
}

impl Event for AlertFired {
    const TYPE: &'static str = "alert-fired.v1";
    const SOURCE: &'static str = "/tickbell/alert-engine";

    fn subject(&self) -> String {
        format!("alerts.{}", self.symbol.subject_token())
    }

    fn ce_subject(&self) -> String {
        self.symbol.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.fired_at
    }
}
