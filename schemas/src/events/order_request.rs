//! The request of an order: what to buy or sell, and at which price.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Amount, Price, Size, Symbol, Venue};

/// The longest `client_order_id`, in characters.
const CLIENT_ORDER_ID_LENGTH: usize = 64;

/// An order request whose fields contradict each other. The text begins with the field at fault.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum OrderRequestError {
    /// The size is missing.
    #[error("size must be given")]
    NoSize,
    /// A market buy has both a size and funds, or neither.
    #[error("size must be given, or funds in its place")]
    SizeOrFunds,
    /// The size is zero.
    #[error("size must be above 0")]
    SizeOfNothing,
    /// The funds are zero.
    #[error("funds must be above 0")]
    FundsOfNothing,
    /// Funds are given with another order than a market buy.
    #[error("funds must only be given with a market buy")]
    Funds,
    /// A limit order has no price.
    #[error("price must be given with a limit order")]
    NoPrice,
    /// An order that is not a limit order has a price.
    #[error("price must only be given with a limit order")]
    Price,
    /// A stop order has no stop price.
    #[error("stop_price must be given with a stop order")]
    NoStopPrice,
    /// An order that is not a stop order has a stop price.
    #[error("stop_price must only be given with a stop order")]
    StopPrice,
    /// A stop order is immediate-or-cancel, though it must wait.
    #[error("time_in_force must be \"gtc\" with a stop order")]
    StopAtOnce,
    /// The client order id is empty, too long, or has other characters than printable ASCII.
    #[error("client_order_id must have 1 to {CLIENT_ORDER_ID_LENGTH} printable ASCII characters")]
    ClientOrderId,
}

/// The side of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Buys the base asset for the quote asset.
    Buy,
    /// Sells the base asset for the quote asset.
    Sell,
}

impl Side {
    /// Returns the side as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }

    /// Parses a side as it is written in JSON.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Buy, Self::Sell].into_iter().find(|side| side.as_str() == text)
    }
}

/// The type of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    /// Trades at the latest price.
    Market,
    /// Trades once the price is `price` or better.
    Limit,
    /// Becomes a market order once the price is `stop_price` or worse.
    Stop,
}

/// The time that an order remains open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TimeInForce {
    /// Good till cancelled: the order remains open until it is filled or cancelled.
    #[default]
    Gtc,
    /// Immediate or cancel: an order that cannot be filled at once expires.
    Ioc,
}

/// The kind of an order, with its size and prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// Trades at the latest price.
    Market(OrderSize),
    /// Trades at the first tick whose price is the limit or better.
    Limit {
        /// The size, in units of the base asset.
        size: Size,
        /// The worst acceptable price.
        price: Price,
        /// The time that the order remains open.
        time_in_force: TimeInForce,
    },
    /// Trades at the latest price, once a tick's price is the stop price or worse.
    Stop {
        /// The size, in units of the base asset.
        size: Size,
        /// The price at which it becomes a market order.
        stop_price: Price,
    },
}

/// The size of a market order, in the base or in the quote asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderSize {
    /// The size, in units of the base asset.
    Size(Size),
    /// The amount to spend, in units of the quote asset with the fee; only for a buy.
    Funds(Amount),
}

/// Describes an order as it was requested. It never changes; only the order's status does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "OrderRequestFields", into = "OrderRequestFields")]
pub struct OrderRequest {
    /// The symbol to trade.
    pub symbol: Symbol,
    /// The venue whose ticks price the order; none means the symbol's primary venue.
    pub venue: Option<Venue>,
    /// The side of the order: buy or sell.
    pub side: Side,
    /// The kind of the order, with its size and prices.
    pub execution: OrderKind,
    /// The owner's id for the order.
    pub client_order_id: Option<String>,
}

/// Describes an order as it was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = OrderRequest))]
#[schemars(rename = "OrderRequest")]
pub struct OrderRequestFields {
    /// The symbol to trade.
    pub symbol: Symbol,
    /// The venue whose ticks price the order; null means the primary venue of the symbol, the first that quoted it.
    // Left out where it is not set, because orders keep the fingerprint that they were saved with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venue: Option<Venue>,
    /// The side of the order: buy or sell.
    pub side: Side,
    /// The type of the order.
    #[serde(rename = "type")]
    pub order_type: OrderType,
    /// The size, in units of the base asset; null for a market buy with `funds`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::openapi::DecimalInput>))]
    pub size: Option<Size>,
    /// The amount that a market buy spends, in units of the quote asset with the fee; null for other orders.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::openapi::DecimalInput>))]
    pub funds: Option<Amount>,
    /// The worst acceptable price of a limit order; null for other orders.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::openapi::DecimalInput>))]
    pub price: Option<Price>,
    /// The price at which a stop order becomes a market order; null for other orders.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::openapi::DecimalInput>))]
    pub stop_price: Option<Price>,
    /// The time that the order remains open.
    #[serde(default)]
    pub time_in_force: TimeInForce,
    /// The owner's id for the order, 1 to 64 printable ASCII characters. A request that repeats an id places no second order.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 64, pattern = "^[!-~]+$", example = "my-order-1")
    )]
    pub client_order_id: Option<String>,
}

