//! The pairs that are quoted.

use axum::{extract::State, response::Response};
use events::Symbol;
use serde::Serialize;
use store::market::products::{self, Product};
use utoipa::ToSchema;

use crate::{
    compat::{
        market_data::{AssetPlaces, MOST_PRODUCTS, ProductPath, increment, unknown_symbol},
        surface::CoinbaseErrors,
    },
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

impl AdvancedProduct {
    /// Returns the pair as a product; none of a symbol that is no pair, which these clients cannot read.
    fn new(product: Product, places: &AssetPlaces) -> Option<Self> {
        let (base, quote) = product.symbol.pair()?;
        Some(Self {
            price: product.price.to_string(),
            base_increment: places.increment(base),
            quote_increment: increment(product.price_places),
            base_currency_id: base.to_owned(),
            quote_currency_id: quote.to_owned(),
            display_name: product.symbol.to_string(),
            status: "online",
            product_type: "SPOT",
            product_id: product.symbol,
        })
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
    let places = AssetPlaces::read(&state).await?;
    let products = products::list(&state.store, MOST_PRODUCTS).await?;
    let products: Vec<_> = products.into_iter().filter_map(|product| AdvancedProduct::new(product, &places)).collect();
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
    let product = products::find(&state.store, &symbol).await?.ok_or_else(unknown_symbol)?;
    let places = AssetPlaces::read(&state).await?;
    let product = AdvancedProduct::new(product, &places).ok_or_else(unknown_symbol)?;
    Ok(Tagged::of(&product)?.answer(&condition))
}
