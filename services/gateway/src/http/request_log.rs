//! The log line, the span and the metrics of each request, and the body and headers that complete its answer.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use metrics::{counter, gauge, histogram};
use tokio::time::Instant;
use tracing::{Instrument, debug, error, info_span};

use crate::{
    compat::surface::{self, Surface},
    http::{
        overload::rejection_log::{Rejection, RejectionLog},
        problem::{Problem, ProblemKind},
        request_identity::{self, REQUEST_ID, trace_id},
        security_headers,
    },
    pages::page,
};

/// Runs a request and completes its answer.
pub(crate) async fn observe(State(rejections): State<RejectionLog>, request: Request, next: Next) -> Response {
    let seen = RequestInfo::of(&request);
    let span = info_span!("request", method = seen.method, route = seen.route, request_id = seen.request_id);
    platform::telemetry::trace_context::set_parent(&span, Some(&seen.traceparent));
    let in_flight = InFlight::begin();
    let began = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    span.in_scope(|| seen.finish(response, began.elapsed(), &rejections))
}

/// What the log line and the answer need to know of a request.
struct RequestInfo {
    method: &'static str,
    route: String,
    request_id: String,
    traceparent: String,
    policy: HeaderValue,
    wants_page: bool,
    surface: Option<Surface>,
}

impl RequestInfo {
    fn of(request: &Request) -> Self {
        let (headers, path) = (request.headers(), request.uri().path());
        let traceparent = request_identity::traceparent(headers)
            .map_or_else(platform::telemetry::trace_context::new_traceparent, str::to_owned);
        Self {
            method: request_identity::method(request.method()),
            route: request_identity::route(request).to_owned(),
            request_id: request_identity::client_id(headers).unwrap_or(trace_id(&traceparent)).to_owned(),
            policy: security_headers::policy(path),
            wants_page: page::is_page(path),
            surface: Surface::of(path),
            traceparent,
        }
    }

    fn finish(self, response: Response, took: Duration, rejections: &RejectionLog) -> Response {
        let (response, problem) = self.write_out(response);
        let response = self.with_headers(response);
        self.count(response.status(), took);
        self.log(response.status(), problem.as_ref(), took, rejections);
        response
    }

    /// Writes the body of a problem. Other rejections (no route, another method) become problems here.
    fn write_out(&self, mut response: Response) -> (Response, Option<Problem>) {
        let problem = response.extensions_mut().remove::<Problem>().or_else(|| plain(&response));
        let Some(problem) = problem else { return (response, None) };
        let trace_id = trace_id(&self.traceparent);
        let (kind, body) = match self.surface {
            _ if self.wants_page => (page::CONTENT_TYPE, page::problem(&problem, trace_id).into_bytes()),
            Some(surface) => (surface::CONTENT_TYPE, surface.problem(&problem)),
            None => ("application/problem+json", problem.to_json(trace_id)),
        };
        if self.surface.is_some() {
            *response.status_mut() = surface::status(problem.kind);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
        (response, Some(problem))
    }

    fn with_headers(&self, mut response: Response) -> Response {
        security_headers::add(response.headers_mut(), self.policy.clone());
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    fn count(&self, status: StatusCode, took: Duration) {
        let route = self.route.clone();
        counter!("tickbell_http_requests_total", "method" => self.method, "route" => route.clone(), "status" => status.as_str().to_owned())
            .increment(1);
        histogram!("tickbell_http_request_duration_seconds", "method" => self.method, "route" => route).record(took);
    }

    fn log(&self, status: StatusCode, problem: Option<&Problem>, took: Duration, rejections: &RejectionLog) {
        let (status, took_us) = (status.as_u16(), took.as_micros() as u64);
        let (route, request_id, trace_id) = (&self.route, &self.request_id, trace_id(&self.traceparent));
        let cause = problem.and_then(|problem| problem.cause.as_deref());
        match (status, problem) {
            (500, _) => error!(route, request_id, trace_id, status, took_us, error = cause, "request failed"),
            (501.., Some(problem)) => {
                let title = problem.kind.title();
                rejections.add(&Rejection { title, method: self.method, route, trace_id, error: cause });
            }
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
