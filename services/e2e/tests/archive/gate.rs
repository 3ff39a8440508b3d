//! Stands between the archiver and a store, request by request: it lets a number of requests pass and stops at the next one.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Response, StatusCode},
};
use reqwest::Client;
use tokio::net::TcpListener;

const LARGEST: usize = 256 << 20;

/// The side of a request on which the gate stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The store does not get the request.
    Before,
    /// The store has done what it was asked for, and who asked gets no answer.
    Behind,
}

/// A running gate, which ends with its runtime.
pub(crate) struct Gate {
    address: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    store: SocketAddr,
    client: Client,
    stop: Mutex<Option<Stop>>,
    has_stopped: AtomicBool,
}

struct Stop {
    side: Side,
    /// The requests that pass before.
    passing: usize,
}

impl Gate {
    pub(crate) async fn start(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let line = Arc::new(Line {
            store,
            client: Client::new(),
            stop: Mutex::new(None),
            has_stopped: AtomicBool::new(false),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&line));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, line }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets so many requests pass and stops at the next one.
    pub(crate) fn stop_at(&self, side: Side, passing: usize) {
        self.line.has_stopped.store(false, Ordering::Relaxed);
        *self.line.stop() = Some(Stop { side, passing });
    }

    /// Lets everything pass.
    pub(crate) fn open(&self) {
        *self.line.stop() = None;
    }

    /// Returns whether a request was stopped.
    pub(crate) fn has_stopped(&self) -> bool {
        self.line.has_stopped.load(Ordering::Relaxed)
    }
}

impl Line {
    fn stop(&self) -> std::sync::MutexGuard<'_, Option<Stop>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where this request stops, if it does; further ones stop before the store.
    fn stops(&self) -> Option<Side> {
        let mut stop = self.stop();
        let stop = stop.as_mut()?;
        if stop.passing > 0 {
            stop.passing -= 1;
            return None;
        }
        Some(std::mem::replace(&mut stop.side, Side::Before))
    }

    async fn forward(&self, request: Request) -> reqwest::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let url = format!("http://{}{}", self.store, head.uri);
        let body = to_bytes(body, LARGEST).await.expect("a body of the archiver");
        // The signature covers the name of the host, which stays that of the gate.
        let answer = self.client.request(head.method, url).headers(head.headers).body(body).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(Body::from(answer.bytes().await?));
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

async fn pass(State(line): State<Arc<Line>>, request: Request) -> Response<Body> {
    let stops = line.stops();
    if stops == Some(Side::Before) {
        line.has_stopped.store(true, Ordering::Relaxed);
        return std::future::pending().await;
    }
    let answer = line.forward(request).await;
    if stops == Some(Side::Behind) {
        line.has_stopped.store(true, Ordering::Relaxed);
        return std::future::pending().await;
    }
    answer.unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(error.to_string()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}
