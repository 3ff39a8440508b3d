//! A client that sends every request once. What fails is a failure: libraries that pool connections send a request
//! again, unasked, when its connection was closed before the answer began, and would hide what is counted here.

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

/// After this a request is lost, whatever comes.
const TIMEOUT: Duration = Duration::from_secs(15);
const MOST_BYTES: usize = 1 << 20;

/// One connection at a time, kept while the other end keeps it.
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

    /// The connection that is open, or another when it is known to be closed before anything was sent.
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
