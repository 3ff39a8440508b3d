//! The market data of Coinbase Exchange (<https://docs.cdp.coinbase.com/exchange/reference>), under `/compat/coinbase`.
//!
//! Ticks have no side and there is no order book, so no answer has a side, a bid or an ask, and `/products/{product_id}/book` is no product.

mod candles;
mod products;
mod trades;

use utoipa_axum::{router::UtoipaMethodRouter, routes};

use crate::state::AppState;

/// Returns the operations of the surface.
pub(super) fn operations() -> Vec<UtoipaMethodRouter<AppState>> {
    vec![
        routes!(products::time),
        routes!(products::currencies),
        routes!(products::list),
        routes!(products::show),
        routes!(candles::spark_lines),
        routes!(candles::list),
        routes!(trades::ticker),
        routes!(trades::stats),
        routes!(trades::list),
    ]
}
