//! `/v1/prices`: the latest prices, the price history, and candles.

use std::str::FromStr;

use axum::{Json, extract::State};
use events::{Interval, Price, Size, Symbol, Timestamp, Venue, money::change_percent};
use rust_decimal::Decimal;
use serde::Serialize;
use store::market::queries::{self, Candle, Latest, Range, SortOrder, TickCursor, TickRecord};
use utoipa::{IntoParams, ToSchema};

use crate::{
    http::problem::{Problem, ProblemKind, ProblemResponses},
    request::{
        cursor::{CandleCursor, HistoryCursor, ListCursor, PriceCursor},
        extract::SymbolPath,
        query::{FromQuery, ListQuery, Query, QueryParams},
        symbol::find_quote,
    },
    routes::page::Page,
    state::AppState,
};

/// The latest price of a symbol, at its primary venue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestPrice {
    symbol: Symbol,
    venue: Venue,
    price: Price,
    /// The time of the tick.
    at: Timestamp,
    /// The change in percent since the last price that was between 24 and 25 hours older, to 4 decimal places; null when none
    /// is known.
    #[schema(value_type = Option<String>, example = "-1.2345")]
    change_24h_percent: Option<Decimal>,
    /// The time of the price that the change is measured from; null when none is known.
    change_24h_since: Option<Timestamp>,
}

impl From<Latest> for LatestPrice {
    fn from(latest: Latest) -> Self {
        let Latest { symbol, venue, price, at, day_ago } = latest;
        let change_24h_percent = day_ago.map(|(reference, _)| change_percent(price, reference));
        Self { symbol, venue, price, at, change_24h_percent, change_24h_since: day_ago.map(|(_, at)| at) }
    }
}

/// A tick of one venue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tick {
    venue: Venue,
    /// The time of the tick.
    at: Timestamp,
    price: Price,
    /// The traded quantity in the base asset; null for quotes and polls.
    size: Option<Size>,
    /// `trade`, `quote` or `poll`.
    #[schema(example = "trade")]
    kind: &'static str,
    /// The trade id of the venue, or one that is derived from time, price and size.
    #[schema(example = "123456")]
    trade_id: String,
    /// The sequence in the stream `TICKS` of the page that has the tick.
    stream_sequence: u64,
    /// The index of the tick in its page.
    stream_index: u16,
}

impl From<TickRecord> for Tick {
    fn from(TickRecord { venue, trade_id, position, price, size, at, kind }: TickRecord) -> Self {
        let (stream_sequence, stream_index) = (position.sequence, position.index);
        Self { venue, at, price, size, kind: kind.as_str(), trade_id, stream_sequence, stream_index }
    }
}

/// A candle: the ticks of one interval.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Candle)]
pub(crate) struct CandleView {
    /// The start of the interval, in UTC.
    start: Timestamp,
    open: Price,
    high: Price,
    low: Price,
    close: Price,
    /// The exact sum of the traded quantities, in the base asset.
    #[schema(example = "12.5")]
    volume: String,
    /// The number of ticks.
    trades: i64,
}

impl From<Candle> for CandleView {
    fn from(Candle { start, open, high, low, close, volume, trades }: Candle) -> Self {
        Self { start, open, high, low, close, volume, trades }
    }
}

/// The filter of a list of ticks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryFilter {
    /// Only ticks of this venue; without it, those of all venues.
    #[param(inline)]
    venue: Option<Venue>,
    /// Only ticks at or after this time.
    #[param(value_type = Option<String>, format = DateTime, pattern = "^(19[7-9]|[2-9][0-9]{2})[0-9]-", example = "2018-04-05T00:00:00Z")]
    from: Option<Timestamp>,
    /// Only ticks before this time.
    #[param(value_type = Option<String>, format = DateTime, pattern = "^(19[7-9]|[2-9][0-9]{2})[0-9]-", example = "2018-04-06T00:00:00Z")]
    to: Option<Timestamp>,
    /// `asc` for the oldest first, `desc` for the newest first, which is the default.
    #[param(value_type = Option<SortDirection>, inline)]
    order: SortOrder,
}

/// A page of ticks in one of the two orders.
pub(crate) struct HistoryQuery {
    filter: HistoryFilter,
    list: ListQuery<HistoryCursor>,
}

impl FromQuery for HistoryQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let order = query.optional("order").map_or(SortOrder::Descending, SortDirection::order);
        let list = ListQuery::<HistoryCursor>::from_query(query)?;
        let venue = query.optional("venue");
        let (from, to) = time_range(query);
        Some(Self { filter: HistoryFilter { venue, from, to, order }, list })
    }
}

/// The order of a list by time.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum SortDirection {
    Asc,
    Desc,
}

impl SortDirection {
    fn order(self) -> SortOrder {
        match self {
            Self::Asc => SortOrder::Ascending,
            Self::Desc => SortOrder::Descending,
        }
    }
}

impl FromStr for SortDirection {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "asc" => Ok(Self::Asc),
            "desc" => Ok(Self::Desc),
            _ => Err("must be asc or desc"),
        }
    }
}

/// The filter of a list of candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandleFilter {
    /// The width of a candle.
    #[param(inline)]
    interval: Interval,
    /// Only ticks of this venue; without it, those of the primary venue.
    #[param(inline)]
    venue: Option<Venue>,
    /// Only candles that start at or after this time.
    #[param(value_type = Option<String>, format = DateTime, pattern = "^(19[7-9]|[2-9][0-9]{2})[0-9]-", example = "2018-04-05T00:00:00Z")]
    from: Option<Timestamp>,
    /// Only candles that start before this time.
    #[param(value_type = Option<String>, format = DateTime, pattern = "^(19[7-9]|[2-9][0-9]{2})[0-9]-", example = "2018-04-06T00:00:00Z")]
    to: Option<Timestamp>,
}

