//! Trades as the settler saved them, for their owners.

use events::{Amount, Price, Side, Size, Symbol, Timestamp};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, pg::row};

/// The trade that filled an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// The id of the filled order.
    pub order_id: Uuid,
    /// The number of the ledger's posting.
    pub posting_id: i64,
    /// The symbol that was traded.
    pub symbol: Symbol,
    /// The side of the order.
    pub side: Side,
    /// The size in the base asset.
    pub size: Size,
    /// The price of one unit of the base asset, in the quote asset.
    pub price: Price,
    /// The cost or the proceeds of the whole size in the quote asset, before the fee.
    pub quote_amount: Amount,
    /// The fee in the quote asset.
    pub fee: Amount,
    /// The id of the tick that priced the trade.
    pub tick_id: String,
    /// The sequence of the page that has that tick.
    pub tick_sequence: u64,
    /// The index of that tick in its page.
    pub tick_index: u16,
    /// The price of that tick.
    pub tick_price: Price,
    /// The time at which the settler decided the trade.
    pub at: Timestamp,
}

/// Returns a user's trades of postings below `before`, newest first; only those of one order, if it is given.
pub async fn list(
    store: &Store,
    user_id: Uuid,
    order_id: Option<Uuid>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Trade>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM trades WHERE user_id = $1 AND posting_id < $2 AND ($3::uuid IS NULL OR order_id = $3)
         ORDER BY posting_id DESC LIMIT $4",
    )
    .bind(user_id)
    .bind(before.unwrap_or(i64::MAX))
    .bind(order_id)
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(trade).collect()
}

pub(crate) fn trade(row: &PgRow) -> Result<Trade, Error> {
    Ok(Trade {
        order_id: row.try_get("order_id")?,
        posting_id: row.try_get("posting_id")?,
        symbol: row::symbol(row)?,
        side: row::word(row, "side", Side::parse)?,
        size: Size::new(row.try_get("size")?)?,
        price: Price::new(row.try_get("price")?)?,
        quote_amount: Amount::new(row.try_get("quote_amount")?)?,
        fee: Amount::new(row.try_get("fee")?)?,
        tick_id: row.try_get("tick_id")?,
        tick_sequence: row.try_get::<i64, _>("tick_sequence")? as u64,
        tick_index: row.try_get::<i16, _>("tick_index")? as u16,
        tick_price: Price::new(row.try_get("tick_price")?)?,
        at: row::time(row, "at")?,
    })
}
