//! `/v1/ws`: the channels of a stream over a WebSocket (RFC 6455), with several subscriptions on one connection.

use axum::{
    extract::{Request, State},
    response::Response,
};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    auth::client_ip::ClientNetwork,
    http::{
        problem::{Problem, ProblemResponses},
        websocket::Handshake,
    },
    live::clients::Transport,
    request::query::{FromQuery, Query, QueryParams},
    routes::stream::{quota_key, token, ws_client::WsClient},
    state::AppState,
};

/// The token of a WebSocket that cannot send headers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WsQuery {
    /// The alert whose `manage_token` is in the header `Authorization`: `firings` are those of this alert.
    alert: Option<Uuid>,
    /// A ticket of `POST /v1/stream-tickets`, in place of the header `Authorization`.
    #[param(value_type = Option<String>, max_length = 256)]
    ticket: Option<String>,
}

impl FromQuery for WsQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        Some(Self { alert: query.optional("alert"), ticket: query.optional("ticket") })
    }
}

/// Open a WebSocket
///
/// The channels of `GET /v1/stream` over a WebSocket. The AsyncAPI document describes the messages: `subscribe`, `unsubscribe`,
/// `ping` and `heartbeat` of the client, and what the server answers and sends.
#[utoipa::path(
    get, path = "/v1/ws", tag = "streams", operation_id = "open_websocket", params(WsQuery),
    security((), ("manage_token" = []), ("session" = []), ("api_key" = ["read", "alerts"])),
    responses(
        (status = 101, description = "The connection is a WebSocket from now on"),
        (status = 426, description = "The request does not ask for a WebSocket of version 13"),
        ProblemResponses,
    ),
)]
pub(crate) async fn open(
    State(state): State<AppState>,
    QueryParams(WsQuery { alert, ticket }): QueryParams<WsQuery>,
    ClientNetwork(network): ClientNetwork,
    mut request: Request,
) -> Result<Response, Problem> {
    let token = token(&state, request.headers(), ticket.as_deref(), alert)?;
    let viewer = token.authorize([], &state).await?;
    let handshake = Handshake::of(&mut request)?;
    let slot = state.clients.admit(quota_key(viewer, network), Transport::WebSocket, None)?;
    Ok(handshake.accept(move |socket| WsClient::new(state, token, slot, socket).run()))
}