impl FromQuery for CandleFilter {
    fn from_query(query: &mut Query) -> Option<Self> {
        let interval = query.required("interval");
        let venue = query.optional("venue");
        let (from, to) = time_range(query);
        Some(Self { interval: interval?, venue, from, to })
    }
}

/// Reads `from` and `to`. A range that ends before it begins is an error; an empty one is not.
fn time_range(query: &mut Query) -> (Option<Timestamp>, Option<Timestamp>) {
    let (from, to) = (query.time("from"), query.time("to"));
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        query.reject("from", "must not be after to");
    }
    (from, to)
}

/// Returns the first instant at which a candle behind the one that starts at `start` can start.
fn after_candle(ListCursor(start): CandleCursor) -> Timestamp {
    Timestamp::from_micros(start.micros() + 1).unwrap_or(Timestamp::LAST)
}

/// List latest prices
///
/// The answer has the latest price of every symbol at its primary venue, sorted by symbol.
#[utoipa::path(
    get, path = "/v1/prices", tag = "prices", operation_id = "list_prices", params(ListQuery<PriceCursor>),
    responses((status = 200, body = Page<LatestPrice>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    QueryParams(list): QueryParams<ListQuery<PriceCursor>>,
) -> Result<Json<Page<LatestPrice>>, Problem> {
    let after = list.cursor.as_ref().map(|ListCursor(symbol)| symbol);
    let prices = queries::list_latest(&state.store, after, i64::from(list.limit) + 1).await?;
    Ok(Json(Page::new(prices, list.limit, |latest| -> PriceCursor { ListCursor(latest.symbol.clone()) })))
}

/// Get the latest price of a symbol
///
/// The price is that of the symbol's primary venue.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}", tag = "prices", operation_id = "get_price",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD")),
    responses((status = 200, body = LatestPrice), ProblemResponses),
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
    QueryParams(()): QueryParams<()>,
) -> Result<Json<LatestPrice>, Problem> {
    match queries::latest(&state.store, &symbol).await? {
        Some(latest) => Ok(Json(latest.into())),
        None => Err(not_quoted(&state, &symbol).await?),
    }
}

/// List the price history of a symbol
///
/// The answer has single ticks, the newest first by default.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/history", tag = "prices", operation_id = "list_history",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD"), HistoryFilter,
        ListQuery<HistoryCursor>),
    responses((status = 200, body = Page<Tick>), ProblemResponses),
)]
pub(crate) async fn history(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
    QueryParams(query): QueryParams<HistoryQuery>,
) -> Result<Json<Page<Tick>>, Problem> {
    let HistoryQuery { filter: HistoryFilter { venue, from, to, order }, list } = query;
    let range = Range { venue, from, to, limit: i64::from(list.limit) + 1 };
    let cursor = list.cursor.map(|ListCursor(cursor)| cursor);
    let ticks = queries::list_ticks(&state.store, &symbol, &range, order, cursor).await?;
    require_quoted(&state, &symbol, ticks.is_empty()).await?;
    let cursor_behind =
        |tick: &TickRecord| -> HistoryCursor { ListCursor(TickCursor { at: tick.at, position: tick.position }) };
    Ok(Json(Page::new(ticks, list.limit, cursor_behind)))
}

/// List the candles of a symbol
///
/// The oldest comes first. Intervals without ticks are left out.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/candles", tag = "prices", operation_id = "list_candles",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD"), CandleFilter,
        ListQuery<CandleCursor>),
    responses((status = 200, body = Page<CandleView>), ProblemResponses),
)]
pub(crate) async fn candles(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
    QueryParams((filter, list)): QueryParams<(CandleFilter, ListQuery<CandleCursor>)>,
) -> Result<Json<Page<CandleView>>, Problem> {
    let CandleFilter { interval, venue, from, to } = filter;
    let range = Range { venue, from: from.max(list.cursor.map(after_candle)), to, limit: i64::from(list.limit) + 1 };
    let candles = queries::list_candles(&state.store, &symbol, interval, &range).await?;
    require_quoted(&state, &symbol, candles.is_empty()).await?;
    Ok(Json(Page::new(candles, list.limit, |candle| -> CandleCursor { ListCursor(candle.start) })))
}

/// Distinguishes a symbol without prices in a range from one that no venue has quoted; the store is only asked when
/// nothing was found.
async fn require_quoted(state: &AppState, symbol: &Symbol, nothing: bool) -> Result<(), Problem> {
    if nothing && !queries::is_quoted(&state.store, symbol).await? {
        Err(not_quoted(state, symbol).await?)
    } else {
        Ok(())
    }
}

/// Returns the problem of a symbol without prices. It says so where the symbol cannot have any, like `BRK-B`.
async fn not_quoted(state: &AppState, symbol: &Symbol) -> Result<Problem, Problem> {
    let detail = match find_quote(&state.store, symbol).await? {
        Ok(()) => format!("No venue has quoted {symbol} yet; GET /v1/prices lists what is quoted."),
        Err(error) => format!("No venue quotes {symbol}; it {error}."),
    };
    Ok(Problem::new(ProblemKind::NotFound, detail))
}
