//! The answer to a request that is refused because the server is overloaded. All of it but its ids is written ahead of time.

use std::{convert::Infallible, future::ready};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::counter;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use crate::{
    compat::surface::{self, Surface},
    http::{
        overload::{
            rejection_log::{Rejection, RejectionLog},
            share::Share,
        },
        problem::{Problem, ProblemKind},
        request_identity::{self, REQUEST_ID},
        security_headers,
    },
    pages::page,
};

/// Stands for the trace id in the body that is written ahead of time.
const TRACE_ID: &str = "00000000000000000000000000000000";

/// The refusals of a server, with what is written ahead of time.
pub(crate) struct Refusals {
    problem: Problem,
    /// The headers of an answer to a program.
    headers: HeaderMap,
    /// The body of an answer to a program, with [`TRACE_ID`] for the trace id.
    body: String,
    /// Completes the answer to a web page of another origin.
    cors: CorsLayer,
    log: RejectionLog,
}

impl Refusals {
    pub(crate) fn new(cors: CorsLayer, log: RejectionLog) -> Self {
        let problem = Problem::new(ProblemKind::Overloaded, "The server is overloaded. Try again in a moment.");
        let body = String::from_utf8_lossy(&problem.to_json(TRACE_ID)).into_owned();
        let mut headers = problem.clone().into_response().headers().clone();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        security_headers::add(&mut headers, security_headers::policy("/"));
        // Each exists from the start, so that the first refusal is an increase.
        for share in [Share::Orders, Share::Passwords, Share::Other] {
            counter!("tickbell_http_refusals_total", "share" => share.as_str()).increment(0);
        }
        Self { problem, headers, body, cors, log }
    }

    /// Counts a request that is refused, and returns the answer.
    pub(crate) async fn refuse(&self, share: Share, request: Request) -> Response {
        let headers = request.headers();
        let trace_id = request_identity::traceparent(headers)
            .map_or_else(request_identity::new_trace_id, |given| request_identity::trace_id(given).to_owned());
        let request_id = request_identity::client_id(headers).unwrap_or(&trace_id);
        let request_id = HeaderValue::from_str(request_id);
        self.count(share, &request, &trace_id);

        let mut response = StatusCode::SERVICE_UNAVAILABLE.into_response();
        *response.headers_mut() = self.headers.clone();
        let path = request.uri().path();
        if page::is_page(path) {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page::CONTENT_TYPE));
            security_headers::add(response.headers_mut(), security_headers::policy(path));
            *response.body_mut() = Body::from(page::problem(&self.problem, &trace_id));
        } else if let Some(surface) = Surface::of(path) {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(surface::CONTENT_TYPE));
            *response.body_mut() = Body::from(surface.problem(&self.problem));
        } else {
            *response.body_mut() = Body::from(self.body.replacen(TRACE_ID, &trace_id, 1));
        }
        response.headers_mut().extend(request_id.map(|id| (REQUEST_ID, id)));

        if !headers.contains_key(header::ORIGIN) {
            return response;
        }
        let mut response = Some(response);
        let answer = self.cors.layer(service_fn(move |_: Request| ready(Ok(response.take().unwrap_or_default()))));
        let Ok(response) = answer.oneshot(request).await as Result<Response, Infallible>;
        response
    }

    fn count(&self, share: Share, request: &Request, trace_id: &str) {
        let (method, route) = (request_identity::method(request.method()), request_identity::route(request));
        counter!("tickbell_http_requests_total", "method" => method, "route" => route.to_owned(), "status" => "503")
            .increment(1);
        counter!("tickbell_http_refusals_total", "share" => share.as_str()).increment(1);
        let title = self.problem.kind.title();
        self.log.add(&Rejection { title, method, route, trace_id, error: None });
    }
}
