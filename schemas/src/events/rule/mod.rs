//! Rules: the conditions under which alerts fire.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use uuid::Uuid;

use crate::{Event, OrderRequest, OutboundMessage, Percent, Period, Price, Symbol, Timestamp, Venue};

#[cfg(feature = "openapi")]
mod openapi;

/// A condition whose fields contradict each other.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RuleError {
    /// The price would have to fall by 100 percent or more.
    #[error("percent must be below 100 when direction is \"down\"")]
    DownByAll,
    /// The baseline is not valid, or its window is out of range.
    #[error("since must be \"previous\", \"anchor\" or a window from 10s to 7d")]
    Baseline,
}

/// Describes a rule. Only its venue changes after its creation; its status is not a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// The id of the rule.
    pub id: Uuid,
    /// The symbol that the rule watches.
    pub symbol: Symbol,
    /// The venue whose prices are evaluated; null means the symbol's primary venue, the first that quoted it.
    #[serde(default)]
    pub venue: Option<Venue>,
    /// The condition under which the rule fires.
    pub condition: Condition,
    /// Whether the rule fires once or every time.
    #[serde(default)]
    pub repeat: Repeat,
    /// The time after a firing in which further firings are suppressed, in event time.
    #[serde(default)]
    pub cooldown: Period,
    /// The time from which on ticks are not evaluated any more; null when the rule does not expire.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// What follows when the rule would have fired while its prices were missed.
    #[serde(default, skip_serializing_if = "LateHandling::is_default")]
    pub late: LateHandling,
    /// The recipient of the rule's alerts.
    pub notify: Notify,
    /// The action that the first firing triggers; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<OnFire>,
}

/// Describes the action that the first firing of a rule triggers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OnFire {
    /// The order to place. Its funds are held from the creation of the rule on.
    pub order: OrderRequest,
}

/// The condition under which a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// The price has changed by a percentage.
    #[cfg_attr(feature = "openapi", schema(title = "change"))]
    Change(Change),
    /// The price has reached a threshold.
    #[cfg_attr(feature = "openapi", schema(title = "price"))]
    Price(PriceThreshold),
}

/// A change of the price in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "ChangeFields")]
pub struct Change {
    /// The smallest change, in percent.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::openapi::PercentInput))]
    pub percent: Percent,
    /// The direction of the change.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub direction: Direction,
    /// The price that the change is measured against.
    #[cfg_attr(feature = "openapi", schema(required = false))]
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

/// A price threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceThreshold {
    /// The price is at or above the threshold.
    Above(Price),
    /// The price is at or below the threshold.
    Below(Price),
}

/// The direction of a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The price rises.
    Up,
    /// The price falls.
    Down,
    /// The price rises or falls.
    #[default]
    Any,
}

/// The price that a change is measured against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Baseline {
    /// The price of the previous evaluated tick.
    Previous,
    /// The price at which the rule became active; after each firing, the price that fired.
    #[default]
    Anchor,
    /// The price at the start of a window, from 10 seconds to 7 days ago.
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
        json_schema!({ "type": "string", "pattern": "^(previous|anchor|([1-9][0-9]{1,4}|[1-5][0-9]{5}|60[0-3][0-9]{3}|604[0-7][0-9]{2}|604800)s|([1-9][0-9]{0,3}|100[0-7][0-9]|10080)m|([1-9][0-9]?|1[0-5][0-9]|16[0-8])h|[1-7]d)$" })
    }
}

/// Whether a rule fires once or every time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// The rule ends with its first firing.
    Once,
    /// The rule fires every time its condition is met.
    #[default]
    Every,
}

/// What follows when a rule would have fired while the prices of its market were missed, and they were filled in afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LateHandling {
    /// Its owner is notified.
    #[default]
    Tell,
    /// Its owner is not notified.
    Ignore,
    /// Its owner is notified, and a change since the anchor is measured from the price that would have fired last. For other
    /// conditions it is like `tell`.
    ReAnchor,
}

impl LateHandling {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The recipient of a rule's alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Notify {
    /// The email address.
    #[cfg_attr(feature = "openapi", schema(format = Email, max_length = 254, example = "ada@example.com"))]
    pub email: String,
}

/// The status of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = AlertStatus))]
#[serde(rename_all = "snake_case")]
pub enum RuleStatus {
    /// The rule waits for its address to be confirmed.
    Pending,
    /// The rule evaluates ticks.
    Active,
    /// The rule evaluates no ticks until it is resumed.
    Paused,
    /// The rule has fired and was to fire once.
    Done,
    /// The rule has expired.
    Expired,
    /// The rule was deleted; its firings remain.
    Deleted,
}

impl RuleStatus {
    const ALL: [Self; 6] = [Self::Pending, Self::Active, Self::Paused, Self::Done, Self::Expired, Self::Deleted];

    /// Returns the status as it is written in JSON.
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

    /// Parses a status as it is written in JSON.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// The change of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleChange {
    /// The rule was created.
    Created,
    /// The address was confirmed.
    Confirmed,
    /// The owner paused the rule.
    Paused,
    /// The owner resumed the rule.
    Resumed,
    /// The owner changed the venue: the rule begins anew, as if it was created at this change.
    VenueChanged,
    /// The owner deleted the rule, or the address unsubscribed.
    Deleted,
}

/// Reports that a rule was created, or that its status or its venue has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleChanged {
    /// The rule, with the venue that it has since this change.
    pub rule: Rule,
    /// The number of the change, counted from 1 for each rule. A change with a lower number than one seen before is ignored.
    pub revision: i64,
    /// The change of the rule.
    pub happened: RuleChange,
    /// The new status: `pending`, `active`, `paused` or `deleted`.
    pub status: RuleStatus,
    /// The time of the change, by the gateway's clock.
    pub at: Timestamp,
}

impl RuleChanged {
    /// Returns the message to publish, identified by the rule and the revision.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(format!("{}-{}", self.rule.id, self.revision), self)
    }
}

impl Event for RuleChanged {
    const TYPE: &'static str = "rule-changed.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("rules.{}.{}", self.rule.symbol.subject_token(), self.rule.id)
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
