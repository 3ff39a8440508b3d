//! `/v1/stream`, `/v1/ws` and `/v1/stream-tickets`: prices, candles, gaps, and what belongs to a user, as it happens.

mod request;
mod sse;
pub(super) mod ws;
mod ws_client;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use events::{Period, Timestamp};
use platform::{ServiceError, http::server::ConnectionAbort, runtime::error::error_chain};
use serde::Serialize;
use tracing::warn;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    auth::{
        client_ip::ClientNetwork,
        invalid_token,
        stream_access::{StreamToken, TICKET_SECONDS},
    },
    http::problem::{Problem, ProblemKind, ProblemResponses},
    live::{
        clients::{End, QuotaKey, Transport},
        interest::{Interest, Viewer},
        subscription::{OpenError, Subscription},
    },
    request::query::{FromQuery, Query, QueryParams},
    routes::stream::request::StreamQuery,
    state::AppState,
};

/// Stream what happens
///
/// Server-sent events for as long as the client reads them. `event` is the channel, `data` the JSON that the AsyncAPI document
/// describes, and `id` an opaque cursor: a client that connects again with it in `Last-Event-ID` gets all that it has missed, and
/// first an event `resumed`. Where the streams do not hold that any more, an event `reset` says so. An event `end` comes before the
/// server ends the stream. Prices are conflated unless the request says otherwise; all other events are sent one by one.
#[utoipa::path(
    get, path = "/v1/stream", tag = "streams", operation_id = "stream", params(StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received, or `earliest`")),
    security((), ("manage_token" = []), ("session" = []), ("api_key" = ["read", "alerts"])),
    responses(
        (status = 200, description = "The events", content_type = "text/event-stream", body = String,
            headers(("Mercure-Last-Event-ID", description = "The id before the first event of the answer, or `earliest`"))),
        ProblemResponses,
    ),
)]
pub(crate) async fn stream(
    State(state): State<AppState>,
    QueryParams(query): QueryParams<StreamQuery>,
    ClientNetwork(network): ClientNetwork,
    abort: Option<Extension<ConnectionAbort>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let StreamQuery { channels, symbols, conflate: conflation, last_event_id, alert, ticket } = query;
    let token = token(&state, &headers, ticket.as_deref(), alert)?;
    let viewer = token.authorize(channels.iter().copied(), &state).await?;
    let quota_key = quota_key(viewer, network);
    let slot = state.clients.admit(quota_key, Transport::Sse, abort.map(|Extension(abort)| abort))?;
    let asked = request::asked(&headers, last_event_id);
    let resume = request::resume(asked.as_deref());
    let interest = Interest { channels, symbols, viewer, conflation };
    let subscription = Subscription::open(&state.hub, interest, resume).await.map_err(not_opened)?;
    Ok(sse::answer(state, token, slot, subscription, asked))
}

/// The alert that a ticket is for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TicketQuery {
    /// The alert whose `manage_token` is in the header `Authorization`.
    alert: Option<Uuid>,
}

impl FromQuery for TicketQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        Some(Self { alert: query.optional("alert") })
    }
}

/// A ticket for a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamTicket {
    /// The ticket, for the parameter `ticket` of a stream.
    ticket: String,
    /// The time until which it opens streams. A stream that is open goes on.
    expires_at: Timestamp,
}

/// Make a ticket for a stream
///
/// A web page cannot send a header with `EventSource` or `WebSocket`. A ticket has the rights of the token that it was made with,
/// for as long as that is valid, and opens streams for a minute.
#[utoipa::path(
    post, path = "/v1/stream-tickets", tag = "streams", operation_id = "create_stream_ticket", params(TicketQuery),
    security(("manage_token" = []), ("session" = []), ("api_key" = ["read", "alerts"])),
    responses((status = 201, body = StreamTicket), ProblemResponses),
)]
pub(crate) async fn create_ticket(
    State(state): State<AppState>,
    QueryParams(TicketQuery { alert }): QueryParams<TicketQuery>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<StreamTicket>), Problem> {
    let token = StreamToken::of(&headers, alert)?;
    token.authorize([], &state).await?;
    let expires_at = platform::clock::now().after(Period::seconds(TICKET_SECONDS));
    let ticket = token.ticket(&state, expires_at).ok_or_else(invalid_token)?;
    Ok((StatusCode::CREATED, Json(StreamTicket { ticket, expires_at })))
}

/// Reads the token of a request, which a ticket may stand for.
fn token(
    state: &AppState,
    headers: &HeaderMap,
    ticket: Option<&str>,
    alert: Option<Uuid>,
) -> Result<StreamToken, Problem> {
    let Some(ticket) = ticket else { return StreamToken::of(headers, alert) };
    StreamToken::from_ticket(ticket, state, platform::clock::now()).ok_or_else(|| {
        let detail = "The ticket is not valid or has expired. Make another one with POST /v1/stream-tickets.";
        Problem::new(ProblemKind::Unauthorized, detail)
    })
}

/// Returns whose stream it is.
fn quota_key(viewer: Viewer, network: store::identity::login_throttle::Network) -> QuotaKey {
    match viewer {
        Viewer::User(user) => QuotaKey::User(user),
        Viewer::Anonymous | Viewer::Rule(_) => QuotaKey::Network(network),
    }
}

/// Logs why a client cannot be given what it has missed, and returns how its stream ends.
fn failed(error: &ServiceError) -> End {
    warn!(error = error_chain(error), "a stream cannot be read for a client");
    End::Unavailable
}

fn not_opened(error: OpenError) -> Problem {
    let detail = "The broker cannot be read at the moment. Connect again in a moment.";
    match error {
        OpenError::NotFollowed => Problem::new(ProblemKind::Unavailable, detail),
        OpenError::Broker(error) => Problem::unavailable(detail, &error),
    }
}
