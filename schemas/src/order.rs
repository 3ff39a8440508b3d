//! What is asked of the settler: orders, their cancellation, and the deposits that they are paid from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Amount, Asset, Event, OrderRequest, OutboundMessage, Symbol, Timestamp};

/// The rule whose first firing places an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertTrigger {
    /// Whose firing.
    pub rule_id: Uuid,
    /// The rule judges no tick at or after this time, so the order waits no longer.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// An order was saved and is to be settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderPlaced {
    /// Drawn when the order is saved.
    pub order_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// What it is to do.
    #[serde(flatten)]
    pub terms: OrderRequest,
    /// The alert it waits for; null for an order that is placed by itself.
    #[serde(default)]
    pub after_alert: Option<AlertTrigger>,
    /// When, by the gateway's clock.
    pub placed_at: Timestamp,
}

/// Somebody wants an order taken back, if it is not final by then; or the alert that was to place it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCancelRequested {
    /// Derived from the order: asking again is asking once.
    pub request_id: Uuid,
    /// Which.
    pub order_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// What it trades.
    pub symbol: Symbol,
    /// When, by the gateway's clock.
    pub requested_at: Timestamp,
    /// Its alert has ended: once that has fired, the order is placed like any other and stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_while_waiting_for_alert: bool,
}

/// An operator wants an account funded. It travels with the orders: what comes before an order is there when it is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DepositRequested {
    /// Drawn when it is asked for; the same deposit is posted once.
    pub deposit_id: Uuid,
    /// Whose account.
    pub user_id: Uuid,
    /// Of what.
    pub asset: Asset,
    /// How much; within the asset's scale.
    pub amount: Amount,
    /// When, by the clock of whoever took it.
    pub requested_at: Timestamp,
}

impl OrderPlaced {
    /// The message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.order_id.to_string(), self)
    }
}

impl Event for OrderPlaced {
    const TYPE: &'static str = "order-placed.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("orders.{}.{}", self.terms.symbol, self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.placed_at
    }
}

impl OrderCancelRequested {
    /// The message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.request_id.to_string(), self)
    }
}

impl Event for OrderCancelRequested {
    const TYPE: &'static str = "order-cancel-requested.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("orders.{}.{}", self.symbol, self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.requested_at
    }
}

impl DepositRequested {
    /// The message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.deposit_id.to_string(), self)
    }
}

impl Event for DepositRequested {
    const TYPE: &'static str = "deposit-requested.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("orders.{}.{}", self.asset, self.deposit_id)
    }

    fn ce_subject(&self) -> String {
        self.deposit_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.requested_at
    }
}
