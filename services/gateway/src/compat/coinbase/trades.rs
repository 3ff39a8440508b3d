//! Trades of a product, the last of them, and what the last day was like.

use axum::{extract::State, http::HeaderValue, response::Response};
use events::{Symbol, Timestamp, tick::TickKind};
use serde::Serialize;
use store::market::{
    products::{self, DayRange},
    tick_list::{self, SortOrder, TickRange, TickRow},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    compat::{
        market_data::{ProductPath, TradeId, find_market, unknown_symbol},
        surface::CoinbaseErrors,
    },
    http::{
        problem::Problem,
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    request::{
        cursor::{HistoryCursor, ListCursor},
        query::{FromQuery, KnownParams, Query},
    },
    state::AppState,
};

/// The headers with the cursors of the pages of newer and of older trades.
const NEWER: &str = "cb-before";
const OLDER: &str = "cb-after";

/// The last trade, and the volume of the day before it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoinbaseTicker {
    /// Absent where the trade is so old that only its price is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    trade_id: Option<TradeId>,
    #[schema(example = "6804.91")]
    price: String,
    /// Absent where the source reports none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0.25")]
    size: Option<String>,
    time: Timestamp,
    /// The sum of the sizes of 24 hours, in whole minutes.
    #[schema(example = "12.5")]
    volume: String,
}

/// What a product did in the day before its last trade.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoinbaseStats {
    /// The price that the change of the day is measured from; absent when none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "6700.5")]
    open: Option<String>,
    #[schema(example = "6900")]
    high: String,
    #[schema(example = "6650.01")]
    low: String,
    #[schema(example = "6804.91")]
    last: String,
    #[schema(example = "12.5")]
    volume: String,
}

/// A trade of a product. Its side is not known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoinbaseTrade {
    trade_id: TradeId,
    #[schema(example = "0.25")]
    size: String,
    #[schema(example = "6804.91")]
    price: String,
    time: Timestamp,
}

impl CoinbaseTrade {
    /// Returns a tick as a trade; none of a quote or a poll.
    fn new(tick: TickRow<'_>) -> Option<Self> {
        let size = tick.size.filter(|_| tick.kind == TickKind::Trade)?;
        Some(Self {
            trade_id: TradeId::new(tick.trade_id.to_string()),
            size: size.to_string(),
            price: tick.price.to_string(),
            time: tick.at,
        })
    }
}

/// The page of trades that a request asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TradeParams {
    /// The largest number of trades on the page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: u16,
    /// The header `CB-AFTER` of a page: only trades that are older than those on it.
    #[param(inline)]
    after: Option<HistoryCursor>,
    /// The header `CB-BEFORE` of a page: only trades that are newer than those on it.
    #[param(inline)]
    before: Option<HistoryCursor>,
}

impl FromQuery for TradeParams {
    fn from_query(query: &mut Query) -> Option<Self> {
        Some(Self { limit: query.limit(), after: query.optional("after"), before: query.optional("before") })
    }
}

/// Get the last trade of a product
#[utoipa::path(
    get, path = "/compat/coinbase/products/{product_id}/ticker", tag = "coinbase", operation_id = "coinbase_ticker",
    params(("product_id" = Symbol, Path, description = "The symbol of the product", example = "BTC-USD"), IfNoneMatch),
    responses((status = 200, body = CoinbaseTicker), NotModified, CoinbaseErrors),
)]
pub(crate) async fn ticker(
    State(state): State<AppState>,
    ProductPath(symbol): ProductPath,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let latest = state.latest_prices.read(&state.store, &symbol).await?.ok_or_else(unknown_symbol)?;
    let DayRange { volume, .. } = products::day_range(&state.store, &latest).await?;
    let newest = TickRange { venue: Some(latest.venue), from: None, to: None, limit: 1 };
    let ticks = tick_list::read(&state.store, &symbol, &newest, SortOrder::Descending, None).await?;
    let ticker = match ticks.iter().next().transpose()? {
        // It may be a moment older than the latest price: what is shown together belongs to one trade.
        Some(tick) => CoinbaseTicker {
            trade_id: Some(TradeId::new(tick.trade_id.to_string())),
            price: tick.price.to_string(),
            size: tick.size.map(|size| size.to_string()),
            time: tick.at,
            volume,
        },
        // Ticks are dropped when they are old; the latest price stays.
        None => CoinbaseTicker { trade_id: None, price: latest.price.to_string(), size: None, time: latest.at, volume },
    };
    Ok(Tagged::of(&ticker)?.answer(&condition))
}

/// Get the last day of a product
///
/// The day ends with the last trade. Its highest and lowest price are those of whole minutes.
#[utoipa::path(
    get, path = "/compat/coinbase/products/{product_id}/stats", tag = "coinbase", operation_id = "coinbase_stats",
    params(("product_id" = Symbol, Path, description = "The symbol of the product", example = "BTC-USD"), IfNoneMatch),
    responses((status = 200, body = CoinbaseStats), NotModified, CoinbaseErrors),
)]
pub(crate) async fn stats(
    State(state): State<AppState>,
    ProductPath(symbol): ProductPath,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let latest = state.latest_prices.read(&state.store, &symbol).await?.ok_or_else(unknown_symbol)?;
    let DayRange { high, low, volume } = products::day_range(&state.store, &latest).await?;
    let open = latest.day_ago.map(|(price, _)| price.to_string());
    let stats = CoinbaseStats { open, high, low, last: latest.price.to_string(), volume };
    Ok(Tagged::of(&stats)?.answer(&condition))
}

/// List the trades of a product
///
/// The newest come first. The headers `CB-AFTER` and `CB-BEFORE` have the cursors of the pages of older and of newer trades.
#[utoipa::path(
    get, path = "/compat/coinbase/products/{product_id}/trades", tag = "coinbase", operation_id = "coinbase_trades",
    params(("product_id" = Symbol, Path, description = "The symbol of the product", example = "BTC-USD"), TradeParams, IfNoneMatch),
    responses((status = 200, body = [CoinbaseTrade]), NotModified, CoinbaseErrors),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    ProductPath(symbol): ProductPath,
    KnownParams(params): KnownParams<TradeParams>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let market = find_market(&state, &symbol).await?;
    let newer_than = params.before.map(|ListCursor(cursor)| cursor);
    let from = newer_than.map(|cursor| cursor.at);
    let range = TickRange { venue: Some(market.venue), from, to: None, limit: i64::from(params.limit) };
    let older_than = params.after.map(|ListCursor(cursor)| cursor);
    let ticks = tick_list::read(&state.store, &symbol, &range, SortOrder::Descending, older_than).await?;
    let mut trades = Vec::with_capacity(ticks.len());
    let (mut first, mut last) = (None, None);
    for tick in ticks.iter() {
        let tick = tick?;
        // Others of the same time may be older than the cursor.
        if newer_than.is_some_and(|cursor| (tick.at, tick.position) <= (cursor.at, cursor.position)) {
            break;
        }
        let cursor: HistoryCursor = ListCursor(tick_list::TickCursor { at: tick.at, position: tick.position });
        first = first.or(Some(cursor));
        last = Some(cursor);
        trades.extend(CoinbaseTrade::new(tick));
    }
    let mut response = Tagged::of(&trades)?.answer(&condition);
    for (name, cursor) in [(NEWER, first), (OLDER, last)] {
        if let Some(value) = cursor.and_then(|cursor| HeaderValue::from_str(&cursor.encode()).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
