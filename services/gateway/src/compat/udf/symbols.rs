//! What the feed can do, the symbols, and the time.

use std::collections::BTreeSet;

use axum::{extract::State, response::Response};
use events::{Symbol, Venue, quotes::is_currency};
use serde::Serialize;
use store::market::products::{self, Product};
use utoipa::{IntoParams, ToSchema};

use crate::{
    compat::{
        market_data::{MOST_PRODUCTS, unknown_symbol},
        surface::UdfErrors,
        udf::params::{Count, SUPPORTED_RESOLUTIONS, symbol},
    },
    http::{
        problem::Problem,
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    request::query::{FromQuery, KnownParams, Query},
    state::AppState,
};

/// The most symbols that a search finds, and how many it finds without `limit`.
const MOST_FOUND: u16 = 100;
const DEFAULT_FOUND: u16 = 30;
/// The widths of bars within a day, in minutes: the resolutions but the last one.
const INTRADAY: [&str; 5] = ["1", "5", "15", "60", "240"];
/// The most decimal places for which a chart reads ten to their power exactly.
const MOST_PLACES: u32 = 15;
/// The decimal places of a volume.
const VOLUME_PLACES: u32 = 8;

/// What the feed can do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfConfig {
    supports_search: bool,
    supports_group_request: bool,
    supports_marks: bool,
    supports_timescale_marks: bool,
    supports_time: bool,
    /// The widths of bars in minutes, and of days.
    #[schema(value_type = Vec<String>, example = json!(["1", "60", "1D"]))]
    supported_resolutions: [&'static str; 6],
    /// The venues, of which the first stands for all.
    exchanges: Vec<UdfExchange>,
    symbols_types: Vec<UdfSymbolType>,
    /// What symbols are quoted in.
    #[schema(example = json!(["USD"]))]
    currency_codes: Vec<String>,
}

/// A venue that a search can be restricted to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfExchange {
    #[schema(example = "coinbase")]
    value: String,
    #[schema(example = "coinbase")]
    name: String,
    desc: String,
}

/// A kind of symbol that a search can be restricted to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfSymbolType {
    #[schema(example = "Crypto")]
    name: &'static str,
    #[schema(example = "crypto")]
    value: &'static str,
}

/// A symbol, and how to draw its prices.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfSymbol {
    name: Symbol,
    ticker: Symbol,
    #[schema(example = "BTC/USD at coinbase")]
    description: String,
    /// `crypto`, `forex` or `stock`.
    #[schema(example = "crypto")]
    r#type: &'static str,
    /// This is always `24x7`.
    #[schema(example = "24x7")]
    session: &'static str,
    /// This is always `Etc/UTC`.
    #[schema(example = "Etc/UTC")]
    timezone: &'static str,
    exchange: Venue,
    listed_exchange: Venue,
    minmov: u32,
    /// Ten to the power of the decimal places of the finest price in the newest candles.
    #[schema(example = 100)]
    pricescale: u64,
    has_intraday: bool,
    has_daily: bool,
    has_weekly_and_monthly: bool,
    #[schema(value_type = Vec<String>, example = json!(["1", "5"]))]
    intraday_multipliers: [&'static str; 5],
    #[schema(value_type = Vec<String>, example = json!(["1", "5", "1D"]))]
    supported_resolutions: [&'static str; 6],
    volume_precision: u32,
    /// This is always `streaming`.
    #[schema(example = "streaming")]
    data_status: &'static str,
    /// What the symbol is quoted in; absent for a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "USD")]
    currency_code: Option<String>,
    /// This is always `price`.
    #[schema(example = "price")]
    format: &'static str,
}

/// A symbol that a search has found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfFound {
    symbol: Symbol,
    full_name: Symbol,
    #[schema(example = "BTC/USD at coinbase")]
    description: String,
    exchange: Venue,
    ticker: Symbol,
    #[schema(example = "crypto")]
    r#type: &'static str,
}

