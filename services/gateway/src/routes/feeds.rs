//! `/v1/feeds`: the symbols that are followed at exchanges, how that goes, and what an operator changes of it.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, request::Parts},
};
use events::{Symbol, Timestamp, Venue};
use serde::Serialize;
use store::feeds::{
    followed::{self, AddedFeed, DesiredState},
    progress,
    status::{self, FeedStatus, FeedWord},
};
use tracing::info;
use utoipa::ToSchema;

use crate::{
    auth::OperatorRole,
    http::problem::{FieldError, Problem, ProblemKind, ProblemResponses},
    request::{extract::JsonBody, json_body::Fields, query::QueryParams, symbol::SymbolInput},
    routes::page::Page,
    state::AppState,
};

/// A symbol that is followed at an exchange.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Feed {
    venue: Venue,
    symbol: Symbol,
    state: FeedState,
    /// Why it is not live, in the words of the exchange where it refuses the symbol; null where it is live.
    #[schema(example = "the venue has closed the connection")]
    detail: Option<String>,
    /// The time of the last trade; null before the first.
    last_trade_at: Option<Timestamp>,
    /// The number of trades of the last minute.
    trades_per_minute: u64,
    /// The number of gaps that are neither filled nor given up.
    open_gaps: u64,
    /// The time of the last trade before the oldest of them; null without one.
    gap_from: Option<Timestamp>,
}

impl From<FeedStatus> for Feed {
    fn from(feed: FeedStatus) -> Self {
        let (state, detail) = (feed.state().into(), feed.detail().map(str::to_owned));
        let FeedStatus { venue, symbol, last_trade_at, trades_per_minute, open_gaps, gap_from, .. } = feed;
        Self { venue, symbol, state, detail, last_trade_at, trades_per_minute, open_gaps, gap_from }
    }
}

/// `live`: trades arrive as they happen. `stale`: the connection is alive, and no trade has arrived for long. `down`: no process
/// follows the exchange.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum FeedState {
    Starting,
    Live,
    Stale,
    Reconnecting,
    Refused,
    Paused,
    Down,
}

impl From<FeedWord> for FeedState {
    fn from(word: FeedWord) -> Self {
        match word {
            FeedWord::Paused => Self::Paused,
            FeedWord::Down => Self::Down,
            FeedWord::Reported(progress::FeedState::Starting) => Self::Starting,
            FeedWord::Reported(progress::FeedState::Live) => Self::Live,
            FeedWord::Reported(progress::FeedState::Stale) => Self::Stale,
            FeedWord::Reported(progress::FeedState::Reconnecting) => Self::Reconnecting,
            FeedWord::Reported(progress::FeedState::Refused) => Self::Refused,
        }
    }
}

/// A symbol to follow at an exchange.
#[derive(ToSchema)]
struct FeedRequest {
    venue: Venue,
    symbol: SymbolInput,
    /// `true` pauses the feed, `false` follows it, which is the default. What happens while it is paused is fetched later.
    paused: Option<bool>,
}

impl FeedRequest {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let (venue, symbol) = (fields.required("venue"), fields.required("symbol"));
        let paused = fields.optional::<Option<bool>>("paused").flatten();
        let (venue, symbol) = fields.all(venue.zip(symbol))?;
        Ok(Self { venue, symbol, paused })
    }
}

/// The parts `{venue}` and `{symbol}` of a path.
pub(crate) struct FeedPath(Venue, Symbol);

impl<S: Send + Sync> FromRequestParts<S> for FeedPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let (venue, symbol) = path.map(|Path(names)| names).unwrap_or_default();
        let parameter = |name: &str, error: String| Problem::invalid(vec![FieldError::parameter(name, error)]);
        let venue = Venue::parse(&venue).map_err(|error| parameter("venue", error.to_string()))?;
        let symbol = Symbol::from_spelling(&symbol).map_err(|error| parameter("symbol", error.to_string()))?;
        Ok(Self(venue, symbol))
    }
}

