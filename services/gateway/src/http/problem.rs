//! Problems: answers that report a failure to people and programs, as `application/problem+json` (RFC 9457).
//!
//! A handler answers with a [`Problem`]; the request log writes its body, because the request's `trace_id` and whether the
//! answer is a page are known only there. The cause of an internal error is logged there and never sent.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use events::RuleStatus;
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, Response as OpenApiResponse, ResponseBuilder},
};

/// The largest number of errors that are listed, so that a small body cannot ask for a large answer.
const MAX_ERRORS: usize = 50;
/// The largest number of characters of an error, which may repeat what was sent.
const MAX_CHARACTERS: usize = 300;

/// The kind of a problem; each has a stable URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    BadRequest,
    MalformedJson,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    UnsupportedCoding,
    Invalid,
    TooManyRequests { retry_after_seconds: u32 },
    Internal,
    Unavailable,
    Overloaded,
    Timeout,
    Other(StatusCode),
}

impl ProblemKind {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::MalformedJson => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable | Self::Overloaded | Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Other(status) => status,
        }
    }

    fn uri(self) -> &'static str {
        match self {
            Self::BadRequest => "urn:tickbell:problem:bad-request",
            Self::MalformedJson => "urn:tickbell:problem:malformed-json",
            Self::Unauthorized => "urn:tickbell:problem:unauthorized",
            Self::Forbidden => "urn:tickbell:problem:forbidden",
            Self::NotFound => "urn:tickbell:problem:not-found",
            Self::MethodNotAllowed => "urn:tickbell:problem:method-not-allowed",
            Self::Conflict => "urn:tickbell:problem:conflict",
            Self::TooLarge => "urn:tickbell:problem:too-large",
            Self::UnsupportedMediaType => "urn:tickbell:problem:unsupported-media-type",
            Self::UnsupportedCoding => "urn:tickbell:problem:unsupported-coding",
            Self::Invalid => "urn:tickbell:problem:validation",
            Self::TooManyRequests { .. } => "urn:tickbell:problem:too-many-requests",
            Self::Internal => "urn:tickbell:problem:internal",
            Self::Unavailable => "urn:tickbell:problem:unavailable",
            Self::Overloaded => "urn:tickbell:problem:overloaded",
            Self::Timeout => "urn:tickbell:problem:timeout",
            Self::Other(_) => "about:blank",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad request",
            Self::MalformedJson => "Malformed JSON",
            Self::Unauthorized => "A token is needed",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Conflict => "Conflict",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::UnsupportedCoding => "The body must not be encoded",
            Self::Invalid => "The request is not valid",
            Self::TooManyRequests { .. } => "Too many attempts",
            Self::Internal => "Internal server error",
            Self::Unavailable => "Service unavailable",
            Self::Overloaded => "Server overloaded",
            Self::Timeout => "Timeout",
            Self::Other(status) => status.canonical_reason().unwrap_or("Error"),
        }
    }
}

/// The location of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorLocation {
    /// A field of the body, as a JSON pointer (RFC 6901); empty for the whole body.
    #[schema(example = "/percent")]
    Pointer(String),
    /// The name of a parameter in the path, the query or the headers.
    #[schema(example = "limit")]
    Parameter(String),
}

/// One error in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    #[serde(flatten)]
    location: ErrorLocation,
    /// The values that are allowed.
    #[schema(example = "must be from 0.01 to 1000")]
    detail: String,
}

impl FieldError {
    /// An error in the body.
    pub(crate) fn body(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { location: ErrorLocation::Pointer(cut(pointer.into())), detail: cut(detail.into()) }
    }

    /// An error in a parameter.
    pub(crate) fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { location: ErrorLocation::Parameter(cut(name.into())), detail: cut(detail.into()) }
    }

    fn sentence(&self) -> String {
        let (ErrorLocation::Pointer(name) | ErrorLocation::Parameter(name)) = &self.location;
        if name.is_empty() { format!("The body {}.", self.detail) } else { format!("{name}: {}.", self.detail) }
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// An answer that reports a failure.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) detail: String,
    errors: Vec<FieldError>,
    /// The cause, for the log only.
    pub(crate) cause: Option<String>,
}

/// A problem (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// The stable name of the kind of problem.
    #[schema(example = "urn:tickbell:problem:validation")]
    r#type: &'static str,
    /// The kind of problem, for people.
    #[schema(example = "The request is not valid")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What happened and what to do about it.
    #[schema(example = "/percent: must be from 0.01 to 1000.")]
    detail: &'a str,
    /// The errors of an invalid request, with their locations.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    /// The id of the request in logs and traces.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: &'a str,
}

