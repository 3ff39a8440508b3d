//! `/v1/prices/{symbol}/history.csv` and `candles.csv`: any range as a file.
//!
//! Each page is a statement of its own, so that a slow reader holds no transaction; see [`crate::http::download`].

use std::time::Duration;

use axum::{Extension, extract::State, response::Response};
use events::{Interval, Symbol, Timestamp, Venue};
use platform::runtime::error::error_chain;
use store::{
    Store,
    market::{
        candle_list::{self, CandleRange},
        export::{TextFormat, TickSelection},
    },
};
use tick_history::{HistoryError, TickPage, TickPages};
use utoipa::IntoParams;

use super::{require_quoted, time_range};
use crate::{
    http::{
        download::{Ended, Reader, count_failure},
        problem::{FieldError, Problem, ProblemKind, ProblemResponses},
    },
    request::{
        extract::SymbolPath,
        headers::ReceivedAt,
        query::{FromQuery, Query, QueryParams},
    },
    state::AppState,
};

/// The rows of a page.
const PAGE: u16 = 5_000;
const FORMAT: TextFormat = TextFormat::Csv;

/// The range of a download.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DownloadFilter {
    /// Only ticks of this venue; without it, those of all venues.
    #[param(inline)]
    venue: Option<Venue>,
    /// Only ticks at or after this time.
    #[param(value_type = Option<String>, format = DateTime, pattern = "^(19[7-9]|[2-9][0-9]{2})[0-9]-", example = "2018-04-05T00:00:00Z")]
    from: Option<Timestamp>,
    /// Only ticks before this time.
    #[param(value_type = Option<String>, format = DateTime, pattern = "^(19[7-9]|[2-9][0-9]{2})[0-9]-", example = "2018-04-06T00:00:00Z")]
    to: Option<Timestamp>,
}

impl FromQuery for DownloadFilter {
    fn from_query(query: &mut Query) -> Option<Self> {
        let venue = query.optional("venue");
        let (from, to) = time_range(query);
        Some(Self { venue, from, to })
    }
}

/// The range of a download of candles.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandleDownloadFilter {
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

impl FromQuery for CandleDownloadFilter {
    fn from_query(query: &mut Query) -> Option<Self> {
        let interval = query.required("interval");
        let venue = query.optional("venue");
        let (from, to) = time_range(query);
        Some(Self { interval: interval?, venue, from, to })
    }
}

/// Download the price history of a symbol
///
/// The answer is CSV with a header: all ticks of the range, the oldest first. Ticks that the database has no more are read from the
/// archive; where no archive ever had them, the answer is a problem that names them. An answer that cannot be finished ends with an error of
/// its connection.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/history.csv", tag = "prices", operation_id = "download_history",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD"), DownloadFilter),
    responses((status = 200, description = "The ticks", body = String, content_type = "text/csv"), ProblemResponses),
)]
pub(crate) async fn history(
    State(state): State<AppState>,
    Extension(ReceivedAt(received_at)): Extension<ReceivedAt>,
    SymbolPath(symbol): SymbolPath,
    QueryParams(DownloadFilter { venue, from, to }): QueryParams<DownloadFilter>,
) -> Result<Response, Problem> {
    let download = state.downloads.begin()?;
    let (from, to) = (from.unwrap_or(Timestamp::EPOCH), to.unwrap_or(Timestamp::LAST));
    let selection = TickSelection { symbol: symbol.clone(), venue, from, to };
    // The first page is read here, so that what is wrong is a problem and no file.
    let mut pages = state.history.ticks(selection, PAGE).await?;
    let first = pages.next_within(archive_time(state.request_time).saturating_sub(received_at.elapsed())).await?;
    require_quoted(&state, &symbol, first.is_none()).await?;
    Ok(download.answer(&format!("{symbol}-ticks"), async move |reader: Reader| {
        write_ticks(pages, &symbol, first, &reader).await
    }))
}

