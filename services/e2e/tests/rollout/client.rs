//! An HTTP client that sends every request once. Libraries that pool connections repeat a request whose connection was
//! closed before the answer began, and would hide the failures that this test counts.

use std::{net::SocketAddr, time::Duration};

use axum::body::{Body, Bytes, to_bytes};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::CONNECTION,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// The time after which a request counts as lost.
const TIMEOUT: Duration = Duration::from_secs(15);
const MOST_BYTES: usize = 1 << 20;

/// A client with one connection, which is reused until the server closes it.
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<SendRequest<Body>>,
    /// How many connections it has opened.
    pub(crate) connections: u64,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None, connections: 0 }
    }

    /// Sends a request once and reads the whole answer: its status and its body, or why there is none.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<(u16, Bytes), String> {
        let answer = async {
            let mut connection = self.connect().await?;
            let answer = connection.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
            let (status, keep) = (answer.status().as_u16(), !says_close(&answer));
            let body = to_bytes(Body::new(answer.into_body()), MOST_BYTES).await;
            let body = body.map_err(|error| format!("half an answer: {error}"))?;
            self.connection = Some(connection).filter(|_| keep);
            Ok((status, body))
        };
        timeout(TIMEOUT, answer).await.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))
    }

    /// Returns the open connection, or a new one where that was closed before this request.
    async fn connect(&mut self) -> Result<SendRequest<Body>, String> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        self.connections += 1;
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("no connection: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("no connection: {error}"))?;
        let (mut connection, driver) =
            handshake(TokioIo::new(stream)).await.map_err(|error| format!("no connection: {error}"))?;
        tokio::spawn(driver);
        connection.ready().await.map_err(|error| format!("no connection: {error}"))?;
        Ok(connection)
    }
}

/// Tells whether the server closes the connection: the client must not send another request on this connection (RFC 9112 §9.6).
fn says_close(answer: &Response<Incoming>) -> bool {
    answer.headers().get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}
