//! `/v1/prices`: the newest, the past, and candles.

use axum::{Json, extract::State};
use events::{Interval, Price, Size, Symbol, Timestamp, Venue};
use rust_decimal::Decimal;
use serde::Serialize;
use std::str::FromStr;
use store::market::queries::{self, Candle, Latest, Range, SortOrder, TickCursor, TickRecord};
use utoipa::{IntoParams, ToSchema};

use crate::{
    App,
    extract::{FromQuery, Params, SymbolName},
    openapi::ProblemResponses,
    problem::{Kind, Problem},
    query::{CandlePlace, Given, Query, SymbolPlace, TickPlace, page},
    schemas::{IntervalDoc, OrderDoc},
};

/// The newest price of a symbol, at its primary venue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestPrice {
    #[schema(value_type = String, example = "BTC-USD")]
    symbol: Symbol,
    #[schema(value_type = String, example = "coinbase")]
    venue: Venue,
    #[schema(value_type = String, example = "6804.91")]
    price: Price,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// In percent, to 4 places, against the last price 24 hours before; null without one.
    #[schema(value_type = Option<String>, example = "-1.2345")]
    change_24h_percent: Option<Decimal>,
}

impl From<Latest> for LatestPrice {
    fn from(Latest { symbol, venue, price, at, change_24h_percent }: Latest) -> Self {
        Self { symbol, venue, price, at, change_24h_percent }
    }
}

/// A page of newest prices.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestPricePage {
    items: Vec<LatestPrice>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// One tick.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastPrice {
    #[schema(value_type = String, example = "coinbase")]
    venue: Venue,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[schema(value_type = String, example = "6804.91")]
    price: Price,
    /// How much was traded; null for quotes and polls.
    #[schema(value_type = Option<String>, example = "0.25")]
    size: Option<Size>,
    /// `trade`, `quote` or `poll`.
    #[schema(example = "trade")]
    kind: String,
    /// The venue's own number for it, or one made from its time, price and size.
    #[schema(example = "123456")]
    trade_id: String,
    /// Where it is in stream `TICKS`.
    stream_sequence: u64,
}

impl From<TickRecord> for PastPrice {
    fn from(TickRecord { venue, trade_id, sequence, price, size, at, kind }: TickRecord) -> Self {
        Self { venue, at, price, size, kind, trade_id, stream_sequence: sequence }
    }
}

/// A page of ticks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastPricePage {
    items: Vec<PastPrice>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// The ticks of one interval.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Candle)]
pub(crate) struct CandleView {
    /// The start of the interval.
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    #[schema(value_type = String, example = "6790.00")]
    open: Price,
    #[schema(value_type = String, example = "6804.91")]
    high: Price,
    #[schema(value_type = String, example = "6788.10")]
    low: Price,
    #[schema(value_type = String, example = "6801.55")]
    close: Price,
    /// The sum of sizes.
    #[schema(value_type = String, example = "12.5")]
    volume: Decimal,
    /// How many ticks.
    trades: i64,
}

impl From<Candle> for CandleView {
    fn from(Candle { start, open, high, low, close, volume, trades }: Candle) -> Self {
        Self { start, open, high, low, close, volume, trades }
    }
}

/// A page of candles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CandlePage {
    items: Vec<CandleView>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which symbols.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LatestQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<SymbolPlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: u16,
}

impl FromQuery for LatestQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let cursor = query.optional("cursor").map(|Given(place)| place);
        Some(Self { cursor, limit: query.limit() })
    }
}

/// Which ticks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// One venue's; else all venues'.
    #[param(value_type = Option<String>, example = "coinbase")]
    venue: Option<Venue>,
    /// From this time on.
    #[param(value_type = Option<String>, format = DateTime, example = "2018-04-05T00:00:00Z")]
    from: Option<Timestamp>,
    /// Before this time.
    #[param(value_type = Option<String>, format = DateTime, example = "2018-04-06T00:00:00Z")]
    to: Option<Timestamp>,
    /// Oldest or newest first; newest when it is not said.
    #[param(value_type = Option<OrderDoc>, inline)]
    order: SortOrder,
    /// The `next_cursor` of the page before, with the same other parameters.
    #[param(value_type = Option<String>)]
    cursor: Option<TickCursor>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: u16,
}

impl FromQuery for HistoryQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let order = query.optional("order").map_or(SortOrder::Descending, |Direction(order)| order);
        let cursor = match query.optional("cursor") {
            Some(Given(TickPlace(made_for, cursor))) if made_for == order => Some(cursor),
            Some(_) => {
                query.refuse("cursor", "belongs to a list in the other order");
                None
            }
            None => None,
        };
        let venue = query.optional("venue");
        let (from, to) = span(query);
        Some(Self { venue, from, to, order, cursor, limit: query.limit() })
    }
}

struct Direction(SortOrder);

impl FromStr for Direction {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "asc" => Ok(Self(SortOrder::Ascending)),
            "desc" => Ok(Self(SortOrder::Descending)),
            _ => Err("must be asc or desc"),
        }
    }
}