/// Download the candles of a symbol
///
/// The answer is CSV with a header: all candles of the range, the oldest first. Intervals without ticks are left out.
#[utoipa::path(
    get, path = "/v1/prices/{symbol}/candles.csv", tag = "prices", operation_id = "download_candles",
    params(("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD"), CandleDownloadFilter),
    responses((status = 200, description = "The candles", body = String, content_type = "text/csv"), ProblemResponses),
)]
pub(crate) async fn candles(
    State(state): State<AppState>,
    SymbolPath(symbol): SymbolPath,
    QueryParams(CandleDownloadFilter { interval, venue, from, to }): QueryParams<CandleDownloadFilter>,
) -> Result<Response, Problem> {
    let download = state.downloads.begin()?;
    let market = state.progress.read((symbol.clone(), venue)).await?;
    require_quoted(&state, &symbol, market.is_none()).await?;
    let store = state.store.clone();
    Ok(download.answer(&format!("{symbol}-{interval}"), async move |reader: Reader| {
        let Some(market) = market else { return reader.take(FORMAT.candle_header().into()).await };
        let range = CandleRange {
            instrument: market.instrument,
            interval,
            from: from.unwrap_or(Timestamp::EPOCH),
            to: to.unwrap_or(Timestamp::LAST),
            limit: i64::from(PAGE),
        };
        write_candles(&store, (&market.venue, &symbol), range, &reader).await
    }))
}

/// Returns the part of the time of a request in which the archive must have given the first page. The rest is for saying that it has not,
/// before the request is given up by those who do not know why it took so long.
fn archive_time(request_time: Duration) -> Duration {
    request_time * 3 / 4
}

async fn write_ticks(
    mut pages: TickPages,
    symbol: &Symbol,
    first: Option<TickPage>,
    reader: &Reader,
) -> Result<(), Ended> {
    let (mut next, mut text) = (first, Vec::from(FORMAT.tick_header()));
    while let Some(page) = next {
        for tick in page.iter() {
            FORMAT.write_tick(symbol, &tick?, &mut text);
        }
        drop(page);
        reader.take(std::mem::take(&mut text)).await?;
        next = pages.next().await?;
    }
    // The header of a range without ticks.
    if text.is_empty() { Ok(()) } else { reader.take(text).await }
}

async fn write_candles(
    store: &Store,
    (venue, symbol): (&Venue, &Symbol),
    range: CandleRange,
    reader: &Reader,
) -> Result<(), Ended> {
    let (mut rest, mut text) = (Some(range), Vec::from(FORMAT.candle_header()));
    while let Some(range) = rest {
        let page = candle_list::read(store, range).await?;
        for candle in page.iter() {
            FORMAT.write_candle((venue.as_str(), symbol), range.interval, &candle?, &mut text);
        }
        rest = page.rest(range)?;
        drop(page);
        reader.take(std::mem::take(&mut text)).await?;
    }
    Ok(())
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        if is_failure(&error) {
            count_failure(&error);
        }
        match error {
            HistoryError::Database(error) => error.into(),
            HistoryError::Missing { from, to, why } => {
                let detail =
                    format!("must leave out {from} to {to}: these ticks are no longer in the database, and {why}");
                Self::invalid(vec![FieldError::parameter("from", detail)])
            }
            HistoryError::TooWide { markets: 2.., .. } => {
                Self::invalid(vec![FieldError::parameter("venue", format!("must be given: {error}"))])
            }
            HistoryError::Lost { from, to, .. } => {
                let detail = format!(
                    "The archive of the history lacks ticks from {from} to {to}, which it had. Until its files are restored, ask for a range \
                     without them."
                );
                let mut problem = Self::new(ProblemKind::Internal, detail);
                problem.cause = Some(error_chain(&error));
                problem
            }
            #[cfg(feature = "export")]
            HistoryError::Busy => {
                let detail = "Others download as much of the archive as there is memory for. Try again later.";
                Self::new(ProblemKind::Overloaded, detail)
            }
            HistoryError::Archive(_) => {
                let detail = "The archive of the history is not available now. Try again in a moment.";
                let mut problem = Self::new(ProblemKind::Unavailable, detail);
                problem.cause = Some(error_chain(&error));
                problem
            }
            other => Self::internal(error_chain(&other)),
        }
    }
}

/// Returns whether the database or the archive has failed; otherwise another request, or a later one, succeeds.
fn is_failure(error: &HistoryError) -> bool {
    match error {
        HistoryError::Missing { .. } => false,
        HistoryError::TooWide { markets, .. } => *markets < 2,
        #[cfg(feature = "export")]
        HistoryError::Busy => false,
        _ => true,
    }
}
