//! Orders as the API answers them.

use events::{
    Amount, Asset, OrderStatus, Price, RejectReason, Side, Size, Symbol, Timestamp, Venue,
    order_request::{OrderRequestFields, OrderType, TimeInForce},
};
use serde::Serialize;
use store::trading::orders::{Decision, OrderRecord};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::routes::trades::Trade;

/// An order and its state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Order {
    id: Uuid,
    status: OrderStatus,
    /// The reason why it is rejected; null otherwise.
    reason: Option<RejectReason>,
    symbol: Symbol,
    /// The venue that the order names; null for an order that trades at the primary venue of its symbol.
    venue: Option<Venue>,
    side: Side,
    r#type: OrderType,
    /// The quantity in the base asset; null for a market buy that has `funds`.
    size: Option<Size>,
    /// The amount of the quote asset that a market buy spends, fee included.
    funds: Option<Amount>,
    /// The limit price of a limit order.
    price: Option<Price>,
    /// The stop price of a stop order.
    stop_price: Option<Price>,
    time_in_force: TimeInForce,
    #[schema(example = "my-order-1")]
    client_order_id: Option<String>,
    /// The alert whose first firing places the order; null for an order that was placed directly.
    alert_id: Option<Uuid>,
    /// The funds that it holds while it is open.
    held: Option<HeldFunds>,
    /// The trade, once the order is filled.
    trade: Option<Trade>,
    /// The sequence in the stream `TICKS` of the last tick that was applied before the status was decided; null before.
    tick_sequence: Option<u64>,
    placed_at: Timestamp,
    /// The time of the event that decided the status; null before.
    updated_at: Option<Timestamp>,
}

/// The funds that an open order holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeldFunds {
    asset: Asset,
    amount: Amount,
}

impl From<OrderRecord> for Order {
    fn from(record: OrderRecord) -> Self {
        let status = record.status();
        let OrderRecord { id, user_id: _, terms, rule_id, placed_at, decision } = record;
        let (state, trade) = decision.map_or((None, None), |Decision { state, trade }| (Some(state), trade));
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
        } = terms.into();
        Self {
            id,
            status,
            reason: state.as_ref().and_then(|state| state.reason),
            symbol,
            venue,
            side,
            r#type: order_type,
            size,
            funds,
            price,
            stop_price,
            time_in_force,
            client_order_id,
            alert_id: rule_id,
            tick_sequence: state.as_ref().map(|state| state.tick_sequence),
            updated_at: state.as_ref().map(|state| state.updated_at),
            held: state.and_then(|state| state.held).map(|(asset, amount)| HeldFunds { asset, amount }),
            trade: trade.map(Trade::from),
            placed_at,
        }
    }
}
