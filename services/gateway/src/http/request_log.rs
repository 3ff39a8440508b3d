//! The log line, the span and the metrics of each request, and the body and headers that complete its answer.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use events::envelope::TRACEPARENT;
use metrics::{counter, gauge, histogram};
use tokio::time::Instant;
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::{
    http::problem::{Problem, ProblemKind},
    pages::page,
};

/// The header with the id of a request, for the logs of the client and of the server.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that a client may send, in bytes.
const LONGEST_ID: usize = 64;
/// The route label of a request without a route. Paths are not labels, because there is no limit to them.
const NO_ROUTE: &str = "none";

/// Runs a request and completes its answer.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let seen = RequestInfo::of(&request);
    let span = info_span!("request", method = seen.method, route = seen.route, request_id = seen.request_id);
    platform::telemetry::trace_context::set_parent(&span, Some(&seen.traceparent));
    let in_flight = InFlight::begin();
    let began = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    span.in_scope(|| seen.finish(response, began.elapsed()))
}

/// What the log line and the answer need to know of a request.
struct RequestInfo {
    method: &'static str,
    route: String,
    request_id: String,
    traceparent: String,
    wants_page: bool,
}

impl RequestInfo {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str);
        let traceparent =
            traceparent(request.headers()).unwrap_or_else(platform::telemetry::trace_context::new_traceparent);
        let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_id(id));
        Self {
            method: method(request.method()),
            route: route.to_owned(),
            request_id: given.unwrap_or(trace_id(&traceparent)).to_owned(),
            wants_page: page::is_page(request.uri().path()),
            traceparent,
        }
    }

    fn finish(&self, response: Response, took: Duration) -> Response {
        let (response, problem) = self.write_out(response);
        let response = self.with_headers(response);
        self.count(response.status(), took);
        self.log(response.status(), problem.as_ref(), took);
        response
    }

    /// Writes the body of a problem. Other rejections (no route, another method) become problems here.
    fn write_out(&self, mut response: Response) -> (Response, Option<Problem>) {
        let problem = response.extensions_mut().remove::<Problem>().or_else(|| plain(&response));
        let Some(problem) = problem else { return (response, None) };
        let trace_id = trace_id(&self.traceparent);
        let (kind, body) = if self.wants_page {
            ("text/html; charset=utf-8", page::problem(&problem, trace_id).into_bytes())
        } else {
            ("application/problem+json", problem.to_json(trace_id))
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
        (response, Some(problem))
    }

    fn with_headers(&self, mut response: Response) -> Response {
        let policy = if self.wants_page {
            page::CONTENT_POLICY.as_str()
        } else if self.route.starts_with("/docs") {
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
        } else {
            "default-src 'none'; frame-ancestors 'none'"
        };
        for (name, value) in [
            (REQUEST_ID, self.request_id.as_str()),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CONTENT_SECURITY_POLICY, policy),
            // Prices change every moment, and new alerts come with tokens.
            (header::CACHE_CONTROL, "no-store"),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    fn count(&self, status: StatusCode, took: Duration) {
        let route = self.route.clone();
        counter!("tickbell_http_requests_total", "method" => self.method, "route" => route.clone(), "status" => status.as_str().to_owned())
            .increment(1);
        histogram!("tickbell_http_request_duration_seconds", "method" => self.method, "route" => route).record(took);
    }

    fn log(&self, status: StatusCode, problem: Option<&Problem>, took: Duration) {
        let (status, took_us) = (status.as_u16(), took.as_micros() as u64);
        let (route, request_id, trace_id) = (&self.route, &self.request_id, trace_id(&self.traceparent));
        match (status, problem.and_then(|problem| problem.cause.as_deref())) {
            (500, cause) => error!(route, request_id, trace_id, status, took_us, error = cause, "request failed"),
            (501.., Some(cause)) => {
                warn!(route, request_id, trace_id, status, took_us, error = cause, "request not answered")
            }
            (501.., None) => info!(route, request_id, trace_id, status, took_us, "request rejected"),
            _ => debug!(route, request_id, trace_id, status, took_us, "request answered"),
        }
    }
}

/// Counts a request until it is answered or dropped: a client that hangs up must not count for ever.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        gauge!("tickbell_http_requests_in_flight").increment(1);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("tickbell_http_requests_in_flight").decrement(1);
    }
}

/// Returns the problem of a rejection by a library, which has a plain text or no body.
fn plain(response: &Response) -> Option<Problem> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let bare = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    (bare && (status.is_client_error() || status.is_server_error())).then(|| match status {
        StatusCode::NOT_FOUND => {
            Problem::new(ProblemKind::NotFound, "There is nothing at this path. See /docs for what there is.")
        }
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            ProblemKind::MethodNotAllowed,
            "This method is not allowed here. The header Allow lists the methods that are.",
        ),
        StatusCode::INTERNAL_SERVER_ERROR => Problem::internal("a library answered 500".into()),
        other => Problem::new(
            ProblemKind::Other(other),
            "The request cannot be answered. See /docs for what can be requested.",
        ),
    })
}

/// Returns the label of a method. Unknown methods share one, because there is no limit to them.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the trace context of the client, if its header is valid (W3C trace context §3.2, version 00).
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str, length| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        part.len() == length && digits && part.bytes().any(|byte| byte != b'0')
    };
    let valid = matches!(parts[..], ["00", trace, parent, flags]
        if hex(trace, 32) && hex(parent, 16) && (flags == "00" || hex(flags, 2)));
    valid.then(|| text.to_owned())
}

fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_of_a_sane_length_is_a_request_id() {
        assert!(is_id("a") && is_id("0f:7-x_9") && is_id(&"a".repeat(64)));
        for bad in ["", "a b", "a\tb", "é", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_trace_is_followed_only_when_it_is_one() {
        let read = |text: &str| {
            traceparent(&HeaderMap::from_iter([(
                HeaderName::from_static(TRACEPARENT),
                text.parse().expect("a header"),
            )]))
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(good).as_deref(), Some(good));
        assert_eq!(trace_id(good), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
