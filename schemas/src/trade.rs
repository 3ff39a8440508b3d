//! What has become of orders.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Amount, Event, OutboundMessage, Price, Side, Size, Symbol, Timestamp};

/// Where an order stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Saved, on its way to the settler.
    Received,
    /// Funds are held; it waits for its price, or for its alert.
    Open,
    /// Traded.
    Filled,
    /// Taken back by its owner, or with the rule that would have placed it.
    Cancelled,
    /// Its time was over before its price came.
    Expired,
    /// Not possible; the reason says why.
    Rejected,
}

impl OrderStatus {
    /// Every status there is.
    pub const ALL: [Self; 6] =
        [Self::Received, Self::Open, Self::Filled, Self::Cancelled, Self::Expired, Self::Rejected];

    /// As it is written everywhere.
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

    /// The status that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing more can happen to the order.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Received | Self::Open)
    }
}

/// Why an order is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The account has less available than must be held.
    InsufficientFunds,
    /// The symbol has no price yet.
    NoPrice,
    /// The symbol's price is too old.
    StalePrice,
    /// One of the symbol's assets is not kept here.
    UnknownSymbol,
    /// The size has more places than its asset, or the funds than theirs.
    TooPrecise,
    /// Its worth rounds to nothing.
    TooSmall,
    /// Its worth is beyond what is counted here.
    TooLarge,
    /// The account has as many open orders as it may.
    TooManyOpenOrders,
}

impl RejectReason {
    /// Every reason there is.
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

    /// As it is written everywhere.
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

    /// The rejection that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rejection| rejection.as_str() == text)
    }
}

/// An order's status has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderUpdated {
    /// Which.
    pub order_id: Uuid,
    /// Counts the order's changes from 1.
    pub revision: i32,
    /// Whose.
    pub user_id: Uuid,
    /// What it trades.
    pub symbol: Symbol,
    /// Where it stands now.
    pub status: OrderStatus,
    /// Why it is rejected; null otherwise.
    pub reason: Option<RejectReason>,
    /// The last tick of stream `TICKS` that was applied before this was decided; 0 before the first.
    pub tick_sequence: u64,
    /// The time of what decided it: of the tick, or of the request.
    pub at: Timestamp,
}

/// An order has traded, as a whole, at one tick's price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TradeSettled {
    /// `<order id>-1`.
    pub id: String,
    /// Which order.
    pub order_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// What was traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much of the base.
    pub size: Size,
    /// What one cost: the tick's price, for a market order with the half spread, to 12 places.
    pub price: Price,
    /// What all of it cost or brought, in the quote, before the fee.
    pub quote_amount: Amount,
    /// The fee, in the quote.
    pub fee: Amount,
    /// The tick that priced it, by its place in stream `TICKS`.
    pub tick_sequence: u64,
    /// Its price.
    pub tick_price: Price,
    /// The ledger's posting.
    pub posting_id: i64,
    /// The time of what decided it: of the tick, or of the request.
    pub at: Timestamp,
}

impl TradeSettled {
    /// The identity of an order's trade.
    pub fn id_of(order_id: Uuid) -> String {
        format!("{order_id}-1")
    }

    /// What the buyer paid or the seller got, with the fee.
    pub fn total(&self) -> Decimal {
        match self.side {
            Side::Buy => self.quote_amount.decimal() + self.fee.decimal(),
            Side::Sell => self.quote_amount.decimal() - self.fee.decimal(),
        }
    }
}

impl OrderUpdated {
    /// The message to publish; the order and its revision are its identity.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(format!("{}-r{}", self.order_id, self.revision), self)
    }
}

impl Event for OrderUpdated {
    const TYPE: &'static str = "order-updated.v1";
    const SOURCE: &'static str = "/tickbell/trade-settler";

    fn subject(&self) -> String {
        format!("trades.{}.{}", self.symbol, self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}

impl TradeSettled {
    /// The message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.id.clone(), self)
    }
}

impl Event for TradeSettled {
    const TYPE: &'static str = "trade-settled.v1";
    const SOURCE: &'static str = "/tickbell/trade-settler";

    fn subject(&self) -> String {
        format!("trades.{}.{}", self.symbol, self.order_id)
    }

    fn ce_subject(&self) -> String {
        self.order_id.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
