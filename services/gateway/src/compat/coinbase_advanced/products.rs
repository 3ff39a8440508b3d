//! The pairs that are quoted.

use axum::{extract::State, response::Response};
use events::Symbol;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    compat::{market_data::ProductPath, pairs::Pair, surface::CoinbaseErrors},
    http::{
        problem::Problem,
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    request::query::KnownParams,
    state::AppState,
};

/// A pair that is quoted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdvancedProduct {
    product_id: Symbol,
    /// The newest price that the history has.
    #[schema(example = "6804.91")]
    price: String,
    /// The smallest step of a size.
    #[schema(example = "0.00000001")]
    base_increment: String,
    /// The smallest step of a price, in the newest candles.
    #[schema(example = "0.01")]
    quote_increment: String,
    #[schema(example = "BTC")]
    base_currency_id: String,
    #[schema(example = "USD")]
    quote_currency_id: String,
    #[schema(example = "BTC-USD")]
    display_name: String,
    /// This is always `online`.
    #[schema(example = "online")]
    status: &'static str,
    /// This is always `SPOT`.
    #[schema(example = "SPOT")]
    product_type: &'static str,
}

/// The pairs that are quoted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AdvancedProducts {
    products: Vec<AdvancedProduct>,
    /// The number of products.
    num_products: usize,
}

impl From<Pair> for AdvancedProduct {
    fn from(pair: Pair) -> Self {
        let Pair { symbol, base, quote, price, base_increment, quote_increment } = pair;
        Self {
            price: price.to_string(),
            base_increment,
            quote_increment,
            base_currency_id: base,
            quote_currency_id: quote,
            display_name: symbol.to_string(),
            status: "online",
            product_type: "SPOT",
            product_id: symbol,
        }
    }
}

/// List products of Coinbase Advanced
///
/// The answer has the pairs that are quoted, at most 2000, sorted by symbol.
#[utoipa::path(
    get, path = "/compat/coinbase-advanced/api/v3/brokerage/products", tag = "coinbase-advanced",
    operation_id = "coinbase_advanced_products", params(IfNoneMatch),
    responses((status = 200, body = AdvancedProducts), NotModified, CoinbaseErrors),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let products: Vec<_> = Pair::list(&state).await?.into_iter().map(AdvancedProduct::from).collect();
    let num_products = products.len();
    Ok(Tagged::of(&AdvancedProducts { products, num_products })?.answer(&condition))
}

/// Get a product of Coinbase Advanced
#[utoipa::path(
    get, path = "/compat/coinbase-advanced/api/v3/brokerage/products/{product_id}", tag = "coinbase-advanced",
    operation_id = "coinbase_advanced_product",
    params(("product_id" = Symbol, Path, description = "The symbol of the product", example = "BTC-USD"), IfNoneMatch),
    responses((status = 200, body = AdvancedProduct), NotModified, CoinbaseErrors),
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    ProductPath(symbol): ProductPath,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let product = AdvancedProduct::from(Pair::find(&state, &symbol).await?);
    Ok(Tagged::of(&product)?.answer(&condition))
}
