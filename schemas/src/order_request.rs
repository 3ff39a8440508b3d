//! What somebody wants to buy or sell, and at which price.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Amount, Price, Size, Symbol};

/// The longest `client_order_id`.
const CLIENT_ORDER_ID_LENGTH: usize = 64;

/// OrderRequest that make no sense as a whole, though each of them does. A sentence begins with the field at fault.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum OrderRequestError {
    /// Nothing says how much.
    #[error("size must be given")]
    NoSize,
    /// A market buy says both or neither.
    #[error("size must be given, or funds in its place")]
    SizeOrFunds,
    /// A size of nothing.
    #[error("size must be above 0")]
    SizeOfNothing,
    /// Funds of nothing.
    #[error("funds must be above 0")]
    FundsOfNothing,
    /// Only a market buy can spend a sum.
    #[error("funds must only be given with a market buy")]
    Funds,
    /// A limit order without its limit.
    #[error("price must be given with a limit order")]
    NoPrice,
    /// A limit where there is none.
    #[error("price must only be given with a limit order")]
    Price,
    /// A stop order without its stop.
    #[error("stop_price must be given with a stop order")]
    NoStopPrice,
    /// A stop where there is none.
    #[error("stop_price must only be given with a stop order")]
    StopPrice,
    /// A stop order waits by its nature.
    #[error("time_in_force must be \"gtc\" with a stop order")]
    StopAtOnce,
    /// A name that is too long or holds what is no text.
    #[error("client_order_id must have 1 to {CLIENT_ORDER_ID_LENGTH} printable ASCII characters")]
    ClientOrderId,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Quote for base.
    Buy,
    /// Base for quote.
    Sell,
}

impl Side {
    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }

    /// The side that is written so.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Buy, Self::Sell].into_iter().find(|side| side.as_str() == text)
    }
}

/// What an order waits for, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    /// Nothing: it takes the latest price.
    Market,
    /// A price at least as good.
    Limit,
    /// A price at least as bad; then it takes the latest one.
    Stop,
}

/// How long an order may wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    /// Until it is cancelled.
    #[default]
    Gtc,
    /// Not at all: what cannot be filled at once expires.
    Ioc,
}

/// What an order is to do. A market buy may say what it spends in place of what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// At the latest price.
    Market(OrderSize),
    /// At a tick's price that is the limit or better.
    Limit {
        /// How much of the base.
        size: Size,
        /// The worst price.
        price: Price,
        /// How long it may wait.
        time_in_force: TimeInForce,
    },
    /// At the latest price, once a tick's is the stop or worse.
    Stop {
        /// How much of the base.
        size: Size,
        /// When it becomes a market order.
        stop_price: Price,
    },
}

/// How much a market order trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderSize {
    /// So much of the base.
    Size(Size),
    /// For so much of the quote, fee included; only a buy.
    Funds(Amount),
}

/// An order as it was asked for; it never changes, only its status does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "OrderRequestFields", into = "OrderRequestFields")]
pub struct OrderRequest {
    /// What is traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How and how much.
    pub execution: OrderKind,
    /// Its owner's own name for it.
    pub client_order_id: Option<String>,
}

/// [`OrderRequest`] as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OrderRequest")]
pub struct OrderRequestFields {
    /// What is traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// What it waits for.
    #[serde(rename = "type")]
    pub order_type: OrderType,
    /// How much of the base; null for a market buy that says its funds.
    #[serde(default)]
    pub size: Option<Size>,
    /// How much of the quote a market buy spends, fee included.
    #[serde(default)]
    pub funds: Option<Amount>,
    /// The limit of a limit order.
    #[serde(default)]
    pub price: Option<Price>,
    /// The stop of a stop order.
    #[serde(default)]
    pub stop_price: Option<Price>,
    /// How long it may wait.
    #[serde(default)]
    pub time_in_force: TimeInForce,
    /// Its owner's own name for it; the same name is the same order.
    #[serde(default)]
    pub client_order_id: Option<String>,
}