impl From<Product> for UdfSymbol {
    fn from(product: Product) -> Self {
        let Product { symbol, venue, price_places, .. } = product;
        Self {
            description: description(&symbol, &venue),
            r#type: kind(&symbol),
            session: "24x7",
            timezone: "Etc/UTC",
            minmov: 1,
            pricescale: 10_u64.pow(price_places.min(MOST_PLACES)),
            has_intraday: true,
            has_daily: true,
            has_weekly_and_monthly: false,
            intraday_multipliers: INTRADAY,
            supported_resolutions: SUPPORTED_RESOLUTIONS,
            volume_precision: VOLUME_PLACES,
            data_status: "streaming",
            currency_code: symbol.pair().map(|(_, quote)| quote.to_owned()),
            format: "price",
            name: symbol.clone(),
            ticker: symbol,
            exchange: venue.clone(),
            listed_exchange: venue,
        }
    }
}

fn description(symbol: &Symbol, venue: &Venue) -> String {
    match symbol.pair() {
        Some((base, quote)) => format!("{base}/{quote} at {venue}"),
        None => format!("{symbol} at {venue}"),
    }
}

fn kind(symbol: &Symbol) -> &'static str {
    match symbol.pair() {
        Some((base, quote)) if is_currency(base) && is_currency(quote) => "forex",
        Some(_) => "crypto",
        None => "stock",
    }
}

/// What a search is for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParams {
    /// A part of the name; without it, all.
    #[param(value_type = Option<String>, example = "BTC")]
    query: String,
    /// `crypto`, `forex` or `stock`; without it, all.
    #[param(value_type = Option<String>, example = "crypto")]
    r#type: String,
    /// The symbol's primary venue; without it, all.
    #[param(value_type = Option<String>, example = "coinbase")]
    exchange: String,
    /// The largest number of symbols; more than 100 are not listed.
    #[param(value_type = Option<i64>, minimum = 1, default = 30, example = 30)]
    limit: u16,
}

impl FromQuery for SearchParams {
    fn from_query(query: &mut Query) -> Option<Self> {
        let [text, kind, exchange] =
            ["query", "type", "exchange"].map(|name| query.optional::<String>(name).unwrap_or_default());
        let limit = query.optional("limit").map_or(DEFAULT_FOUND, |count: Count| count.at_most(MOST_FOUND));
        Some(Self { query: text, r#type: kind, exchange, limit })
    }
}

impl SearchParams {
    /// Returns the symbols that match, those first whose name begins with what is searched.
    fn find(&self, names: Vec<(Symbol, Venue)>) -> Vec<UdfFound> {
        let text = self.query.trim().to_ascii_uppercase().replace(['/', '_'], "-");
        let is_wanted = |(symbol, venue): &(Symbol, Venue)| {
            symbol.as_str().contains(&text)
                && (self.exchange.is_empty() || venue.as_str().eq_ignore_ascii_case(&self.exchange))
                && (self.r#type.is_empty() || kind(symbol) == self.r#type)
        };
        let mut found: Vec<_> = names.into_iter().filter(is_wanted).collect();
        found.sort_by_key(|(symbol, _)| !symbol.as_str().starts_with(&text));
        found.truncate(self.limit.into());
        let answer = |(symbol, venue): (Symbol, Venue)| UdfFound {
            description: description(&symbol, &venue),
            r#type: kind(&symbol),
            symbol: symbol.clone(),
            full_name: symbol.clone(),
            ticker: symbol,
            exchange: venue,
        };
        found.into_iter().map(answer).collect()
    }
}

/// The symbol that is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SymbolParams {
    /// The name of the symbol.
    #[param(example = "BTC-USD")]
    symbol: String,
}

impl FromQuery for SymbolParams {
    fn from_query(query: &mut Query) -> Option<Self> {
        Some(Self { symbol: query.required("symbol")? })
    }
}

/// Get what the feed can do
#[utoipa::path(
    get, path = "/udf/config", tag = "udf", operation_id = "udf_config", params(IfNoneMatch),
    responses((status = 200, body = UdfConfig), NotModified, UdfErrors),
)]
pub(crate) async fn config(
    State(state): State<AppState>,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let names = products::names(&state.store, MOST_PRODUCTS).await?;
    let venues: BTreeSet<&Venue> = names.iter().map(|(_, venue)| venue).collect();
    let quotes: BTreeSet<&str> = names.iter().filter_map(|(symbol, _)| Some(symbol.pair()?.1)).collect();
    let all = UdfExchange { value: String::new(), name: "All".into(), desc: String::new() };
    let exchange =
        |venue: &Venue| UdfExchange { value: venue.to_string(), name: venue.to_string(), desc: venue.to_string() };
    let kinds = [("All", ""), ("Crypto", "crypto"), ("Forex", "forex"), ("Stock", "stock")];
    let config = UdfConfig {
        supports_search: true,
        supports_group_request: false,
        supports_marks: true,
        supports_timescale_marks: false,
        supports_time: true,
        supported_resolutions: SUPPORTED_RESOLUTIONS,
        exchanges: std::iter::once(all).chain(venues.into_iter().map(exchange)).collect(),
        symbols_types: kinds.into_iter().map(|(name, value)| UdfSymbolType { name, value }).collect(),
        currency_codes: quotes.into_iter().map(str::to_owned).collect(),
    };
    Ok(Tagged::of(&config)?.answer(&condition))
}

