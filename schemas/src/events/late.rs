//! Late verdicts: what a rule would have decided about trades that were missed and filled in afterwards.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Condition, Event, OutboundMessage, Price, Symbol, Target, Timestamp, Venue};

/// Reports that a rule would have fired while the trades of its market were missed. It is no firing: it has no number, and it
/// places no order. A rule has at most one late verdict for each gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LateVerdict {
    /// The id of the verdict, `<rule id>/<gap id>`.
    pub id: String,
    /// The id of the rule.
    pub rule_id: Uuid,
    /// The id of the gap, as in `feed-gap.v1`.
    pub gap_id: String,
    /// The symbol that the rule watches.
    pub symbol: Symbol,
    /// The venue whose trades were missed.
    pub venue: Venue,
    /// The condition of the rule.
    pub condition: Condition,
    /// The time of the last trade before the gap.
    pub blind_from: Timestamp,
    /// The time of the first trade after it.
    pub blind_to: Timestamp,
    /// Whether all trades of the gap are known now. The venue may have offered only some of them.
    pub is_complete: bool,
    /// The time of the first crossing that no firing has reported.
    pub crossed_at: Timestamp,
    /// The price at that time, in units of the quote currency.
    pub price: Price,
    /// The price that the change is measured against; null for a `price` condition.
    pub reference_price: Option<Price>,
    /// The time of the reference price; null for a `price` condition.
    pub reference_at: Option<Timestamp>,
    /// The change in percent, to 4 decimal places; null for a `price` condition.
    #[schemars(with = "Option<String>")]
    #[serde(with = "rust_decimal::serde::str_option")]
    pub change_percent: Option<Decimal>,
    /// The id of the trade that crossed, which is unique within symbol and venue.
    pub trade_id: String,
    /// The number of crossings in the gap that no firing has reported.
    pub crossings: u64,
    /// The price of the gap that went farthest in the direction of the crossing.
    pub extreme_price: Price,
    /// The time of that price.
    pub extreme_at: Timestamp,
    /// The last price when the verdict was reached.
    pub last_price: Price,
    /// The time of that price.
    pub last_at: Timestamp,
    /// The targets to notify.
    pub targets: Vec<Target>,
}

impl LateVerdict {
    /// Returns the id of the verdict about a rule and a gap.
    pub fn id_of(rule_id: Uuid, gap_id: &str) -> String {
        format!("{rule_id}/{gap_id}")
    }

    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.id.clone(), self)
    }
}

impl Event for LateVerdict {
    const TYPE: &'static str = "late-verdict.v1";
    const SOURCE: &'static str = "/tickbell/alert-engine";

    fn subject(&self) -> String {
        format!("alerts.{}", self.symbol.subject_token())
    }

    fn ce_subject(&self) -> String {
        self.symbol.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.crossed_at
    }
}
