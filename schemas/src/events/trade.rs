//! The results of orders: changes of status, and trades.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Amount, Event, OutboundMessage, Price, Side, Size, Symbol, Timestamp};

/// The status of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// The order was accepted and waits to be settled.
    Received,
    /// The order's funds are held, and it waits for its price or its alert.
    Open,
    /// The order was traded in full.
    Filled,
    /// The order was cancelled by its owner, or because its alert ended.
    Cancelled,
    /// The order could not be filled in its time.
    Expired,
    /// The order was refused; `reason` says why.
    Rejected,
}

impl OrderStatus {
    /// Every status of an order.
    pub const ALL: [Self; 6] =
        [Self::Received, Self::Open, Self::Filled, Self::Cancelled, Self::Expired, Self::Rejected];

    /// Returns the text as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Open => "open",
            Self::Filled => "filled",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }

    /// Parses a status as it is written in JSON.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Returns whether the status can no longer change.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Received | Self::Open)
    }
}

/// The reason why an order is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The account has less available than the order must hold.
    InsufficientFunds,
    /// The symbol has no price yet.
    NoPrice,
    /// The symbol's last price is too old.
    StalePrice,
    /// One of the symbol's assets is not supported.
    UnknownSymbol,
    /// The size or the funds have more decimal places than their asset allows.
    TooPrecise,
    /// The value of the order rounds to zero.
    TooSmall,
    /// The value of the order is above the largest amount.
    TooLarge,
    /// The account has reached its limit of open orders.
    TooManyOpenOrders,
}

impl RejectReason {
    /// Every reason for a rejection.
    pub const ALL: [Self; 8] = [
        Self::InsufficientFunds,
        Self::NoPrice,
        Self::StalePrice,
        Self::UnknownSymbol,
        Self::TooPrecise,
        Self::TooSmall,
        Self::TooLarge,
        Self::TooManyOpenOrders,
    ];

    /// Returns the text as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "insufficient_funds",
            Self::NoPrice => "no_price",
            Self::StalePrice => "stale_price",
            Self::UnknownSymbol => "unknown_symbol",
            Self::TooPrecise => "too_precise",
            Self::TooSmall => "too_small",
            Self::TooLarge => "too_large",
            Self::TooManyOpenOrders => "too_many_open_orders",
        }
    }

    /// Parses a reason as it is written in JSON.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rejection| rejection.as_str() == text)
    }
}

/// Reports that the status of an order has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderUpdated {
    /// The id of the order.
    pub order_id: Uuid,
    /// The number of the change, counted from 1 for each order.
    pub revision: i32,
    /// The user who owns the order.
    pub user_id: Uuid,
    /// The symbol of the order.
    pub symbol: Symbol,
    /// The new status.
    pub status: OrderStatus,
    /// The reason of a rejection; null for any other status.
    pub reason: Option<RejectReason>,
    /// The sequence of the last page of stream `TICKS` that was applied before the decision; 0 before the first.
    pub tick_sequence: u64,
    /// The time of the tick or the request that caused the decision.
    pub at: Timestamp,
}

/// Reports that an order was filled in full, at the price of one tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TradeSettled {
    /// The id of the trade, `<order id>-1`.
    pub id: String,
    /// The id of the order.
    pub order_id: Uuid,
    /// The user who owns the order.
    pub user_id: Uuid,
    /// The symbol that was traded.
    pub symbol: Symbol,
    /// The side of the order.
    pub side: Side,
    /// The traded size, in units of the base asset.
    pub size: Size,
    /// The price of the fill, to 18 decimal places: the tick's price, for a market order with the half spread.
    pub price: Price,
    /// The value of the trade in the quote asset, before the fee.
    pub quote_amount: Amount,
    /// The fee, in the quote asset.
    pub fee: Amount,
    /// The id of the tick that set the price, which is unique within symbol and venue.
    pub tick_id: String,
    /// The sequence in stream `TICKS` of the page that has that tick.
    pub tick_sequence: u64,
    /// The index of that tick in its page, counted from 0.
    pub tick_index: u16,
    /// The price of that tick.
    pub tick_price: Price,
    /// The id of the trade's posting in the ledger.
    pub posting_id: i64,
    /// The time of the tick or the request that caused the decision.
    pub at: Timestamp,
}

impl TradeSettled {
    /// Returns the id of an order's trade.
    pub fn id_of(order_id: Uuid) -> String {
        format!("{order_id}-1")
    }

    /// Returns what the buyer paid or the seller received, with the fee.
    pub fn total(&self) -> Decimal {
        match self.side {
            Side::Buy => self.quote_amount.decimal() + self.fee.decimal(),
            Side::Sell => self.quote_amount.decimal() - self.fee.decimal(),
        }
    }
}

impl OrderUpdated {
    /// Returns the message to publish, identified by the order and the revision.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(format!("{}-r{}", self.order_id, self.revision), self)
    }
}

impl Event for OrderUpdated {
    const TYPE: &'static str = "order-updated.v1";
    const SOURCE: &'static str = "/tickbell/trade-settler";

    fn subject(&self) -> String {
        format!("trades.{}.{}", self.symbol.subject_token(), self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}

impl TradeSettled {
    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.id.clone(), self)
    }
}

impl Event for TradeSettled {
    const TYPE: &'static str = "trade-settled.v1";
    const SOURCE: &'static str = "/tickbell/trade-settler";

    fn subject(&self) -> String {
        format!("trades.{}.{}", self.symbol.subject_token(), self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
