//! What can be asked about: products, currencies, and the time.

use std::collections::BTreeSet;

use axum::{Json, extract::State, response::Response};
use events::{Symbol, Timestamp, quotes::is_currency};
use serde::Serialize;
use store::market::products;
use utoipa::ToSchema;

use crate::{
    compat::{
        market_data::{AssetPlaces, JsonNumber, MOST_PRODUCTS, ProductPath},
        pairs::Pair,
        surface::CoinbaseErrors,
    },
    http::{
        problem::Problem,
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    request::query::KnownParams,
    state::AppState,
};

/// The time of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoinbaseTime {
    iso: Timestamp,
    /// The seconds since 1970.
    epoch: JsonNumber,
}

/// A pair that is quoted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoinbaseProduct {
    id: Symbol,
    #[schema(example = "BTC")]
    base_currency: String,
    #[schema(example = "USD")]
    quote_currency: String,
    /// The smallest step of a size.
    #[schema(example = "0.00000001")]
    base_increment: String,
    /// The smallest step of a price, in the newest candles.
    #[schema(example = "0.01")]
    quote_increment: String,
    #[schema(example = "BTC/USD")]
    display_name: String,
    /// Always 0: there is no smallest order.
    #[schema(example = "0")]
    min_market_funds: &'static str,
    margin_enabled: bool,
    /// This is always `online`.
    #[schema(example = "online")]
    status: &'static str,
    status_message: &'static str,
}

/// A currency or a coin of a product.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoinbaseCurrency {
    #[schema(example = "BTC")]
    id: String,
    #[schema(example = "BTC")]
    name: String,
    /// The smallest amount.
    #[schema(example = "0.00000001")]
    min_size: String,
    /// The smallest step of an amount.
    #[schema(example = "0.00000001")]
    max_precision: String,
    /// This is always `online`.
    #[schema(example = "online")]
    status: &'static str,
    details: CurrencyDetails,
    /// Always empty: nothing can be withdrawn.
    supported_networks: [String; 0],
}

/// The details of a currency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CurrencyDetails {
    /// `fiat` or `crypto`.
    #[schema(example = "crypto")]
    r#type: &'static str,
}

impl From<Pair> for CoinbaseProduct {
    fn from(pair: Pair) -> Self {
        let Pair { symbol, base, quote, base_increment, quote_increment, .. } = pair;
        Self {
            display_name: format!("{base}/{quote}"),
            base_currency: base,
            quote_currency: quote,
            base_increment,
            quote_increment,
            min_market_funds: "0",
            margin_enabled: false,
            status: "online",
            status_message: "",
            id: symbol,
        }
    }
}

/// Get the time
#[utoipa::path(
    get, path = "/compat/coinbase/time", tag = "coinbase", operation_id = "coinbase_time",
    responses((status = 200, body = CoinbaseTime), CoinbaseErrors),
)]
pub(crate) async fn time(KnownParams(()): KnownParams<()>) -> Result<Json<CoinbaseTime>, Problem> {
    let now = platform::clock::now();
    let millis = now.micros() / 1_000;
    let epoch = JsonNumber::new(format!("{}.{:03}", millis / 1_000, millis % 1_000))?;
    Ok(Json(CoinbaseTime { iso: now, epoch }))
}

/// List currencies
///
/// The answer has the currencies and coins of the products.
#[utoipa::path(
    get, path = "/compat/coinbase/currencies", tag = "coinbase", operation_id = "coinbase_currencies", params(IfNoneMatch),
    responses((status = 200, body = [CoinbaseCurrency]), NotModified, CoinbaseErrors),
)]
pub(crate) async fn currencies(
    State(state): State<AppState>,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let (names, places) = (products::names(&state.store, MOST_PRODUCTS).await?, AssetPlaces::read(&state).await?);
    let pairs = names.iter().filter_map(|(symbol, _)| symbol.pair());
    let codes: BTreeSet<&str> = pairs.flat_map(|(base, quote)| [base, quote]).collect();
    let currency = |code: &str| CoinbaseCurrency {
        id: code.to_owned(),
        name: code.to_owned(),
        min_size: places.increment(code),
        max_precision: places.increment(code),
        status: "online",
        details: CurrencyDetails { r#type: if is_currency(code) { "fiat" } else { "crypto" } },
        supported_networks: [],
    };
    let currencies: Vec<_> = codes.into_iter().map(currency).collect();
    Ok(Tagged::of(&currencies)?.answer(&condition))
}

/// List products
///
/// The answer has the pairs that are quoted, at most 2000, sorted by symbol.
#[utoipa::path(
    get, path = "/compat/coinbase/products", tag = "coinbase", operation_id = "coinbase_products", params(IfNoneMatch),
    responses((status = 200, body = [CoinbaseProduct]), NotModified, CoinbaseErrors),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let products: Vec<_> = Pair::list(&state).await?.into_iter().map(CoinbaseProduct::from).collect();
    Ok(Tagged::of(&products)?.answer(&condition))
}

/// Get a product
#[utoipa::path(
    get, path = "/compat/coinbase/products/{product_id}", tag = "coinbase", operation_id = "coinbase_product",
    params(("product_id" = Symbol, Path, description = "The symbol of the product", example = "BTC-USD"), IfNoneMatch),
    responses((status = 200, body = CoinbaseProduct), NotModified, CoinbaseErrors),
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    ProductPath(symbol): ProductPath,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let product = CoinbaseProduct::from(Pair::find(&state, &symbol).await?);
    Ok(Tagged::of(&product)?.answer(&condition))
}
