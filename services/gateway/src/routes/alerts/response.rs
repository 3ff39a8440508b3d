//! Alerts and firings as the API answers them.

use ::rules::Suppression;
use events::{
    AlertFired, Condition, LateHandling, Notify, Period, Price, Repeat, RuleStatus, Symbol, Timestamp, Venue,
    rule::OnFire,
};
use rust_decimal::Decimal;
use serde::Serialize;
use store::rules::RuleRecord;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::routes::alerts::order::AlertOrder;

/// An alert and its state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alert {
    id: Uuid,
    status: RuleStatus,
    symbol: Symbol,
    /// The venue whose prices are evaluated: the one that the alert names, or else the primary venue of the symbol, which is the
    /// first that quoted it; null while no venue has.
    venue: Option<Venue>,
    /// Whether the alert names no venue and follows the primary one.
    #[schema(example = true)]
    follows_primary_venue: bool,
    /// The time of the last tick of that venue, also of one from before the alert; null when there is none.
    last_tick_at: Option<Timestamp>,
    /// What the alert waits for before it can evaluate anything; null for nothing.
    waiting_for: Option<WaitingFor>,
    condition: Condition,
    repeat: Repeat,
    /// The time after a firing in which further firings are suppressed.
    cooldown: Period,
    /// The time at which it stops to evaluate prices; null for never.
    expires_at: Option<Timestamp>,
    /// What follows when it would have fired while prices were missed, and they were filled in afterwards.
    late: LateHandling,
    notify: Notify,
    /// What its first firing does besides notifying; null for nothing.
    then: Option<OnFire>,
    /// The order that its first firing places; null for none.
    order: Option<AlertOrder>,
    /// The number of its firings, suppressed firings included.
    #[schema(example = 0)]
    firings: i64,
    created_at: Timestamp,
}

/// What an alert waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaitingFor {
    /// Its venue, or where it names none any venue, has never quoted its symbol.
    FirstPrice,
}

impl From<RuleRecord> for Alert {
    fn from(record: RuleRecord) -> Self {
        let RuleRecord { rule, status, firings, created_at, user_id: _, order, market } = record;
        let can_fire = matches!(status, RuleStatus::Pending | RuleStatus::Active | RuleStatus::Paused);
        let waiting_for = (can_fire && market.is_none()).then_some(WaitingFor::FirstPrice);
        let last_tick_at = market.as_ref().map(|market| market.last_tick_at);
        let events::Rule { id, symbol, venue, condition, repeat, cooldown, expires_at, late, notify, then } = rule;
        let order = order.map(AlertOrder::from);
        Self {
            id,
            status,
            symbol,
            follows_primary_venue: venue.is_none(),
            venue: venue.or(market.map(|market| market.venue)),
            last_tick_at,
            waiting_for,
            condition,
            repeat,
            cooldown,
            expires_at,
            late,
            notify,
            then,
            order,
            firings,
            created_at,
        }
    }
}

/// A new alert, and the token that manages it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedAlert {
    #[serde(flatten)]
    pub(crate) alert: Alert,
    /// The token that manages this alert. It is shown once, because only its hash is stored.
    #[schema(example = "u8Yl3qJwF0mYk7qf1g2n7b9w4e6r8t0y2u4i6o8p0aQ")]
    pub(crate) manage_token: String,
    /// What keeps the alert from firing as asked, in sentences; empty when nothing does.
    #[schema(example = json!([]))]
    pub(crate) warnings: Vec<String>,
}

