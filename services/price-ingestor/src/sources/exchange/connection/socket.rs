//! The WebSocket of a venue: TLS, a deadline for all of the handshake, and bounds for frames and buffers.

use std::{io, sync::Arc, time::Duration};

use reqwest::Url;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, protocol::WebSocketConfig},
};

/// What is written to a venue is a few short requests; more waits only where the venue does not read.
const MAX_WRITE_BUFFER_BYTES: usize = 256 * 1024;
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A connected WebSocket.
pub(crate) type Socket = WebSocketStream<Box<dyn Stream>>;

/// A stream of bytes, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The reason why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// The URL has no host, or the host is no name.
    #[error("{0} is no address of a WebSocket: use wss://HOST or ws://HOST")]
    Address(String),
    /// The machine trusts nobody.
    #[error("cannot read the certificate authorities of this machine")]
    Trust(#[source] io::Error),
    /// TCP or TLS failed.
    #[error("the venue cannot be reached")]
    Reach(#[source] io::Error),
    /// The venue does not open a WebSocket.
    #[error("the venue does not open a WebSocket")]
    Handshake(#[source] Box<tungstenite::Error>),
    /// The handshake took too long.
    #[error("the venue did not open a WebSocket within {0:?}")]
    Timeout(Duration),
}

/// Makes connections to one venue. It reads the certificate authorities of the machine once.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: Option<TlsConnector>,
    timeout: Duration,
    max_frame_bytes: usize,
}

impl Dialer {
    /// Returns a dialer for the address. Each attempt ends after `timeout`.
    pub(crate) fn new(url: &Url, timeout: Duration, max_frame_bytes: usize) -> Result<Self, ConnectError> {
        let tls = if url.scheme() == "wss" { Some(connector()?) } else { None };
        Ok(Self { tls, timeout, max_frame_bytes })
    }

    /// Opens a WebSocket. Redirects are not followed: a venue's address is in the settings.
    pub(crate) async fn connect(&self, url: &Url) -> Result<Socket, ConnectError> {
        timeout(self.timeout, self.handshake(url)).await.map_err(|_| ConnectError::Timeout(self.timeout))?
    }

    async fn handshake(&self, url: &Url) -> Result<Socket, ConnectError> {
        let address = || ConnectError::Address(url.to_string());
        let host = url.host_str().ok_or_else(address)?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or_else(address)?;
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(ConnectError::Reach)?;
        // Pongs and subscriptions are small and must not wait for each other.
        tcp.set_nodelay(true).map_err(ConnectError::Reach)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let name = ServerName::try_from(host).map_err(|_| address())?;
                Box::new(tls.connect(name, tcp).await.map_err(ConnectError::Reach)?)
            }
        };
        let request = url.as_str().into_client_request().map_err(|error| ConnectError::Handshake(Box::new(error)))?;
        let (socket, _) = client_async_with_config(request, stream, Some(self.bounds()))
            .await
            .map_err(|error| ConnectError::Handshake(Box::new(error)))?;
        Ok(socket)
    }

    /// By default the library bounds messages by 64 MiB and what waits to be written not at all.
    fn bounds(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
            .max_frame_size(Some(self.max_frame_bytes))
            .max_message_size(Some(self.max_frame_bytes))
    }
}

fn connector() -> Result<TlsConnector, ConnectError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let cause = found.errors.first().map_or("there is none".to_owned(), ToString::to_string);
        return Err(ConnectError::Trust(io::Error::other(cause)));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
