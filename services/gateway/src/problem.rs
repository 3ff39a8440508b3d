//! What went wrong, for people and programs: RFC 9457 `application/problem+json`.
//!
//! A handler answers with a [`Problem`]; [`crate::layers`] writes it out, because only there are the request's
//! `trace_id` and the page it belongs to known. The cause of an internal fault is logged there and never sent.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use events::RuleStatus;
use serde::Serialize;
use utoipa::ToSchema;

/// At most this many mistakes are listed, so that a small body cannot ask for a large answer.
const MOST_MISTAKES: usize = 50;
/// At most this many characters of a mistake, which may repeat what was sent.
const MOST_CHARACTERS: usize = 300;

/// What kind of problem it is; each has a stable URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    MalformedJson,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests { retry_after_seconds: u32 },
    Internal,
    Unavailable,
    Overloaded,
    Timeout,
    Other(StatusCode),
}

impl Kind {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::MalformedJson => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable | Self::Overloaded | Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Other(status) => status,
        }
    }

    fn uri(self) -> &'static str {
        match self {
            Self::MalformedJson => "urn:tickbell:problem:malformed-json",
            Self::Unauthorized => "urn:tickbell:problem:unauthorized",
            Self::Forbidden => "urn:tickbell:problem:forbidden",
            Self::NotFound => "urn:tickbell:problem:not-found",
            Self::MethodNotAllowed => "urn:tickbell:problem:method-not-allowed",
            Self::Conflict => "urn:tickbell:problem:conflict",
            Self::TooLarge => "urn:tickbell:problem:too-large",
            Self::UnsupportedMediaType => "urn:tickbell:problem:unsupported-media-type",
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
            Self::MalformedJson => "The body is not JSON",
            Self::Unauthorized => "A token is needed",
            Self::Forbidden => "Not allowed with this token",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Conflict => "Not possible now",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body must be JSON",
            Self::Invalid => "The request is not valid",
            Self::TooManyRequests { .. } => "Too many attempts",
            Self::Internal => "Something went wrong here",
            Self::Unavailable => "Not available now",
            Self::Overloaded => "Too many requests at once",
            Self::Timeout => "It took too long",
            Self::Other(status) => status.canonical_reason().unwrap_or("Error"),
        }
    }
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// A field of the body, as a JSON pointer (RFC 6901); empty for the whole body.
    #[schema(example = "/percent")]
    Pointer(String),
    /// A part of the path or the query.
    #[schema(example = "limit")]
    Parameter(String),
}

/// One mistake in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Mistake {
    #[serde(flatten)]
    place: Place,
    /// What would be right.
    #[schema(example = "must be from 0.01 to 1000")]
    detail: String,
}

impl Mistake {
    /// A mistake in the body.
    pub(crate) fn body(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { place: Place::Pointer(cut(pointer.into())), detail: cut(detail.into()) }
    }

    /// A mistake in the path or the query.
    pub(crate) fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { place: Place::Parameter(cut(name.into())), detail: cut(detail.into()) }
    }

    fn sentence(&self) -> String {
        let (Place::Pointer(place) | Place::Parameter(place)) = &self.place;
        if place.is_empty() { format!("The body {}.", self.detail) } else { format!("{place}: {}.", self.detail) }
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// An answer that is not what was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    errors: Vec<Mistake>,
    /// For the log only.
    pub(crate) cause: Option<String>,
}

/// A problem as it is written (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// A stable name of the kind of problem.
    #[schema(example = "urn:tickbell:problem:validation")]
    r#type: &'static str,
    /// The kind of problem in words.
    #[schema(example = "The request is not valid")]
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 422)]
    status: u16,
    /// What to do about it.
    #[schema(example = "/percent: must be from 0.01 to 1000.")]
    detail: &'a str,
    /// For bad input: what is wrong and where.
    #[serde(skip_serializing_if = "<[Mistake]>::is_empty")]
    errors: &'a [Mistake],
    /// Finds this request in our logs and traces.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: &'a str,
}

impl Problem {
    /// A problem in one sentence that says what to do.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), cause: None }
    }

    /// Bad input; `mistakes` holds at least one.
    pub(crate) fn invalid(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.truncate(MOST_MISTAKES);
        let detail = match mistakes.as_slice() {
            [only] => only.sentence(),
            many => format!("{} mistakes; each is in errors.", many.len()),
        };
        Self { errors: mistakes, ..Self::new(Kind::Invalid, detail) }
    }

    /// No such rule, or not with this token: both sound the same, so that nobody learns which rules there are.
    pub(crate) fn no_such_alert() -> Self {
        Self::new(Kind::NotFound, "There is no such alert, or the token is neither its manage_token nor its account's.")
    }

    /// A rule cannot go where it was asked to from the status it has.
    pub(crate) fn refused(status: RuleStatus) -> Self {
        let detail = match status {
            RuleStatus::Pending => {
                "The alert is pending: confirm its address by the link in the mail first.".to_owned()
            }
            other => format!("The alert is {} and stays so; make a new one.", other.as_str()),
        };
        Self::new(Kind::Conflict, detail)
    }

    /// A fault of ours.
    pub(crate) fn internal(cause: String) -> Self {
        let detail = "This is our fault, not yours. Tell us the trace_id if it happens again.";
        Self { cause: Some(cause), ..Self::new(Kind::Internal, detail) }
    }

    /// JSON for `trace_id`.
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
            let detail = "The database does not answer now; try again in a moment.";
            Self { cause: Some(cause), ..Self::new(Kind::Unavailable, detail) }
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
            Kind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tickbell\""));
            }
            Kind::TooManyRequests { retry_after_seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds));
            }
            Kind::Unavailable | Kind::Overloaded | Kind::Timeout => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Kind::UnsupportedMediaType => {
                headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_and_what_and_how_to_find_it_again() {
        let problem = Problem::invalid(vec![
            Mistake::body("/percent", "must be from 0.01 to 1000"),
            Mistake::parameter("limit", "x".repeat(1_000)),
        ]);
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json("abc")).expect("JSON");
        assert_eq!(body["type"], "urn:tickbell:problem:validation");
        assert_eq!(body["status"], 422);
        assert_eq!(body["trace_id"], "abc");
        assert_eq!(
            body["errors"][0],
            serde_json::json!({"pointer": "/percent", "detail": "must be from 0.01 to 1000"})
        );
        assert_eq!(body["errors"][1]["detail"].as_str().map(|text| text.chars().count()), Some(MOST_CHARACTERS + 1));
    }

    #[test]
    fn a_fault_of_ours_shows_no_cause() {
        let problem = Problem::internal("relation \"rules\" does not exist".into());
        let body = String::from_utf8(problem.to_json("abc")).expect("UTF-8");
        assert!(!body.contains("relation") && problem.cause.is_some(), "{body}");
    }
}