/// Get a symbol
#[utoipa::path(
    get, path = "/udf/symbols", tag = "udf", operation_id = "udf_symbol", params(SymbolParams, IfNoneMatch),
    responses((status = 200, body = UdfSymbol), NotModified, UdfErrors),
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    KnownParams(params): KnownParams<SymbolParams>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let product = products::find(&state.store, &symbol(&params.symbol)?).await?.ok_or_else(unknown_symbol)?;
    Ok(Tagged::of(&UdfSymbol::from(product))?.answer(&condition))
}

/// Search symbols
///
/// The answer has symbols whose name has what is searched, those first that begin with it. At most 2000 symbols are searched.
#[utoipa::path(
    get, path = "/udf/search", tag = "udf", operation_id = "udf_search", params(SearchParams, IfNoneMatch),
    responses((status = 200, body = [UdfFound]), NotModified, UdfErrors),
)]
pub(crate) async fn search(
    State(state): State<AppState>,
    KnownParams(params): KnownParams<SearchParams>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let names = products::names(&state.store, MOST_PRODUCTS).await?;
    Ok(Tagged::of(&params.find(names))?.answer(&condition))
}

/// Get the time
///
/// The answer is the number of seconds since 1970.
#[utoipa::path(
    get, path = "/udf/time", tag = "udf", operation_id = "udf_time",
    responses((status = 200, body = String, content_type = "text/plain", example = "1522886400"), UdfErrors),
)]
pub(crate) async fn time(KnownParams(()): KnownParams<()>) -> String {
    (platform::clock::now().micros() / 1_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<(Symbol, Venue)> {
        let name = |(symbol, venue): (&str, &str)| {
            (Symbol::parse(symbol).expect("a symbol"), Venue::parse(venue).expect("a venue"))
        };
        let all = [("BRK.B", "file"), ("BTC-USD", "coinbase"), ("ETH-BTC", "kraken"), ("EUR-USD", "kraken")];
        all.into_iter().map(name).collect()
    }

    fn found(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut query = Query::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let params = SearchParams::from_query(&mut query);
        let params = query.finish(params).unwrap_or_else(|problem| panic!("{pairs:?}: {}", problem.detail));
        params.find(names()).into_iter().map(|found| found.symbol.to_string()).collect()
    }

    #[test]
    fn a_search_finds_names_by_a_part_of_them() {
        for (given, expected) in [
            (&[][..], &["BRK.B", "BTC-USD", "ETH-BTC", "EUR-USD"][..]),
            (&[("query", "btc")], &["BTC-USD", "ETH-BTC"]),
            (&[("query", "usd"), ("limit", "1")], &["BTC-USD"]),
            (&[("query", "btc/usd")], &["BTC-USD"]),
            (&[("query", "%")], &[]),
            (&[("type", "crypto")], &["BTC-USD", "ETH-BTC"]),
            (&[("type", "forex")], &["EUR-USD"]),
            (&[("type", "stock"), ("exchange", "")], &["BRK.B"]),
            (&[("exchange", "KRAKEN"), ("limit", "70000")], &["ETH-BTC", "EUR-USD"]),
        ] {
            assert_eq!(found(given), expected, "{given:?}");
        }
    }
}
