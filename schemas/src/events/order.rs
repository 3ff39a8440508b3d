//! Requests to the trade settler: orders, cancellations, and deposits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Amount, Asset, Event, OrderRequest, OutboundMessage, Symbol, Timestamp};

/// Names the rule whose first firing triggers an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertTrigger {
    /// The id of the rule.
    pub rule_id: Uuid,
    /// The time at which the rule expires, and with it the order; null when the rule does not expire.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// Describes an order that was accepted and is to be settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderPlaced {
    /// The id of the order, assigned when it is accepted.
    pub order_id: Uuid,
    /// The user who owns the order.
    pub user_id: Uuid,
    /// The order as it was requested.
    #[serde(flatten)]
    pub terms: OrderRequest,
    /// The alert whose first firing triggers the order; null for an order that does not wait for an alert.
    #[serde(default)]
    pub after_alert: Option<AlertTrigger>,
    /// The time at which the order was accepted, by the gateway's clock.
    pub placed_at: Timestamp,
}

/// Requests that an order is cancelled, unless it is final by then. The cause is its owner, or the end of the alert that it
/// waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderCancelRequested {
    /// The id of the request, derived from the order, so that a repeated request has no further effect.
    pub request_id: Uuid,
    /// The id of the order.
    pub order_id: Uuid,
    /// The user who owns the order.
    pub user_id: Uuid,
    /// The symbol of the order.
    pub symbol: Symbol,
    /// The time of the request, by the gateway's clock.
    pub requested_at: Timestamp,
    /// Whether the request applies only while the order waits for its alert. It is true when the alert has ended: an order that
    /// the alert has triggered before stays open.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_while_waiting_for_alert: bool,
}

/// Requests a deposit to an account. Deposits and orders share a stream, so a deposit before an order is available to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DepositRequested {
    /// The id of the deposit. A deposit is posted once, however often it is requested.
    pub deposit_id: Uuid,
    /// The user who owns the account.
    pub user_id: Uuid,
    /// The asset that is deposited.
    pub asset: Asset,
    /// The amount, with at most as many decimal places as the asset allows.
    pub amount: Amount,
    /// The time of the request, by the clock of the service that accepted it.
    pub requested_at: Timestamp,
}

impl OrderPlaced {
    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.order_id.to_string(), self)
    }
}

impl Event for OrderPlaced {
    const TYPE: &'static str = "order-placed.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("orders.{}.{}", self.terms.symbol.subject_token(), self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.placed_at
    }
}

impl OrderCancelRequested {
    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.request_id.to_string(), self)
    }
}

impl Event for OrderCancelRequested {
    const TYPE: &'static str = "order-cancel-requested.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("orders.{}.{}", self.symbol.subject_token(), self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.requested_at
    }
}

impl DepositRequested {
    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.deposit_id.to_string(), self)
    }
}

impl Event for DepositRequested {
    const TYPE: &'static str = "deposit-requested.v1";
    const SOURCE: &'static str = "/tickbell/gateway";

    fn subject(&self) -> String {
        format!("orders.{}.{}", self.asset.subject_token(), self.deposit_id)
    }

    fn ce_subject(&self) -> String {
        self.deposit_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.requested_at
    }
}
