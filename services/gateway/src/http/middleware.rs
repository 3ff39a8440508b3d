//! The middleware around all routes: admission, request log, CORS, deadline, panics, limit of bodies, limit of reads.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use platform::Shutdown;
use tokio::{sync::Semaphore, time::Instant};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, Any as AnyOf, CorsLayer},
};

use crate::{
    http::{
        download, framing,
        overload::{
            admission::{AdmissionLayer, Admitted},
            refusal::Refusals,
            rejection_log::RejectionLog,
            share::Share,
        },
        problem::{Problem, ProblemKind},
        request_identity::{self, REQUEST_ID},
        request_log,
    },
    request::headers::{IDEMPOTENCY_KEY, LAST_EVENT_ID, MERCURE_LAST_EVENT_ID, PREFER, PREFERENCE_APPLIED, ReceivedAt},
    settings::Settings,
};

/// The time that a browser may cache the answer to a preflight.
const PREFLIGHT: Duration = Duration::from_secs(600);

/// Wraps a router in every layer, the outermost last. At most `reads_at_once` requests that belong to no other share run at a
/// time, and further ones wait; so orders find connections to the database. Downloads, which may wait long for an archive, count
/// by themselves.
pub(crate) fn with_middleware(router: Router, settings: &Settings, reads_at_once: usize) -> Router {
    let limits = Arc::new(Limits {
        reads: Semaphore::new(reads_at_once),
        time: Duration::from_secs(settings.request_timeout_seconds),
        body_bytes: settings.max_body_bytes,
    });
    let (cors, rejections) = (cors(&settings.cors_origins), RejectionLog::default());
    let refusals = Refusals::new(cors.clone(), rejections.clone());
    router
        .layer(middleware::from_fn_with_state(limits.clone(), limit_reads))
        .layer(middleware::from_fn_with_state(limits.clone(), limit_body))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(middleware::from_fn_with_state(limits, limit_time))
        .layer(cors)
        .layer(middleware::from_fn_with_state(rejections, request_log::observe))
        .layer(AdmissionLayer::new(settings, refusals))
}

/// Asks clients to close their connections once the server shuts down: a client whose idle connection is closed by the
/// server may lose its next request.
pub(crate) async fn close_when_draining(State(shutdown): State<Shutdown>, request: Request, next: Next) -> Response {
    let one_at_a_time = request.version() <= Version::HTTP_11;
    let mut response = next.run(request).await;
    if one_at_a_time && shutdown.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

struct Limits {
    reads: Semaphore,
    time: Duration,
    body_bytes: usize,
}

/// Answers in the place of a request that takes too long.
async fn limit_time(State(limits): State<Arc<Limits>>, mut request: Request, next: Next) -> Response {
    let received_at = Instant::now();
    request.extensions_mut().insert(ReceivedAt(received_at));
    match tokio::time::timeout_at(received_at + limits.time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "The request took too long. It may still have had its effect; check before you repeat it.";
            Problem::new(ProblemKind::Timeout, detail).into_response()
        }
    }
}

/// Waits until few enough others run. It comes after the body was read, so that a slow client holds up nobody.
async fn limit_reads(State(limits): State<Arc<Limits>>, admitted: Admitted, request: Request, next: Next) -> Response {
    let is_read = admitted.share() == Some(Share::Other) && !download::is_download(request_identity::route(&request));
    // The semaphore is never closed.
    let _permit = if is_read { limits.reads.acquire().await.ok() } else { None };
    next.run(request).await
}

async fn limit_body(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let deadline = Instant::now() + limits.time;
    if let Err(problem) = framing::check(&parts, &body, limits.body_bytes) {
        return framing::refuse(problem, &parts, body, deadline);
    }
    match read(body, limits.body_bytes).await {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(Unread::Incomplete) => {
            Problem::new(ProblemKind::MalformedJson, "The body was not received completely.").into_response()
        }
        Err(Unread::TooLarge(rest)) => framing::refuse(framing::too_large(limits.body_bytes), &parts, rest, deadline),
    }
}

/// Why a body was not read.
enum Unread {
    /// The connection failed.
    Incomplete,
    /// It is too large; the rest has not been received yet.
    TooLarge(Body),
}

