//! The Universal Data Feed of TradingView's charts
//! (<https://www.tradingview.com/charting-library-docs/latest/connecting_data/UDF/>), under `/udf`.

mod history;
mod marks;
mod params;
mod quotes;
mod symbols;

use utoipa_axum::{router::UtoipaMethodRouter, routes};

use crate::state::AppState;

/// Returns the operations of the surface.
pub(super) fn operations() -> Vec<UtoipaMethodRouter<AppState>> {
    vec![
        routes!(symbols::config),
        routes!(symbols::show),
        routes!(symbols::search),
        routes!(symbols::time),
        routes!(history::list),
        routes!(quotes::list),
        routes!(marks::list),
    ]
}