impl TryFrom<OrderRequestFields> for OrderRequest {
    type Error = OrderRequestError;
    fn try_from(fields: OrderRequestFields) -> Result<Self, OrderRequestError> {
        let OrderRequestFields {
            symbol,
            venue,
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
        Ok(Self { symbol, venue, side, execution, client_order_id })
    }
}

impl From<OrderRequest> for OrderRequestFields {
    fn from(request: OrderRequest) -> Self {
        let OrderRequest { symbol, venue, side, execution, client_order_id } = request;
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
        Self { symbol, venue, side, order_type, size, funds, price, stop_price, time_in_force, client_order_id }
    }
}

#[cfg(feature = "openapi")]
pub use openapi::order_schema;

#[cfg(feature = "openapi")]
mod openapi {
    use std::borrow::Cow;

    use serde_json::json;
    use utoipa::{
        PartialSchema, ToSchema,
        openapi::{AllOfBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, Type, schema::AdditionalProperties},
    };

    use super::{OrderRequest, OrderRequestFields};
    use crate::openapi::DecimalInput;

    /// An order request is written as its fields, of which each kind of order has its own.
    impl PartialSchema for OrderRequest {
        fn schema() -> RefOr<Schema> {
            order_schema(OrderRequestFields::schema())
        }
    }

    /// Returns the schema of an order whose fields are those of the object: no other fields, and those of one kind.
    pub fn order_schema(fields: RefOr<Schema>) -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut fields)) = fields else { return fields };
        fields.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        let description = fields.description.take();
        AllOfBuilder::new().description(description).item(fields).item(kinds()).into()
    }

    fn kinds() -> OneOfBuilder {
        let amounts = ["size", "funds", "price", "stop_price"];
        let kind = |order_type: &str, given: &[&str]| {
            let mut kind = ObjectBuilder::new().property("type", word(order_type));
            for name in amounts {
                kind = if given.contains(&name) {
                    kind.property(name, Ref::from_schema_name(DecimalInput::name())).required(name)
                } else {
                    kind.property(name, ObjectBuilder::new().schema_type(Type::Null))
                };
            }
            kind
        };
        OneOfBuilder::new()
            .item(kind("market", &["size"]))
            .item(kind("market", &["funds"]).property("side", word("buy")))
            .item(kind("limit", &["size", "price"]))
            .item(kind("stop", &["size", "stop_price"]).property("time_in_force", word("gtc")))
    }

    fn word(word: &str) -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some([json!(word)]))
    }

    impl ToSchema for OrderRequest {
        fn name() -> Cow<'static, str> {
            OrderRequestFields::name()
        }

        fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            OrderRequestFields::schemas(schemas);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(changes: Value) -> Result<OrderRequest, String> {
        let mut order = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market" });
        let Value::Object(changes) = changes else { panic!("an object") };
        order.as_object_mut().expect("an object").extend(changes);
        serde_json::from_value(order).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_that_makes_sense_is_written_as_it_is_read() {
        for good in [
            json!({ "size": "0.1" }),
            json!({ "funds": "100.00" }),
            json!({ "size": "0.1", "venue": "coinbase" }),
            json!({ "side": "sell", "size": "0.1", "client_order_id": "a-1" }),
            json!({ "type": "limit", "size": "1", "price": "6000" }),
            json!({ "type": "limit", "size": "1", "price": "6000", "time_in_force": "ioc" }),
            json!({ "type": "stop", "side": "sell", "size": "1", "stop_price": "6000" }),
        ] {
            let read = request(good.clone()).expect("a request");
            let written = serde_json::to_value(&read).expect("JSON");
            for (name, value) in good.as_object().expect("an object") {
                assert_eq!(&written[name], value);
            }
            assert_eq!(serde_json::from_value::<OrderRequest>(written).expect("a request"), read);
        }
    }

    #[test]
    fn a_request_that_makes_no_sense_is_refused_by_the_field_at_fault() {
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
            let said = request(bad.clone()).expect_err("refused");
            assert!(said.starts_with(&format!("{field} must ")), "{bad}: {said}");
        }
    }

    #[cfg(feature = "openapi")]
    #[test]
    fn a_request_may_leave_out_what_has_a_default() {
        let schema = serde_json::to_value(<OrderRequest as utoipa::PartialSchema>::schema()).expect("JSON");
        assert_eq!(schema["allOf"][0]["required"], json!(["symbol", "side", "type"]));
    }
}