async fn read(body: Body, max_bytes: usize) -> Result<Bytes, Unread> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Unread::Incomplete)?;
        if bytes.len() + chunk.len() > max_bytes {
            return Err(Unread::TooLarge(Body::from_stream(stream)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn panic_response(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Problem::internal(format!("panic: {}", message.unwrap_or("without a message"))).into_response()
}

fn cors(origins: &[String]) -> CorsLayer {
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let origins = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(AnyOf)
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            REQUEST_ID,
            PREFER,
            IDEMPOTENCY_KEY,
            LAST_EVENT_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            MERCURE_LAST_EVENT_ID,
            PREFERENCE_APPLIED,
            REQUEST_ID,
        ])
        .max_age(PREFLIGHT)
}

#[cfg(test)]
mod tests {
    use axum::{
        Extension,
        body::to_bytes,
        http::{StatusCode, request},
        routing::{get, post},
    };
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::request::extract::JsonBody;

    fn service(settings: &Settings, router: Router) -> Router {
        let router = router
            .route("/v1/echo", post(|JsonBody(body): JsonBody| async { body }))
            .route("/v1/panic", get(|| async { [(); 0].get(1).copied().expect("a panic") }))
            .route("/v1/never", get(std::future::pending::<()>))
            .route(
                "/v1/received",
                post(|Extension(ReceivedAt(received_at)): Extension<ReceivedAt>| async move {
                    format!("{:?}", received_at.elapsed())
                }),
            )
            .route("/confirm/{token}", get(|| async { Problem::no_such_alert() }))
            .route("/healthz", get(|| async {}));
        with_middleware(router, settings, 8)
    }

    fn request(method: &str, path: &str) -> request::Builder {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        request.header(header::CONTENT_TYPE, "application/json")
    }

    async fn ask(service: &Router, request: Request) -> Response {
        service.clone().oneshot(request).await.expect("a router always answers")
    }

    /// The answer must be a problem of this status; returns its body and headers.
    async fn problem(response: Response, status: u16) -> (Value, axum::http::HeaderMap) {
        let (parts, body) = response.into_parts();
        assert_eq!(parts.status.as_u16(), status);
        assert_eq!(parts.headers[header::CONTENT_TYPE], "application/problem+json");
        let body: Value = serde_json::from_slice(&to_bytes(body, 1 << 20).await.expect("a body")).expect("JSON");
        assert_eq!(body["status"], status);
        assert!(body["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{body}");
        assert_eq!(body["trace_id"].as_str().map(str::len), Some(32), "{body}");
        (body, parts.headers)
    }

    #[tokio::test]
    async fn every_rejection_is_a_problem() {
        let service = service(&Settings::default(), Router::new());
        for (method, path, status) in
            [("GET", "/nope", 404), ("POST", "/v1/echo/", 404), ("GET", "/v1/echo", 405), ("BREW", "/v1/echo", 405)]
        {
            let response = ask(&service, request(method, path).body(Body::empty()).expect("a request")).await;
            let (_, headers) = problem(response, status).await;
            assert_eq!(headers.get(header::ALLOW).is_some(), status == 405);
        }
        let text = Request::post("/v1/echo").header(header::HOST, "localhost");
        let text = text.header(header::CONTENT_TYPE, "text/plain").body("{}".into());
        problem(ask(&service, text.expect("a request")).await, 415).await;
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_rejected_on_every_path() {
        let service = service(&Settings::default(), Router::new());
        for (method, path) in [("POST", "/v1/echo"), ("POST", "/nope"), ("GET", "/v1/panic"), ("PUT", "/v1/echo")] {
            for size in [64 * 1024 + 1, 10_000_000, framing::DISCARDED_BYTES + 1] {
                let body = Body::from(vec![b'a'; size]);
                let response = ask(&service, request(method, path).body(body).expect("a request")).await;
                let (_, headers) = problem(response, 413).await;
                assert_eq!(headers[header::CONNECTION], "close");
            }
        }
        let most = request("POST", "/v1/echo").body(Body::from(vec![b'a'; 64 * 1024])).expect("a request");
        assert_eq!(ask(&service, most).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_body_that_is_announced_as_too_large_is_rejected_before_it_is_read() {
        let service = service(&Settings::default(), Router::new());
        for expect in [None, Some("100-continue")] {
            let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
            let mut announced = request("POST", "/v1/echo").header(header::CONTENT_LENGTH, 99_000_000);
            if let Some(expect) = expect {
                announced = announced.header(header::EXPECT, expect);
            }
            let (_, headers) = problem(ask(&service, announced.body(never).expect("a request")).await, 413).await;
            assert_eq!(headers[header::CONNECTION], "close");
        }
    }

    #[tokio::test]
    async fn a_coding_that_is_not_read_is_rejected_with_the_one_that_is() {
        let service = service(&Settings::default(), Router::new());
        let coded = request("POST", "/v1/echo").header(header::CONTENT_ENCODING, "gzip").body("{}".into());
        let (body, headers) = problem(ask(&service, coded.expect("a request")).await, 415).await;
        assert_eq!(body["type"], "urn:tickbell:problem:unsupported-coding");
        assert_eq!(headers[header::ACCEPT_ENCODING], "identity");
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_and_its_message_stays_private() {
        let service = service(&Settings::default(), Router::new());
        let response = ask(&service, request("GET", "/v1/panic").body(Body::empty()).expect("a request")).await;
        let (body, _) = problem(response, 500).await;
        assert!(!body.to_string().contains("a panic"), "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_received_before_its_body_is_read() {
        let service = service(&Settings::default(), Router::new());
        let slow = futures::stream::once(async {
            tokio::time::advance(Duration::from_secs(3)).await;
            Ok::<_, std::io::Error>("{}")
        });
        let response =
            ask(&service, request("POST", "/v1/received").body(Body::from_stream(slow)).expect("a request")).await;
        assert_eq!(to_bytes(response.into_body(), 1 << 20).await.expect("a body"), "3s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_times_out() {
        let service = service(&Settings::default(), Router::new());
        let response = ask(&service, request("GET", "/v1/never").body(Body::empty()).expect("a request")).await;
        let (body, headers) = problem(response, 503).await;
        assert_eq!(body["type"], "urn:tickbell:problem:timeout");
        assert_eq!(headers[header::RETRY_AFTER], "1");
    }

    #[tokio::test(start_paused = true)]
    async fn downloads_that_wait_for_their_first_page_hold_up_no_read() {
        let router = Router::new()
            .route("/v1/prices/{symbol}/history.csv", get(std::future::pending::<()>))
            .route("/v1/prices/{symbol}/candles.csv", get(std::future::pending::<()>))
            .route("/v1/prices", get(|| async {}));
        let service = with_middleware(router, &Settings::default(), 1);
        let ask = |path: &str| ask(&service, request("GET", path).body(Body::empty()).expect("a request"));
        let mut waiting = [ask("/v1/prices/SPY/history.csv"), ask("/v1/prices/SPY/candles.csv")].map(Box::pin);
        for download in &mut waiting {
            assert!(futures::poll!(download).is_pending());
        }
        assert_eq!(ask("/v1/prices").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn an_answer_carries_the_request_id_of_the_client_or_a_new_one() {
        let service = service(&Settings::default(), Router::new());
        for (given, is_valid) in [("abc-1", true), ("a b", false), (&*"a".repeat(65), false)] {
            let request = request("GET", "/healthz").header(REQUEST_ID, given).body(Body::empty());
            let response = ask(&service, request.expect("a request")).await;
            let id = response.headers()[REQUEST_ID].to_str().expect("text");
            assert_eq!(id == given, is_valid, "{given}: {id}");
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        }
    }

    #[tokio::test]
    async fn a_problem_behind_a_link_in_a_mail_is_a_page() {
        let service = service(&Settings::default(), Router::new());
        let response = ask(&service, request("GET", "/confirm/x").body(Body::empty()).expect("a request")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert!(
            response.headers()[header::CONTENT_SECURITY_POLICY].to_str().is_ok_and(|policy| policy.contains("sha256"))
        );
    }

    #[tokio::test]
    async fn only_listed_origins_may_call_from_a_web_page() {
        let ask_from = async |listed: &[&str], origin: &str| {
            let cors_origins = listed.iter().map(|origin| (*origin).to_owned()).collect();
            let service = service(&Settings { cors_origins, ..Settings::default() }, Router::new());
            let request = request("GET", "/healthz").header(header::ORIGIN, origin).body(Body::empty());
            let response = ask(&service, request.expect("a request")).await;
            response
                .headers()
                .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
                .and_then(|value| Some(value.to_str().ok()?.to_owned()))
        };
        assert_eq!(ask_from(&[], "https://a.example").await, None);
        assert_eq!(ask_from(&["*"], "https://a.example").await.as_deref(), Some("*"));
        let listed = ["https://a.example", "https://b.example"];
        assert_eq!(ask_from(&listed, "https://b.example").await.as_deref(), Some("https://b.example"));
        assert_eq!(ask_from(&listed, "https://c.example").await, None);
    }
}
