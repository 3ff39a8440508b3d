//! The market data of Coinbase Advanced (<https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis>), under
//! `/compat/coinbase-advanced`. Any signature is accepted, because all of it is public.

mod products;

use utoipa_axum::{router::UtoipaMethodRouter, routes};

use crate::state::AppState;

/// Returns the operations of the surface.
pub(super) fn operations() -> Vec<UtoipaMethodRouter<AppState>> {
    vec![routes!(products::list), routes!(products::show)]
}