impl Problem {
    /// Makes a problem; `detail` is a sentence that says what to do.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), cause: None }
    }

    /// Makes the problem of an invalid request; `errors` holds at least one.
    pub(crate) fn invalid(mut errors: Vec<FieldError>) -> Self {
        errors.truncate(MAX_ERRORS);
        let detail = match errors.as_slice() {
            [only] => only.sentence(),
            many => format!("The request has {} errors. The list `errors` has one entry for each.", many.len()),
        };
        Self { errors, ..Self::new(ProblemKind::Invalid, detail) }
    }

    /// Makes the problem of an alert that does not exist or belongs to another token: both read the same, so that nobody
    /// learns which alerts exist.
    pub(crate) fn no_such_alert() -> Self {
        Self::new(
            ProblemKind::NotFound,
            "There is no such alert, or the token is neither its manage_token nor a token of its user.",
        )
    }

    /// Makes the problem of a link whose signature is not valid.
    pub(crate) fn bad_link() -> Self {
        Self::new(ProblemKind::NotFound, "This link is not valid. Copy it from the mail as a whole.")
    }

    /// Makes the problem of a change that the status of an alert does not allow.
    pub(crate) fn status_conflict(status: RuleStatus) -> Self {
        let detail = match status {
            RuleStatus::Pending => {
                "The alert is pending. Confirm its address with the link in the mail first.".to_owned()
            }
            other => format!("The alert is {} and cannot be changed. Create a new one.", other.as_str()),
        };
        Self::new(ProblemKind::Conflict, detail)
    }

    /// Makes the problem of a system that cannot be asked at the moment.
    pub(crate) fn unavailable(detail: &str, cause: &platform::ServiceError) -> Self {
        Self {
            cause: Some(platform::runtime::error::error_chain(cause)),
            ..Self::new(ProblemKind::Unavailable, detail)
        }
    }

    /// Makes the problem of an internal error.
    pub(crate) fn internal(cause: String) -> Self {
        let detail = "An internal error occurred. Try again; if it happens again, report the trace_id to the operator.";
        Self { cause: Some(cause), ..Self::new(ProblemKind::Internal, detail) }
    }

    /// Writes the problem as JSON.
    pub(crate) fn to_json(&self, trace_id: &str) -> Vec<u8> {
        let body = ProblemBody {
            r#type: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            trace_id,
        };
        serde_json::to_vec(&body).expect("text and numbers are JSON")
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        let cause = platform::runtime::error::error_chain(&error);
        if error.is_transient() {
            let detail = "The database is not available now. Try again in a moment.";
            Self { cause: Some(cause), ..Self::new(ProblemKind::Unavailable, detail) }
        } else {
            Self::internal(cause)
        }
    }
}

impl IntoResponse for Problem {
    /// Status and headers; the body is written where the request's trace is known.
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        let headers = response.headers_mut();
        match self.kind {
            ProblemKind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tickbell\""));
            }
            ProblemKind::TooManyRequests { retry_after_seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds));
            }
            ProblemKind::Unavailable | ProblemKind::Overloaded | ProblemKind::Timeout => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            ProblemKind::UnsupportedMediaType => {
                headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            }
            // RFC 9110 §15.5.16: it tells a coding that is not supported from a media type that is not.
            ProblemKind::UnsupportedCoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The problems that every operation may answer.
pub(crate) struct ProblemResponses;

impl IntoResponses for ProblemResponses {
    fn responses() -> BTreeMap<String, RefOr<OpenApiResponse>> {
        [
            ("400", "Bad request: the request does not name one host, or its body is not JSON"),
            ("401", "Unauthorized: the token is missing or not valid"),
            ("403", "Forbidden: the API key lacks the scope, or the user lacks the role"),
            ("404", "Not found: there is no such item, or the token does not belong to it"),
            ("409", "Conflict: the current status does not allow this"),
            ("413", "The body is too large"),
            ("415", "Unsupported media type: the body is not JSON in UTF-8, or it has a Content-Encoding"),
            ("422", "The request is not valid; `errors` lists every error with its location"),
            ("429", "Too many attempts; try again after `Retry-After` seconds"),
            ("500", "Internal error"),
            (
                "503",
                "The server is overloaded, too slow or without its database; try again after `Retry-After` seconds",
            ),
        ]
        .into_iter()
        .map(|(status, what)| (status.to_owned(), RefOr::T(response(what))))
        .collect()
    }
}

fn response(what: &str) -> OpenApiResponse {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(what).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_and_what_and_how_to_find_it_again() {
        let problem = Problem::invalid(vec![
            FieldError::body("/percent", "must be from 0.01 to 1000"),
            FieldError::parameter("limit", "x".repeat(1_000)),
        ]);
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json("abc")).expect("JSON");
        assert_eq!(body["type"], "urn:tickbell:problem:validation");
        assert_eq!(body["status"], 422);
        assert_eq!(body["trace_id"], "abc");
        assert_eq!(
            body["errors"][0],
            serde_json::json!({"pointer": "/percent", "detail": "must be from 0.01 to 1000"})
        );
        assert_eq!(body["errors"][1]["detail"].as_str().map(|text| text.chars().count()), Some(MAX_CHARACTERS + 1));
    }

    #[test]
    fn an_internal_error_shows_no_cause() {
        let problem = Problem::internal("relation \"rules\" does not exist".into());
        let body = String::from_utf8(problem.to_json("abc")).expect("UTF-8");
        assert!(!body.contains("relation") && problem.cause.is_some(), "{body}");
    }
}
