//! What somebody wants to be told about.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use uuid::Uuid;

use crate::{Event, OrderRequest, OutboundMessage, Percent, Period, Price, Symbol, Timestamp, Venue};

/// A rule that makes no sense as a whole, though each of its parts does.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RuleError {
    /// A price cannot fall by all of itself.
    #[error("percent must be below 100 when direction is \"down\"")]
    DownByAll,
    /// A window outside its range.
    #[error("since must be \"previous\", \"anchor\" or a window from 10s to 7d")]
    Baseline,
}

/// One watch on one symbol, as it was made; it never changes, only its status does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Drawn when the rule is made.
    pub id: Uuid,
    /// What is watched.
    pub symbol: Symbol,
    /// Whose prices are judged; null means the symbol's primary venue, the first that quoted it.
    #[serde(default)]
    pub venue: Option<Venue>,
    /// When it fires.
    pub condition: Condition,
    /// How often it may.
    #[serde(default)]
    pub repeat: Repeat,
    /// How long after a firing further ones are suppressed, in event time.
    #[serde(default)]
    pub cooldown: Period,
    /// Ticks at or after this time are not judged.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whom it tells.
    pub notify: Notify,
    /// What its first firing does besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<OnFire>,
}

/// What a rule's first firing does besides telling somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnFire {
    /// Places this order, whose funds are held from when the rule is made.
    pub order: OrderRequest,
}

/// When a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The price has changed by so much.
    Change(Change),
    /// The price has crossed a limit.
    Price(PriceThreshold),
}

/// A change against a reference price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ChangeFields")]
pub struct Change {
    /// By how many percent at least.
    pub percent: Percent,
    /// Which way.
    pub direction: Direction,
    /// Against which price.
    pub since: Baseline,
}

#[derive(Deserialize, JsonSchema)]
struct ChangeFields {
    percent: Percent,
    #[serde(default)]
    direction: Direction,
    #[serde(default)]
    since: Baseline,
}

impl TryFrom<ChangeFields> for Change {
    type Error = RuleError;
    fn try_from(fields: ChangeFields) -> Result<Self, RuleError> {
        let ChangeFields { percent, direction, since } = fields;
        if direction == Direction::Down && percent.decimal() >= Decimal::ONE_HUNDRED {
            return Err(RuleError::DownByAll);
        }
        Ok(Self { percent, direction, since })
    }
}

/// A price that is reached or passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceThreshold {
    /// At or above.
    Above(Price),
    /// At or below.
    Below(Price),
}

/// Which way a price changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It rises.
    Up,
    /// It falls.
    Down,
    /// Either.
    #[default]
    Any,
}

/// The price that a change is measured against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// The previous judged tick.
    Previous,
    /// The price known when the rule became active; after each firing, the price that fired.
    #[default]
    Anchor,
    /// The price this long ago: 10 s to 7 d.
    Window(Period),
}

impl FromStr for Baseline {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "previous" => Ok(Self::Previous),
            "anchor" => Ok(Self::Anchor),
            window => match window.parse::<Period>() {
                Ok(span) if (10..=7 * 86_400).contains(&span.as_seconds()) => Ok(Self::Window(span)),
                _ => Err(RuleError::Baseline),
            },
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Previous => f.write_str("previous"),
            Self::Anchor => f.write_str("anchor"),
            Self::Window(span) => span.fmt(f),
        }
    }
}

impl Serialize for Baseline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Baseline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Baseline {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Baseline".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(previous|anchor|[0-9]+[smhd])$" })
    }
}

/// How often a rule may fire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// The first firing ends it.
    Once,
    /// Every time its condition is met.
    #[default]
    Every,
}

/// Whom a rule tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notify {
    /// An address, checked at the edge.
    pub email: String,
}

/// Where a rule stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleStatus {
    /// Waits for its address to be confirmed.
    Pending,
    /// Judges ticks.
    Active,
    /// Judges none until it is resumed.
    Paused,
    /// Fired once, as it was asked to.
    Done,
    /// Its time is over.
    Expired,
    /// Gone; its firings are kept.
    Deleted,
}

impl RuleStatus {
    const ALL: [Self; 6] = [Self::Pending, Self::Active, Self::Paused, Self::Done, Self::Expired, Self::Deleted];

    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }

    /// The status that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What happened to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleChange {
    /// Somebody subscribed.
    Created,
    /// The address said yes.
    Confirmed,
    /// Its owner wants quiet.
    Paused,
    /// Its owner wants to be told again.
    Resumed,
    /// Its owner wants it gone, or the address unsubscribed.
    Deleted,
}

/// A rule was made or its status changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleChanged {
    /// The whole rule.
    pub rule: Rule,
    /// Counts the rule's changes from 1; an older one that comes late is ignored.
    pub revision: i64,
    /// What happened.
    pub happened: RuleChange,
    /// The status it has now: `pending`, `active`, `paused` or `deleted`.
    pub status: RuleStatus,
    /// When, by the gateway's clock.
    pub at: Timestamp,
}

impl RuleChanged {
    /// The message to publish; the rule and its revision are its identity.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(format!("{}-{}", self.rule.id, self.revision), self)
    }
}

impl Event for RuleChanged {
    const TYPE: &'static str = "rule-changed.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("rules.{}.{}", self.rule.symbol, self.rule.id)
    }

    fn ce_subject(&self) -> String {
        self.rule.id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_has_defaults() {
        let read: Condition = serde_json::from_str(r#"{"change": {"percent": 5}}"#).expect("a condition");
        let Condition::Change(change) = read else { panic!("a change") };
        assert_eq!((change.direction, change.since), (Direction::Any, Baseline::Anchor));
        assert_eq!(
            serde_json::to_string(&read).expect("JSON"),
            r#"{"change":{"percent":"5","direction":"any","since":"anchor"}}"#
        );
    }

    #[test]
    fn conditions_that_cannot_be_met_are_refused() {
        for (bad, why) in [
            (r#"{"change": {"percent": "100", "direction": "down"}}"#, "below 100"),
            (r#"{"change": {"percent": "5", "since": "9s"}}"#, "10s to 7d"),
            (r#"{"change": {"percent": "5", "since": "8d"}}"#, "10s to 7d"),
            (r#"{"change": {"percent": "5", "since": "yesterday"}}"#, "10s to 7d"),
            (r#"{"change": {"percent": "5", "direction": "sideways"}}"#, "unknown variant"),
            (r#"{"change": {}}"#, "missing field `percent`"),
            (r#"{"price": {"above": "0"}}"#, "above 0"),
            (r#"{"volume": {"above": "1"}}"#, "unknown variant"),
        ] {
            let error = serde_json::from_str::<Condition>(bad).expect_err(bad).to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
