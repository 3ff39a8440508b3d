//! The handshake of a WebSocket (RFC 6455 §4.2).

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use tracing::debug;

use crate::http::problem::{Problem, ProblemKind};

/// The largest message of a client, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// The bytes that are written at once, and those that may wait when the client does not read: one message more.
const WRITE_BUFFER: usize = 16 * 1024;
const MAX_WRITE_BUFFER: usize = 256 * 1024;

/// A connection that speaks the WebSocket protocol.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A request for a WebSocket.
pub(crate) struct Handshake {
    key: HeaderValue,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// Takes the request for a WebSocket; the problem says what it lacks.
    pub(crate) fn of(request: &mut Request) -> Result<Self, Problem> {
        let key = websocket_key(request.method(), request.headers());
        key.zip(request.extensions_mut().remove::<OnUpgrade>()).map(|(key, upgrade)| Self { key, upgrade }).ok_or_else(|| {
            let detail = "Open a WebSocket of version 13 here, over HTTP/1.1: send the headers Connection: Upgrade, \
                          Upgrade: websocket, Sec-WebSocket-Version: 13 and Sec-WebSocket-Key.";
            Problem::new(ProblemKind::Other(StatusCode::UPGRADE_REQUIRED), detail)
        })
    }

    /// Answers that the connection is a WebSocket from now on, and serves it in a task of its own.
    pub(crate) fn accept<F>(self, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { key, upgrade } = self;
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
                    serve(WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await).await;
                }
                Err(error) => debug!(%error, "a client did not complete the handshake of a WebSocket"),
            }
        });
        let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
        response
    }
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