/// List feeds
///
/// The answer has every symbol that is followed at an exchange, sorted by exchange and symbol and on one page.
#[utoipa::path(
    get, path = "/v1/feeds", tag = "prices", operation_id = "list_feeds",
    responses((status = 200, body = Page<Feed>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    QueryParams(()): QueryParams<()>,
) -> Result<Json<Page<Feed>>, Problem> {
    Ok(Json(Page::whole(status::list(&state.store, None).await?)))
}

/// Follow a symbol, or pause it
///
/// Only operators may do this. The exchange must list the symbol. The status is 201 when the symbol was not there before.
#[utoipa::path(
    post, path = "/v1/feeds", tag = "prices", operation_id = "follow_feed",
    request_body(content = FeedRequest, content_type = "application/json",
        example = json!({"venue": "coinbase", "symbol": "BTC-USD"})),
    security(("session" = [])),
    responses(
        (status = 201, body = Feed, description = "The symbol is followed from now on"),
        (status = 200, body = Feed, description = "The symbol was there before"),
        ProblemResponses,
    ),
)]
pub(crate) async fn follow(
    State(state): State<AppState>,
    OperatorRole(caller): OperatorRole,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Feed>), Problem> {
    let FeedRequest { venue, symbol: SymbolInput(symbol), paused } = FeedRequest::read(&body)?;
    let added = followed::add(&state.store, &venue, &symbol).await?;
    if let Some(refusal) = added.refusal(&venue, &symbol) {
        let pointer = if matches!(added, AddedFeed::UnknownVenue(_)) { "/venue" } else { "/symbol" };
        return Err(Problem::invalid(vec![FieldError::body(pointer, refusal)]));
    }
    let desired = if paused == Some(true) { DesiredState::Paused } else { DesiredState::Followed };
    followed::set(&state.store, &venue, &symbol, desired).await?;
    info!(operator = %caller.user_id, %venue, %symbol, ?desired, "an operator has changed a feed");
    let feeds = status::list(&state.store, Some(&venue)).await?;
    let feed = feeds.into_iter().find(|feed| feed.symbol == symbol).ok_or_else(|| not_followed(&venue, &symbol))?;
    let status = if added == AddedFeed::New { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(feed.into())))
}

/// Stop to follow a symbol
///
/// Only operators may do this. What is missing of it stays missing; its history stays.
#[utoipa::path(
    delete, path = "/v1/feeds/{venue}/{symbol}", tag = "prices", operation_id = "remove_feed",
    params(("venue" = Venue, Path, description = "The name of the exchange", example = "coinbase"),
        ("symbol" = Symbol, Path, description = "The name of the symbol", example = "BTC-USD")),
    security(("session" = [])),
    responses((status = 204, description = "The symbol is not followed any more"), ProblemResponses),
)]
pub(crate) async fn remove(
    State(state): State<AppState>,
    OperatorRole(caller): OperatorRole,
    FeedPath(venue, symbol): FeedPath,
) -> Result<StatusCode, Problem> {
    match followed::remove(&state.store, &venue, &symbol).await? {
        true => {
            info!(operator = %caller.user_id, %venue, %symbol, "an operator has removed a feed");
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(not_followed(&venue, &symbol)),
    }
}

fn not_followed(venue: &Venue, symbol: &Symbol) -> Problem {
    let detail = format!("{symbol} is not followed at {venue}; GET /v1/feeds lists what is.");
    Problem::new(ProblemKind::NotFound, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_named_by_exchange_and_symbol() {
        let request = FeedRequest::read(br#"{"venue": "coinbase", "symbol": "BTC/USD"}"#).expect("a request");
        assert_eq!((request.venue.as_str(), request.symbol.0.as_str()), ("coinbase", "BTC-USD"));
        assert_eq!(request.paused, None);
        for (body, at) in [
            ("{}", &["/venue", "/symbol"][..]),
            (r#"{"venue": "Coinbase!", "symbol": "btcusdt"}"#, &["/venue", "/symbol"]),
            (r#"{"venue": "okx", "symbol": "BTC-USDT", "paused": "yes"}"#, &["/paused"]),
            (r#"{"venue": "okx", "symbol": "BTC-USDT", "state": "live"}"#, &["/state"]),
        ] {
            let problem = FeedRequest::read(body.as_bytes()).err().expect(body);
            let written: serde_json::Value = serde_json::from_slice(&problem.to_json("")).expect("JSON");
            let errors = written["errors"].as_array().expect("errors");
            let found: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
            assert_eq!(found, at, "{body}");
        }
    }
}
