//! The HTTP server: it bounds connections and slow clients, and drains requests at shutdown.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::task::TaskTracker;
use tower::Layer;
use tracing::{debug, warn};

use crate::Shutdown;

/// The time within which a client must send the headers of its next request; else the connection is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after a failed accept: without file descriptors left, the loop would spin.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);
/// The number of failed accepts in a row that share a line in the log, so that there is one line a second.
const FAILED_ACCEPTS_PER_LINE: u32 = 10;
/// The bytes that are buffered for one connection of HTTP/1, in each direction, and to be sent for one request of HTTP/2: a client
/// that does not read costs no more.
const BUFFER_BYTES: usize = 64 * 1024;
/// The number of concurrent requests of one HTTP/2 connection.
const STREAMS_PER_CONNECTION: u32 = 128;

/// The number of open connections beside those of answers that do not end, like live streams; more wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 4_096;

/// Closes the connection of a request at once, whatever is still to be sent on it. Each request has it as an extension.
#[derive(Debug, Clone, Default)]
pub struct ConnectionAbort(Shutdown);

impl ConnectionAbort {
    /// Closes the connection.
    pub fn abort(&self) {
        self.0.cancel();
    }

    /// Returns whether the connection was to be closed.
    pub fn is_aborted(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// Serves requests until shutdown, each with its peer's address as [`ConnectInfo`] and its [`ConnectionAbort`]; at most
/// `max_connections` are open at a time. Then it accepts no more connections, lets requests in flight finish, and closes those
/// that have not finished within `drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    drain: Duration,
    shutdown: &Shutdown,
) {
    let (connections, abort) = (TaskTracker::new(), Shutdown::new());
    let free = Arc::new(Semaphore::new(max_connections));
    let builder = Arc::new(builder());
    while let Some((stream, peer, permit)) = accept(&listener, &free, shutdown).await {
        let (builder, router) = (builder.clone(), router.clone());
        let (shutdown, abort) = (shutdown.clone(), abort.clone());
        connections.spawn(async move {
            tokio::select! {
                () = serve_connection(&builder, stream, peer, router, shutdown) => {}
                () = abort.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    debug!(connections = connections.len(), "draining connections");
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "closing connections whose requests did not finish in time");
        abort.cancel();
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_send_buf_size(BUFFER_BYTES)
        .keep_alive_interval(HEADER_TIMEOUT);
    builder
}

/// Returns the next connection with its permit; `None` after shutdown.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
    shutdown: &Shutdown,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    tokio::select! {
        accepted = async {
            let permit = free.clone().acquire_owned().await.ok()?;
            let mut failed = 0_u32;
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => return Some((stream, peer, permit)),
                    Err(error) => {
                        if failed.is_multiple_of(FAILED_ACCEPTS_PER_LINE) {
                            warn!(%error, "cannot accept a connection");
                        }
                        failed = failed.wrapping_add(1);
                        tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
                    }
                }
            }
        } => accepted,
        () = shutdown.cancelled() => None,
    }
}

async fn serve_connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: Shutdown,
) {
    // Responses are small and written at once: Nagle's algorithm would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let abort = ConnectionAbort::default();
    let service = Extension(abort.clone()).layer(Extension(ConnectInfo(peer)).layer(router));
    let service = TowerToHyperService::new(service);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let result = tokio::select! {
        () = abort.0.cancelled() => Ok(()),
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                () = abort.0.cancelled() => Ok(()),
                result = connection => result,
            }
        }
    };
    if let Err(error) = result {
        debug!(error, "connection failed");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
        task::JoinHandle,
    };

    use super::*;

    /// Starts a server that is handling one request, and returns the signal that lets the request finish.
    async fn busy_server(drain: Duration) -> (JoinHandle<()>, Shutdown, TcpStream, Arc<Notify>) {
        let (entered, leave, shutdown) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Shutdown::new());
        let handler = {
            let (entered, leave) = (entered.clone(), leave.clone());
            get(|| async move {
                entered.notify_one();
                leave.notified().await;
                "done"
            })
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/", handler);
        let serving = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { serve(listener, router, MAX_CONNECTIONS, drain, &shutdown).await }
        });
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        entered.notified().await;
        (serving, shutdown, client, leave)
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_shutdown() {
        let (serving, shutdown, mut client, leave) = busy_server(Duration::from_secs(60)).await;
        shutdown.cancel();
        leave.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer and the end of the connection");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        serving.await.expect("ended");
    }

    #[tokio::test]
    async fn a_request_that_does_not_finish_is_closed_after_the_drain() {
        let (serving, shutdown, mut client, _leave) = busy_server(Duration::from_millis(10)).await;
        shutdown.cancel();
        serving.await.expect("ended");
        let mut answer = Vec::new();
        // The connection may be closed or reset; what matters is that nothing was answered.
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
}
