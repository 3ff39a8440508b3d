//! Overload as clients see it, through all layers.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header, request},
    response::Response,
    routing::{MethodRouter, get, post},
};
use serde_json::Value;
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tower::ServiceExt;

use crate::{
    http::{middleware::with_middleware, overload::admission::Admitted, request_identity::REQUEST_ID},
    settings::Settings,
};

const READS_AT_ONCE: usize = 4;

fn with_layers(settings: &Settings, router: Router) -> Router {
    with_middleware(router, settings, READS_AT_ONCE)
}

fn request(method: &str, path: &str) -> request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost")
}

fn empty(method: &str, path: &str) -> Request {
    request(method, path).body(Body::empty()).expect("a request")
}

async fn ask(service: &Router, request: Request) -> Response {
    service.clone().oneshot(request).await.expect("a router always answers")
}

/// Returns the problem and the headers of a refusal.
async fn refusal(response: Response) -> (Value, HeaderMap) {
    let (parts, body) = response.into_parts();
    assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(parts.headers[header::CONTENT_TYPE], "application/problem+json");
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    (serde_json::from_slice(&body).expect("JSON"), parts.headers)
}

/// A route that adds a permit when a request has entered it, and lets it leave with a permit.
fn slow() -> (MethodRouter, Arc<Semaphore>, Arc<Semaphore>) {
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handler = {
        let (entered, leave) = (entered.clone(), leave.clone());
        || async move {
            entered.add_permits(1);
            leave.acquire().await.expect("an open semaphore").forget();
        }
    };
    (get(handler.clone()).post(handler), entered, leave)
}

/// Waits until so many requests have entered a route; fails when they do not.
async fn wait_for(entered: &Semaphore, requests: usize) -> bool {
    let entered = timeout(Duration::from_secs(1), entered.acquire_many(u32::try_from(requests).expect("few"))).await;
    entered.map(|permits| permits.expect("an open semaphore").forget()).is_ok()
}

/// Sends a request that is answered later.
fn send(service: &Router, request: Request) -> JoinHandle<Response> {
    let service = service.clone();
    tokio::spawn(async move { ask(&service, request).await })
}

#[tokio::test(start_paused = true)]
async fn one_request_too_many_is_refused_but_no_order_no_password_and_no_probe() {
    let (slow, entered, leave) = slow();
    let settings = Settings { max_in_flight: 1, cors_origins: vec!["*".into()], ..Settings::default() };
    let router = Router::new().route("/v1/slow", slow).route("/v1/orders", post(|| async {}).get(|| async {}));
    let service =
        with_layers(&settings, router.route("/v1/sessions", post(|| async {})).route("/healthz", get(|| async {})));
    let first = send(&service, empty("GET", "/v1/slow"));
    assert!(wait_for(&entered, 1).await);
    let began = Instant::now();
    let read = request("GET", "/v1/slow").header(REQUEST_ID, "abc-1").header(header::ORIGIN, "https://a.example");
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let read = read.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")).body(Body::empty());
    let (body, headers) = refusal(ask(&service, read.expect("a request")).await).await;
    assert!(began.elapsed() <= Duration::from_millis(10), "{:?}", began.elapsed());
    assert_eq!(body["type"], "urn:tickbell:problem:overloaded");
    assert_eq!(body["trace_id"], trace);
    for (name, value) in [
        (header::RETRY_AFTER, "1"),
        (REQUEST_ID, "abc-1"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ] {
        assert_eq!(headers[&name], value, "{name}");
    }
    let page = ask(&service, empty("GET", "/confirm/x")).await;
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(ask(&service, empty("GET", "/v1/orders")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    for (method, path) in [("POST", "/v1/orders"), ("POST", "/v1/sessions"), ("GET", "/healthz")] {
        assert_eq!(ask(&service, empty(method, path)).await.status(), StatusCode::OK, "{method} {path}");
    }
    leave.add_permits(1);
    assert_eq!(first.await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(ask(&service, empty("GET", "/v1/orders")).await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_order_runs_while_as_many_reads_run_as_may() {
    let (slow, entered, leave) = slow();
    let router = Router::new().route("/v1/slow", slow).route("/v1/orders", post(|| async {}));
    let service = with_layers(&Settings::default(), router);
    let reads: Vec<_> = (0..=READS_AT_ONCE).map(|_| send(&service, empty("GET", "/v1/slow"))).collect();
    assert!(wait_for(&entered, READS_AT_ONCE).await);
    assert_eq!(ask(&service, empty("POST", "/v1/orders")).await.status(), StatusCode::OK);
    assert!(!wait_for(&entered, 1).await, "one more runs only when another has ended");
    leave.add_permits(1);
    assert!(wait_for(&entered, 1).await);
    leave.add_permits(READS_AT_ONCE);
    for read in reads {
        assert_eq!(read.await.expect("an answer").status(), StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_waits_for_the_settler_leaves_its_share() {
    let settled = Arc::new(Notify::new());
    let waits = {
        let settled = settled.clone();
        |admitted: Admitted| async move {
            match admitted.begin_wait() {
                Some(_permit) => settled.notified().await,
                None => return StatusCode::ACCEPTED,
            }
            StatusCode::OK
        }
    };
    let settings = Settings { max_orders_in_flight: 1, max_order_waits: 2, ..Settings::default() };
    let service = with_layers(&settings, Router::new().route("/v1/orders", post(waits)));
    let waiting: Vec<_> = (0..2).map(|_| send(&service, empty("POST", "/v1/orders"))).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let third = ask(&service, empty("POST", "/v1/orders")).await;
    assert_eq!(third.status(), StatusCode::ACCEPTED, "it is answered at once, because as many wait as may");
    settled.notify_waiters();
    for order in waiting {
        assert_eq!(order.await.expect("an answer").status(), StatusCode::OK);
    }
}
