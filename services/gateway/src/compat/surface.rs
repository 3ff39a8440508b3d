//! The shape in which each surface reports a problem.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use crate::http::problem::{Problem, ProblemKind};

/// The media type of problems of all surfaces.
pub(crate) const CONTENT_TYPE: &str = "application/json";

/// What a client of Coinbase looks for when there is no such product.
const NOT_FOUND: &str = "NotFound";

/// The surfaces, by how they report problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Coinbase,
    Udf,
}

/// A problem, as Coinbase reports it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoinbaseError<'a> {
    /// `NotFound`, or a sentence that says what is allowed.
    #[schema(example = "NotFound")]
    message: &'a str,
}

/// A problem, as UDF reports it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfError<'a> {
    /// This is always `error`.
    #[schema(example = "error")]
    s: &'static str,
    /// `unknown_symbol`, or a sentence that says what is allowed.
    #[schema(example = "unknown_symbol")]
    errmsg: &'a str,
}

impl Surface {
    /// Returns the surface that a path belongs to.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.starts_with("/udf/") { Some(Self::Udf) } else { path.starts_with("/compat/").then_some(Self::Coinbase) }
    }

    /// Writes a problem as JSON.
    pub(crate) fn problem(self, problem: &Problem) -> Vec<u8> {
        let body = match self {
            Self::Coinbase if problem.kind == ProblemKind::NotFound => {
                serde_json::to_vec(&CoinbaseError { message: NOT_FOUND })
            }
            Self::Coinbase => serde_json::to_vec(&CoinbaseError { message: &problem.detail }),
            Self::Udf => serde_json::to_vec(&UdfError { s: "error", errmsg: &problem.detail }),
        };
        body.expect("text is JSON")
    }
}

/// Returns the status of a problem. Clients of other servers read the message of a 400 only.
pub(crate) fn status(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::Invalid => StatusCode::BAD_REQUEST,
        other => other.status(),
    }
}

/// The problems of the surfaces of Coinbase, for the OpenAPI document.
pub(crate) struct CoinbaseErrors;

impl IntoResponses for CoinbaseErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses("CoinbaseError").collect()
    }
}

/// The problems of UDF, for the OpenAPI document.
pub(crate) struct UdfErrors;

impl IntoResponses for UdfErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refused = [("401", "The token is not valid"), ("403", "The API key lacks the scope")];
        let refused = refused.map(|(status, what)| (status.to_owned(), response("UdfError", what)));
        responses("UdfError").chain(refused).collect()
    }
}

fn responses(schema: &str) -> impl Iterator<Item = (String, RefOr<Response>)> {
    [
        ("400", "The request is not valid"),
        ("404", "There is no such product"),
        ("413", "The body is too large"),
        ("415", "The body has a Content-Encoding"),
        ("500", "Internal error"),
        ("503", "The server is overloaded, too slow or without its database; try again after `Retry-After` seconds"),
    ]
    .into_iter()
    .map(move |(status, what)| (status.to_owned(), response(schema, what)))
}

fn response(schema: &str, what: &str) -> RefOr<Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    RefOr::T(ResponseBuilder::new().description(what).content(CONTENT_TYPE, content).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::FieldError;

    #[test]
    fn a_problem_has_the_shape_of_its_surface() {
        let not_found = Problem::new(ProblemKind::NotFound, "unknown_symbol");
        let invalid = Problem::invalid(vec![FieldError::parameter("limit", "must be \"1\"")]);
        let text = |surface: Surface, problem: &Problem| String::from_utf8(surface.problem(problem)).expect("UTF-8");
        for (path, problem, expected) in [
            ("/compat/coinbase/products/X-USD/ticker", &not_found, r#"{"message":"NotFound"}"#),
            ("/compat/coinbase/products", &invalid, r#"{"message":"limit: must be \"1\"."}"#),
            ("/compat/coinbase-advanced/none", &not_found, r#"{"message":"NotFound"}"#),
            ("/udf/symbols", &not_found, r#"{"s":"error","errmsg":"unknown_symbol"}"#),
            ("/udf/history", &invalid, r#"{"s":"error","errmsg":"limit: must be \"1\"."}"#),
        ] {
            let surface = Surface::of(path).expect(path);
            assert_eq!(text(surface, problem), expected, "{path}");
        }
        for path in ["/v1/prices", "/", "/udfs", "/compat"] {
            assert_eq!(Surface::of(path), None, "{path}");
        }
    }

    #[test]
    fn an_invalid_request_has_the_status_whose_message_clients_read() {
        assert_eq!(status(ProblemKind::Invalid), StatusCode::BAD_REQUEST);
        assert_eq!(status(ProblemKind::NotFound), StatusCode::NOT_FOUND);
        assert_eq!(status(ProblemKind::Overloaded), StatusCode::SERVICE_UNAVAILABLE);
    }
}