impl TryFrom<OrderRequestFields> for OrderRequest {
    type Error = OrderRequestError;
    fn try_from(fields: OrderRequestFields) -> Result<Self, OrderRequestError> {
        let OrderRequestFields {
            symbol,
            side,
            order_type,
            size,
            funds,
            price,
            stop_price,
            time_in_force,
            client_order_id,
        } = fields;
        if size.is_some_and(|size| size.decimal().is_zero()) {
            return Err(OrderRequestError::SizeOfNothing);
        }
        if funds.is_some_and(|funds| funds.decimal().is_zero()) {
            return Err(OrderRequestError::FundsOfNothing);
        }
        if funds.is_some() && (order_type, side) != (OrderType::Market, Side::Buy) {
            return Err(OrderRequestError::Funds);
        }
        if price.is_some() && order_type != OrderType::Limit {
            return Err(OrderRequestError::Price);
        }
        if stop_price.is_some() && order_type != OrderType::Stop {
            return Err(OrderRequestError::StopPrice);
        }
        let named =
            |id: &String| (1..=CLIENT_ORDER_ID_LENGTH).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        if !client_order_id.as_ref().is_none_or(named) {
            return Err(OrderRequestError::ClientOrderId);
        }
        let execution = match order_type {
            OrderType::Market => OrderKind::Market(match (size, funds) {
                (Some(size), None) => OrderSize::Size(size),
                (None, Some(funds)) => OrderSize::Funds(funds),
                _ if side == Side::Sell => return Err(OrderRequestError::NoSize),
                _ => return Err(OrderRequestError::SizeOrFunds),
            }),
            OrderType::Limit => OrderKind::Limit {
                size: size.ok_or(OrderRequestError::NoSize)?,
                price: price.ok_or(OrderRequestError::NoPrice)?,
                time_in_force,
            },
            OrderType::Stop if time_in_force == TimeInForce::Ioc => return Err(OrderRequestError::StopAtOnce),
            OrderType::Stop => OrderKind::Stop {
                size: size.ok_or(OrderRequestError::NoSize)?,
                stop_price: stop_price.ok_or(OrderRequestError::NoStopPrice)?,
            },
        };
        Ok(Self { symbol, side, execution, client_order_id })
    }
}

impl From<OrderRequest> for OrderRequestFields {
    fn from(terms: OrderRequest) -> Self {
        let OrderRequest { symbol, side, execution, client_order_id } = terms;
        let (order_type, size, funds, price, stop_price, time_in_force) = match execution {
            OrderKind::Market(OrderSize::Size(size)) => {
                (OrderType::Market, Some(size), None, None, None, TimeInForce::Gtc)
            }
            OrderKind::Market(OrderSize::Funds(funds)) => {
                (OrderType::Market, None, Some(funds), None, None, TimeInForce::Gtc)
            }
            OrderKind::Limit { size, price, time_in_force } => {
                (OrderType::Limit, Some(size), None, Some(price), None, time_in_force)
            }
            OrderKind::Stop { size, stop_price } => {
                (OrderType::Stop, Some(size), None, None, Some(stop_price), TimeInForce::Gtc)
            }
        };
        Self { symbol, side, order_type, size, funds, price, stop_price, time_in_force, client_order_id }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn terms(changes: Value) -> Result<OrderRequest, String> {
        let mut order = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market" });
        let Value::Object(changes) = changes else { panic!("an object") };
        order.as_object_mut().expect("an object").extend(changes);
        serde_json::from_value(order).map_err(|error| error.to_string())
    }

    #[test]
    fn terms_that_make_sense_are_written_as_they_are_read() {
        for good in [
            json!({ "size": "0.1" }),
            json!({ "funds": "100.00" }),
            json!({ "side": "sell", "size": "0.1", "client_order_id": "a-1" }),
            json!({ "type": "limit", "size": "1", "price": "6000" }),
            json!({ "type": "limit", "size": "1", "price": "6000", "time_in_force": "ioc" }),
            json!({ "type": "stop", "side": "sell", "size": "1", "stop_price": "6000" }),
        ] {
            let read = terms(good.clone()).expect("terms");
            let written = serde_json::to_value(&read).expect("JSON");
            for (name, value) in good.as_object().expect("an object") {
                assert_eq!(&written[name], value);
            }
            assert_eq!(serde_json::from_value::<OrderRequest>(written).expect("terms"), read);
        }
    }

    #[test]
    fn terms_that_make_no_sense_are_refused_by_the_field_at_fault() {
        for (bad, field) in [
            (json!({}), "size"),
            (json!({ "size": "1", "funds": "1" }), "size"),
            (json!({ "size": "0" }), "size"),
            (json!({ "funds": "0.0" }), "funds"),
            (json!({ "side": "sell", "funds": "1" }), "funds"),
            (json!({ "side": "sell" }), "size"),
            (json!({ "type": "limit", "size": "1" }), "price"),
            (json!({ "type": "limit", "price": "1" }), "size"),
            (json!({ "type": "limit", "price": "1", "funds": "1" }), "funds"),
            (json!({ "type": "stop", "size": "1" }), "stop_price"),
            (json!({ "type": "stop", "size": "1", "stop_price": "1", "price": "1" }), "price"),
            (json!({ "type": "stop", "size": "1", "stop_price": "1", "time_in_force": "ioc" }), "time_in_force"),
            (json!({ "size": "1", "stop_price": "1" }), "stop_price"),
            (json!({ "size": "1", "client_order_id": "" }), "client_order_id"),
            (json!({ "size": "1", "client_order_id": "a b" }), "client_order_id"),
        ] {
            let said = terms(bad.clone()).expect_err("refused");
            assert!(said.starts_with(&format!("{field} must ")), "{bad}: {said}");
        }
    }
}
