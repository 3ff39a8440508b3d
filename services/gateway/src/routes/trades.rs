//! `/v1/trades`: the trades of a user.

use axum::{Json, extract::State};
use events::{Amount, Price, Side, Size, Symbol, Timestamp, TradeSettled};
use serde::Serialize;
use store::trading::trades;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    auth::ReadScope,
    http::problem::{Problem, ProblemResponses},
    request::{
        cursor::{ListCursor, TradeCursor},
        query::{FromQuery, ListQuery, Query, QueryParams},
    },
    routes::page::Page,
    state::AppState,
};

/// A trade: one order, filled as a whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trade {
    /// The id of the trade, `<order id>-1`.
    #[schema(example = "0197d0a4-6f5e-7c3a-9d2b-1e4f5a6b7c8d-1")]
    id: String,
    order_id: Uuid,
    symbol: Symbol,
    side: Side,
    /// The quantity in the base asset.
    size: Size,
    /// The price of one unit, in the quote asset: the tick's price, and for a market order half the spread.
    price: Price,
    /// The value of the trade in the quote asset, before the fee.
    quote_amount: Amount,
    /// The fee, in the quote asset.
    fee: Amount,
    /// The id of the tick that priced the trade, as the history of prices has it.
    #[schema(example = "812345001")]
    tick_id: String,
    /// The sequence in the stream `TICKS` of the page that had that tick.
    tick_sequence: u64,
    /// The index of that tick in its page.
    tick_index: u16,
    /// The price of that tick.
    tick_price: Price,
    /// The posting of the ledger.
    posting_id: i64,
    /// The time of the event that filled the order.
    at: Timestamp,
}

impl From<trades::Trade> for Trade {
    fn from(trade: trades::Trade) -> Self {
        Self {
            id: TradeSettled::id_of(trade.order_id),
            order_id: trade.order_id,
            symbol: trade.symbol,
            side: trade.side,
            size: trade.size,
            price: trade.price,
            quote_amount: trade.quote_amount,
            fee: trade.fee,
            tick_id: trade.tick_id,
            tick_sequence: trade.tick_sequence,
            tick_index: trade.tick_index,
            tick_price: trade.tick_price,
            posting_id: trade.posting_id,
            at: trade.at,
        }
    }
}

/// The filter of a list of trades.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TradeFilter {
    /// Only the trade of this order.
    order_id: Option<Uuid>,
}

impl FromQuery for TradeFilter {
    fn from_query(query: &mut Query) -> Option<Self> {
        Some(Self { order_id: query.optional("order_id") })
    }
}

/// List trades
///
/// The newest comes first.
#[utoipa::path(
    get, path = "/v1/trades", tag = "money", operation_id = "list_trades",
    params(TradeFilter, ListQuery<TradeCursor>),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = Page<Trade>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    ReadScope(caller): ReadScope,
    QueryParams((filter, list)): QueryParams<(TradeFilter, ListQuery<TradeCursor>)>,
) -> Result<Json<Page<Trade>>, Problem> {
    let (before, most) = (list.cursor.map(|ListCursor(posting)| posting), i64::from(list.limit) + 1);
    let trades = trades::list(&state.store, caller.user_id, filter.order_id, before, most).await?;
    Ok(Json(Page::new(trades, list.limit, |trade| -> TradeCursor { ListCursor(trade.posting_id) })))
}