/// Which candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandleQuery {
    /// How wide a candle is.
    #[param(value_type = IntervalDoc, inline)]
    interval: Interval,
    /// One venue's; else the primary venue's.
    #[param(value_type = Option<String>, example = "coinbase")]
    venue: Option<Venue>,
    /// Candles that start at or after this time.
    #[param(value_type = Option<String>, format = DateTime, example = "2018-04-05T00:00:00Z")]
    from: Option<Timestamp>,
    /// Candles that start before this time.
    #[param(value_type = Option<String>, format = DateTime, example = "2018-04-06T00:00:00Z")]
    to: Option<Timestamp>,
    /// The `next_cursor` of the page before, with the same other parameters.
    #[param(value_type = Option<String>)]
    cursor: Option<CandlePlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: u16,
}

impl FromQuery for CandleQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let interval = query.required("interval");
        let venue = query.optional("venue");
        let (from, to) = span(query);
        let cursor = query.optional("cursor").map(|Given(place)| place);
        let limit = query.limit();
        Some(Self { interval: interval?, venue, from, to, cursor, limit })
    }
}

/// `from` and `to`; a span that ends before it begins is a mistake, an empty one is not.
fn span(query: &mut Query) -> (Option<Timestamp>, Option<Timestamp>) {
    let (from, to) = (query.time("from"), query.time("to"));
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        query.refuse("from", "must not be after to");
    }
    (from, to)
}

/// The newest price of every symbol
#[utoipa::path(
    get, path = "/v1/prices", tag = "prices", operation_id = "list_prices", params(LatestQuery),
    responses((status = 200, body = LatestPricePage), ProblemResponses),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Params(query): Params<LatestQuery>,
) -> Result<Json<LatestPricePage>, Problem> {
    let after = query.cursor.as_ref().map(|SymbolPlace(symbol)| symbol);
    let prices = queries::list_latest(&app.store, after, i64::from(query.limit) + 1).await?;
    let (prices, next_cursor) = page(prices, query.limit, |latest| SymbolPlace(latest.symbol.clone()));
    Ok(Json(LatestPricePage { items: prices.into_iter().map(LatestPrice::from).collect(), next_cursor }))
}

/// The newest price of a symbol
#[utoipa::path(
    get, path = "/v1/prices/{symbol}", tag = "prices", operation_id = "get_price",
    params(("symbol" = String, Path, description = "The symbol", example = "BTC-USD")),
    responses((status = 200, body = LatestPrice), ProblemResponses),
)]
pub(crate) async fn show(
    State(app): State<App>,
    SymbolName(symbol): SymbolName,
    Params(()): Params<()>,
) -> Result<Json<LatestPrice>, Problem> {
    match queries::latest(&app.store, &symbol).await? {
        Some(latest) => Ok(Json(latest.into())),
        None => Err(unknown(&symbol)),
    }
}

/// The ticks of a symbol
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/history", tag = "prices", operation_id = "list_history",
    params(("symbol" = String, Path, description = "The symbol", example = "BTC-USD"), HistoryQuery),
    responses((status = 200, body = PastPricePage), ProblemResponses),
)]
pub(crate) async fn history(
    State(app): State<App>,
    SymbolName(symbol): SymbolName,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<PastPricePage>, Problem> {
    let HistoryQuery { venue, from, to, order, cursor, limit } = query;
    let range = Range { venue, from, to, limit: i64::from(limit) + 1 };
    let ticks = queries::list_ticks(&app.store, &symbol, &range, order, cursor).await?;
    known(&app, &symbol, ticks.is_empty()).await?;
    let place = |tick: &TickRecord| TickPlace(order, TickCursor { at: tick.at, sequence: tick.sequence });
    let (ticks, next_cursor) = page(ticks, limit, place);
    Ok(Json(PastPricePage { items: ticks.into_iter().map(PastPrice::from).collect(), next_cursor }))
}

/// The candles of a symbol, oldest first
///
/// Intervals without ticks are left out.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/candles", tag = "prices", operation_id = "list_candles",
    params(("symbol" = String, Path, description = "The symbol", example = "BTC-USD"), CandleQuery),
    responses((status = 200, body = CandlePage), ProblemResponses),
)]
pub(crate) async fn candles(
    State(app): State<App>,
    SymbolName(symbol): SymbolName,
    Params(query): Params<CandleQuery>,
) -> Result<Json<CandlePage>, Problem> {
    let CandleQuery { interval, venue, from, to, cursor, limit } = query;
    let range = Range { venue, from: from.max(cursor.map(CandlePlace::next)), to, limit: i64::from(limit) + 1 };
    let candles = queries::list_candles(&app.store, &symbol, interval, &range).await?;
    known(&app, &symbol, candles.is_empty()).await?;
    let (candles, next_cursor) = page(candles, limit, |candle| CandlePlace(candle.start));
    Ok(Json(CandlePage { items: candles.into_iter().map(CandleView::from).collect(), next_cursor }))
}

/// Tells a symbol without prices in a span from one that nobody has quoted; asked only when nothing was found.
async fn known(app: &App, symbol: &Symbol, nothing: bool) -> Result<(), Problem> {
    if nothing && !queries::is_quoted(&app.store, symbol).await? { Err(unknown(symbol)) } else { Ok(()) }
}

fn unknown(symbol: &Symbol) -> Problem {
    Problem::new(Kind::NotFound, format!("No venue has quoted {symbol} yet; GET /v1/prices lists what is quoted."))
}
