//! Connections of a service that answers over HTTP: how many, how long they may dawdle, and how they end.

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
use tracing::{debug, info, warn};

use crate::Shutdown;

/// More connections wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 4_096;
/// A client must send the head of its next request within this time, else its connection is closed.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// After a failed accept (no file descriptors left) the next waits this long, instead of spinning.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);
/// Bounds on HTTP/2, where one connection carries many requests.
const STREAMS_PER_CONNECTION: u32 = 128;

/// Serves until shutdown; each request comes with its peer's address, as [`ConnectInfo`]. Then it accepts no more, lets
/// requests in flight finish, and gives up on them after `drain`.
pub async fn serve(listener: TcpListener, router: Router, drain: Duration, shutdown: &Shutdown) {
    let (connections, abandon) = (TaskTracker::new(), Shutdown::new());
    let free = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let builder = Arc::new(builder());
    while let Some((stream, peer, permit)) = accept(&listener, &free, shutdown).await {
        let (builder, router) = (builder.clone(), router.clone());
        let (shutdown, abandon) = (shutdown.clone(), abandon.clone());
        connections.spawn(async move {
            tokio::select! {
                () = converse(&builder, stream, peer, router, shutdown) => {}
                () = abandon.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    info!(connections = connections.len(), "finishing what was begun");
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        warn!(connections = connections.len(), "gave up on requests that did not finish in time");
        abandon.cancel();
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .keep_alive_interval(HEAD_TIMEOUT);
    builder
}

/// The next connection and its place among those that may be open; `None` after shutdown.
async fn accept(
    listener: &TcpListener,
    free: &Arc<Semaphore>,
    shutdown: &Shutdown,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    tokio::select! {
        accepted = async {
            let permit = free.clone().acquire_owned().await.ok()?;
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => return Some((stream, peer, permit)),
                    Err(error) => {
                        warn!(%error, "a connection was not accepted");
                        tokio::time::sleep(ACCEPT_WAIT).await;
                    }
                }
            }
        } => accepted,
        () = shutdown.cancelled() => None,
    }
}

async fn converse(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: Shutdown,
) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY was not set");
    }
    let service = TowerToHyperService::new(Extension(ConnectInfo(peer)).layer(router));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(error, "a connection broke");
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

    /// A server whose one request is being answered, and what lets it end.
    async fn busy(drain: Duration) -> (JoinHandle<()>, Shutdown, TcpStream, Arc<Notify>) {
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
            async move { serve(listener, router, drain, &shutdown).await }
        });
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        entered.notified().await;
        (serving, shutdown, client, leave)
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_shutdown() {
        let (serving, shutdown, mut client, leave) = busy(Duration::from_secs(60)).await;
        shutdown.cancel();
        leave.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer and the end of the connection");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        serving.await.expect("ended");
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_given_up_after_the_drain() {
        let (serving, shutdown, mut client, _leave) = busy(Duration::from_millis(10)).await;
        shutdown.cancel();
        serving.await.expect("ended");
        let mut answer = Vec::new();
        // Closed, in order or not; what matters is that nothing was answered.
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
}
