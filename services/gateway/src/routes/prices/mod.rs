//! `/v1/prices`: the latest prices, the price history, and candles.

mod completeness;
pub(super) mod download;
mod history_gaps;
mod json;

use std::str::FromStr;

use axum::{extract::State, response::Response};
use events::{Interval, Symbol, Timestamp, Venue};
use platform::clock;
use store::{
    feeds::gaps,
    market::{
        candle_list::{self, CandlePage, CandleRange},
        queries,
        tick_list::{self, SortOrder, TickRange},
    },
};
use utoipa::{IntoParams, ToSchema};

use self::{
    completeness::{CandleLine, PageSpan, UnknownCandles},
    history_gaps::HistoryPage,
    json::CandleView,
};
use crate::{
    http::{
        problem::{Problem, ProblemKind, ProblemResponses},
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    market::{
        candle_pages::{Changes, PageKey},
        latest_prices::LatestPrice,
    },
    request::{
        cursor::{CandleCursor, HistoryCursor, ListCursor, PriceCursor},
        extract::SymbolPath,
        query::{FromQuery, ListQuery, Query, QueryParams},
        symbol::find_quote,
    },
    routes::page::Page,
    state::AppState,
};

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
    /// `include` also answers the gaps in the trades of the page.
    #[param(value_type = Option<UnknownCandles>, inline)]
    gaps: Option<UnknownCandles>,
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
        let gaps = query.optional("gaps");
        Some(Self { filter: HistoryFilter { venue, from, to, order, gaps }, list })
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
    /// `include` also answers the intervals without ticks in which trades are missing, with `completeness: "unknown"`.
    #[param(value_type = Option<UnknownCandles>, inline)]
    gaps: Option<UnknownCandles>,
}

impl FromQuery for CandleFilter {
    fn from_query(query: &mut Query) -> Option<Self> {
        let interval = query.required("interval");
        let venue = query.optional("venue");
        let (from, to) = time_range(query);
        let gaps = query.optional("gaps");
        Some(Self { interval: interval?, venue, from, to, gaps })
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
    get, path = "/v1/prices", tag = "prices", operation_id = "list_prices", params(ListQuery<PriceCursor>, IfNoneMatch),
    responses((status = 200, body = Page<LatestPrice>), NotModified, ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    QueryParams(list): QueryParams<ListQuery<PriceCursor>>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let after = list.cursor.as_ref().map(|ListCursor(symbol)| symbol);
    let prices = state.latest_prices.list(&state.store, after, usize::from(list.limit) + 1).await?;
    let page = json::page(prices.into_iter().map(Ok::<_, Problem>), list.limit)?;
    Ok(Tagged::new(page).answer(&condition))
}

/// Get the latest price of a symbol
///
/// The price is that of the symbol's primary venue. It may be shown before the price history has it.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}", tag = "prices", operation_id = "get_price",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD"), IfNoneMatch),
    responses((status = 200, body = LatestPrice), NotModified, ProblemResponses),
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
    QueryParams(()): QueryParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let prices = &state.latest_prices;
    if let Some(page) = prices.answer(&symbol) {
        return Ok(page.answer(&condition));
    }
    match prices.read(&state.store, &symbol).await? {
        Some(latest) => Ok(Tagged::of(&LatestPrice::from(latest))?.answer(&condition)),
        None => Err(not_quoted(&state, &symbol).await?),
    }
}

/// List the price history of a symbol
///
/// The answer has single ticks, the newest first by default.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/history", tag = "prices", operation_id = "list_history",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD"), HistoryFilter,
        ListQuery<HistoryCursor>, IfNoneMatch),
    responses((status = 200, body = HistoryPage), NotModified, ProblemResponses),
)]
pub(crate) async fn history(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
    QueryParams(query): QueryParams<HistoryQuery>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let HistoryQuery { filter: HistoryFilter { venue, from, to, order, gaps }, list } = query;
    let range = TickRange { venue, from, to, limit: i64::from(list.limit) + 1 };
    let cursor = list.cursor.map(|ListCursor(cursor)| cursor);
    let ticks = tick_list::read(&state.store, &symbol, &range, order, cursor).await?;
    require_quoted(&state, &symbol, ticks.is_empty()).await?;
    let mut page = json::page(ticks.iter(), list.limit)?;
    if gaps.is_some() {
        let limit = usize::from(list.limit);
        let last = if ticks.len() > limit { ticks.iter().nth(limit - 1).transpose()? } else { None };
        let last = last.map(|tick| tick.at);
        history_gaps::add(&state, &mut page, (&symbol, &range), (order, cursor), last).await?;
    }
    Ok(Tagged::new(page).answer(&condition))
}

