//! `/v1/ws`: the channels of a stream over a WebSocket (RFC 6455), with several subscriptions on one connection.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use tracing::debug;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    auth::client_ip::ClientNetwork,
    http::problem::{Problem, ProblemKind, ProblemResponses},
    live::clients::Transport,
    request::query::{FromQuery, Query, QueryParams},
    routes::stream::{quota_key, refused, token, ws_client::WsClient},
    state::AppState,
};

/// The largest message of a client, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// The bytes that are written at once, and those that may wait when the client does not read: one message more.
const WRITE_BUFFER: usize = 16 * 1024;
const MAX_WRITE_BUFFER: usize = 256 * 1024;

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
    let (Some(key), Some(upgrade)) =
        (websocket_key(request.method(), request.headers()), request.extensions_mut().remove::<OnUpgrade>())
    else {
        let detail = "Open a WebSocket of version 13 here, over HTTP/1.1: send the headers Connection: Upgrade, \
                      Upgrade: websocket, Sec-WebSocket-Version: 13 and Sec-WebSocket-Key.";
        return Err(Problem::new(ProblemKind::Other(StatusCode::UPGRADE_REQUIRED), detail));
    };
    let slot = state.clients.admit(quota_key(viewer, network), Transport::WebSocket, None).map_err(refused)?;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                let config = WebSocketConfig::default()
                    .read_buffer_size(4 * 1024)
                    .write_buffer_size(WRITE_BUFFER)
                    .max_write_buffer_size(MAX_WRITE_BUFFER)
                    .max_message_size(Some(MAX_MESSAGE))
                    .max_frame_size(Some(MAX_MESSAGE));
                let connection = TokioIo::new(connection);
                let socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
                WsClient::new(state, token, slot, socket).run().await;
            }
            Err(error) => debug!(%error, "a client did not complete the handshake of a WebSocket"),
        }
    });
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    Ok(response)
}

/// Returns the value of `Sec-WebSocket-Accept` for a request that asks for a WebSocket; none for another request (RFC 6455 §4.2.1).
fn websocket_key(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
        let mut words = values.flat_map(|value| value.split(',')).map(str::trim);
        words.any(|found| found.eq_ignore_ascii_case(word))
    };
    let asks = method == Method::GET
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_a_websocket_is_recognised() {
        // The key and the answer of RFC 6455 §1.3.
        let headers = |connection: &str, upgrade: &str, version: &str| -> HeaderMap {
            [
                (header::CONNECTION, connection),
                (header::UPGRADE, upgrade),
                (header::SEC_WEBSOCKET_VERSION, version),
                (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            ]
            .into_iter()
            .map(|(name, value)| (name, value.parse().expect("a header")))
            .collect()
        };
        let good = headers("keep-alive, Upgrade", "WebSocket", "13");
        let key = websocket_key(&Method::GET, &good).expect("a key");
        assert_eq!(key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(websocket_key(&Method::POST, &good), None);
        for (connection, upgrade, version) in
            [("close", "websocket", "13"), ("Upgrade", "h2c", "13"), ("Upgrade", "websocket", "8")]
        {
            assert_eq!(websocket_key(&Method::GET, &headers(connection, upgrade, version)), None);
        }
    }
}