/// One firing of an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Firing {
    /// The id of the firing, `<rule id>-<number>`.
    #[schema(example = "0197d0a4-6f5e-7c3a-9d2b-1e4f5a6b7c8d-1")]
    id: String,
    /// The number of this firing; the first of an alert is 1.
    #[schema(example = 1)]
    number: i64,
    rule_id: Uuid,
    symbol: Symbol,
    venue: Venue,
    /// The time of the tick that fired.
    fired_at: Timestamp,
    price: Price,
    /// The price that the change is measured against; null for a `price` condition.
    reference_price: Option<Price>,
    /// The time of the reference price; null for a `price` condition.
    reference_at: Option<Timestamp>,
    /// The change in percent, rounded half-even to 4 decimal places; null for a `price` condition.
    #[schema(value_type = Option<String>, example = "5.0140")]
    change_percent: Option<Decimal>,
    /// The id of the tick.
    #[schema(example = "123456")]
    trade_id: String,
    /// The sequence in the stream `TICKS` of the page that has the tick.
    stream_sequence: u64,
    /// The index of the tick in its page.
    stream_index: u16,
    /// The reason why nobody was notified; null when somebody was.
    #[schema(value_type = Option<String>, example = "cooldown")]
    suppressed: Option<&'static str>,
    /// The time since which prices may have been incomplete when it fired, because trades were missed; null when none were.
    incomplete_since: Option<Timestamp>,
}

/// What an alert would have decided while prices were missed, which were filled in afterwards. It is no firing and has no number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LateVerdict {
    /// The id of the gap.
    #[schema(example = "coinbase:BTC-USD:40717772")]
    gap_id: String,
    rule_id: Uuid,
    symbol: Symbol,
    venue: Venue,
    /// The time of the last trade before the gap.
    blind_from: Timestamp,
    /// The time of the first trade after it.
    blind_to: Timestamp,
    /// Whether all trades of the gap are known now.
    is_complete: bool,
    /// The time of the first crossing that no firing has reported.
    crossed_at: Timestamp,
    price: Price,
    /// The price that the change is measured against; null for a `price` condition.
    reference_price: Option<Price>,
    /// The time of the reference price; null for a `price` condition.
    reference_at: Option<Timestamp>,
    /// The change in percent, rounded half-even to 4 decimal places; null for a `price` condition.
    #[schema(value_type = Option<String>, example = "5.0140")]
    change_percent: Option<Decimal>,
    /// The id of the trade that crossed.
    #[schema(example = "123456")]
    trade_id: String,
    /// The number of crossings that no firing has reported.
    crossings: u64,
    /// The price of the gap that went farthest in the direction of the crossing.
    extreme_price: Price,
    extreme_at: Timestamp,
    /// The last price when the verdict was reached.
    last_price: Price,
    last_at: Timestamp,
}

impl From<events::LateVerdict> for LateVerdict {
    fn from(verdict: events::LateVerdict) -> Self {
        Self {
            gap_id: verdict.gap_id,
            rule_id: verdict.rule_id,
            symbol: verdict.symbol,
            venue: verdict.venue,
            blind_from: verdict.blind_from,
            blind_to: verdict.blind_to,
            is_complete: verdict.is_complete,
            crossed_at: verdict.crossed_at,
            price: verdict.price,
            reference_price: verdict.reference_price,
            reference_at: verdict.reference_at,
            change_percent: verdict.change_percent,
            trade_id: verdict.trade_id,
            crossings: verdict.crossings,
            extreme_price: verdict.extreme_price,
            extreme_at: verdict.extreme_at,
            last_price: verdict.last_price,
            last_at: verdict.last_at,
        }
    }
}

impl From<::rules::Firing> for Firing {
    fn from(firing: ::rules::Firing) -> Self {
        Self {
            id: AlertFired::id_of(firing.rule_id, firing.number),
            number: firing.number,
            rule_id: firing.rule_id,
            symbol: firing.symbol,
            venue: firing.venue,
            fired_at: firing.fired_at,
            price: firing.price,
            reference_price: firing.reference.map(|(price, _)| price),
            reference_at: firing.reference.map(|(_, at)| at),
            change_percent: firing.change_percent,
            trade_id: firing.trade_id,
            stream_sequence: firing.position.sequence,
            stream_index: firing.position.index,
            suppressed: firing.suppressed.map(Suppression::as_str),
            incomplete_since: firing.incomplete_since,
        }
    }
}