/// List the candles of a symbol
///
/// The oldest comes first. Intervals without ticks are left out, unless `gaps=include` asks for those in which trades are missing.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/candles", tag = "prices", operation_id = "list_candles",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD"), CandleFilter,
        ListQuery<CandleCursor>, IfNoneMatch),
    responses((status = 200, body = Page<CandleView>), NotModified, ProblemResponses),
)]
pub(crate) async fn candles(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
    QueryParams((filter, list)): QueryParams<(CandleFilter, ListQuery<CandleCursor>)>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let CandleFilter { interval, venue, from, to, gaps: unknown } = filter;
    let from = from.max(list.cursor.map(after_candle)).unwrap_or(Timestamp::EPOCH);
    let key = PageKey::new(interval, from, to.unwrap_or(Timestamp::LAST), list.limit);
    let Some(market) = state.progress.read((symbol.clone(), venue)).await? else {
        require_quoted(&state, &symbol, true).await?;
        return Ok(Tagged::new(candle_page(Vec::new(), list.limit)?).answer(&condition));
    };
    // Which intervals are unknown depends on the time, so such pages are not in memory.
    let changes = Changes::from(&market);
    if unknown.is_none()
        && let Some(page) = state.candle_pages.get(market.instrument, &key, changes)
    {
        return Ok(page.answer(&condition));
    }
    let PageKey { from, to, limit, .. } = key;
    let range = CandleRange { instrument: market.instrument, interval, from, to, limit: i64::from(limit) + 1 };
    let candles = candle_list::read_page(&state.store, range).await?;
    let span = PageSpan::new(&key, &candles, clock::now());
    let missed = match market.gap_changes {
        0 => Vec::new(),
        _ => gaps::list(&state.store, (&symbol, &market.venue), (span.from, span.last_end)).await?,
    };
    let lines = completeness::lines(&candles, interval, &missed)?;
    if unknown.is_some() {
        let lines = completeness::with_unknown(lines.collect::<Result<_, _>>()?, &key, span, &missed);
        return Ok(Tagged::new(candle_page(lines, limit)?).answer(&condition));
    }
    let page = Tagged::new(json::page(lines, limit)?);
    if market.newest_at.is_some_and(|newest_at| has_closed(&candles, &key, newest_at)) {
        state.candle_pages.keep((&symbol, &market.venue), market.instrument, key, changes, page.clone());
    }
    Ok(page.answer(&condition))
}

fn candle_page(lines: Vec<CandleLine<'_>>, limit: u16) -> Result<Vec<u8>, Problem> {
    json::page(lines.into_iter().map(Ok), limit)
}

/// Returns whether every interval of a page has closed: its market has a tick that is not before its end. Nothing but a late tick,
/// or a gap that is opened or filled, changes the page then.
fn has_closed(candles: &CandlePage, key: &PageKey, newest_at: Timestamp) -> bool {
    let open = newest_at.floor(key.interval);
    let is_full = candles.len() > usize::from(key.limit);
    let last = if is_full { candles.start(usize::from(key.limit) - 1) } else { None };
    key.to <= open || last.is_some_and(|last| last < open)
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
