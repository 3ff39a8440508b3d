//! Orders as the API answers them.

use events::{
    Amount, Asset, OrderStatus, Price, RejectReason, Side, Size, Symbol, Timestamp, Venue,
    order_request::{OrderRequestFields, OrderType, TimeInForce},
};
use serde::Serialize;
use store::{
    Error, Store,
    trading::{
        assets,
        orders::{Decision, OrderRecord},
    },
};
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
    /// What is missing, and what to do about it, where the reason is `unknown_symbol`; null otherwise.
    reason_detail: Option<String>,
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
    /// The sequence in the stream `TICKS` of the last page that was applied before the status was decided; null before.
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

impl Order {
    /// Returns the id of the order.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Returns orders as they are answered, with what is missing where a symbol is unknown.
    pub(super) async fn of(store: &Store, records: Vec<OrderRecord>) -> Result<Vec<Self>, Error> {
        let mut orders: Vec<Self> = records.into_iter().map(Self::from).collect();
        let mut unknown: Vec<_> =
            orders.iter_mut().filter(|order| order.reason == Some(RejectReason::UnknownSymbol)).collect();
        if unknown.is_empty() {
            return Ok(orders);
        }
        let assets: Vec<Asset> = unknown.iter().flat_map(|order| [order.symbol.base(), order.symbol.quote()]).collect();
        let known: Vec<Asset> = assets::find(store, &assets).await?.into_iter().map(|(asset, _)| asset).collect();
        unknown.iter_mut().for_each(|order| order.reason_detail = Some(what_is_missing(&order.symbol, &known)));
        Ok(orders)
    }
}

/// Returns the sentence that says why a symbol is unknown, and what to do about it.
fn what_is_missing(symbol: &Symbol, known: &[Asset]) -> String {
    let (base, quote) = (symbol.base(), symbol.quote());
    if base == quote {
        return format!("{symbol} would trade {base} for itself; place an order for a symbol of two assets.");
    }
    let missing: Vec<Asset> = [base, quote].into_iter().filter(|asset| !known.contains(asset)).collect();
    match &missing[..] {
        [] => "The assets of the symbol were added after the order was decided; place it again.".to_owned(),
        [asset] => format!(
            "No account can hold {asset}. An operator adds it with `tickbell accounts asset {asset} SCALE`, where SCALE is the \
             number of its decimal places, like 8."
        ),
        _ => {
            let commands: Vec<_> =
                missing.iter().map(|asset| format!("`tickbell accounts asset {asset} SCALE`")).collect();
            format!(
                "No account can hold {} or {}. An operator adds them with {}, where SCALE is the number of decimal places, \
                 like 8.",
                missing[0],
                missing[1],
                commands.join(" and ")
            )
        }
    }
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
            reason_detail: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_symbol_says_which_asset_is_missing_and_the_command_that_adds_it() {
        let known = ["USD", "BTC"].map(|code| Asset::parse(code).expect("an asset"));
        for (symbol, said) in [
            ("DOGE-USD", "No account can hold DOGE. An operator adds it with `tickbell accounts asset DOGE SCALE`"),
            ("BTC-XYZ", "No account can hold XYZ. An operator adds it with `tickbell accounts asset XYZ SCALE`"),
            (
                "DOGE-XYZ",
                "No account can hold DOGE or XYZ. An operator adds them with `tickbell accounts asset DOGE SCALE` and",
            ),
            ("USD-USD", "USD-USD would trade USD for itself"),
            ("BTC-USD", "The assets of the symbol were added after"),
        ] {
            let sentence = what_is_missing(&Symbol::parse(symbol).expect("a symbol"), &known);
            assert!(sentence.starts_with(said), "{sentence}");
        }
    }
}
