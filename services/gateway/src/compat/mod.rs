//! Read-only surfaces for software that was written for other servers: charts that speak TradingView's UDF, and clients of
//! Coinbase Exchange and of Coinbase Advanced. `COMPAT.md` says which addresses to set in them.
//!
//! They show the same data as `/v1`, read by the same functions: no rule about prices, venues or candles is made here. Only the
//! shapes are theirs, and six-hour candles, which Coinbase Exchange has and `/v1` has not.

mod coinbase;
mod coinbase_advanced;
mod market_data;
mod pairs;
pub(crate) mod surface;
mod trade_feeds;
mod udf;

use utoipa_axum::router::UtoipaMethodRouter;

use crate::state::AppState;

/// Returns the operations of all surfaces.
pub(crate) fn operations() -> impl Iterator<Item = UtoipaMethodRouter<AppState>> {
    coinbase::operations()
        .into_iter()
        .chain(coinbase_advanced::operations())
        .chain(trade_feeds::operations())
        .chain(udf::operations())
}
