//! Answers that a client may keep and ask about again: `ETag`, `If-None-Match` and `Cache-Control` (RFC 9110 §8.8.3, RFC 9111).

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hasher},
};

use axum::{
    body::{Body, Bytes},
    extract::FromRequestParts,
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    IntoParams, IntoResponses,
    openapi::{
        ObjectBuilder, Required, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use crate::http::problem::Problem;

/// Anybody may keep the answer, and must ask whether it is still true before it is used: every price and every candle may
/// change at any moment, also one of long ago.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("public, no-cache");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON body and the tag that no other body of the same address has.
#[derive(Debug, Clone)]
pub(crate) struct Tagged {
    body: Bytes,
    tag: HeaderValue,
}

impl Tagged {
    /// Derives the tag from the body, so that gateways of one version give one body one tag.
    pub(crate) fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut hasher = DefaultHasher::new();
        hasher.write(&body);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let tag = HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
        Self { body, tag }
    }

    /// Writes a value as the body.
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value);
        body.map(Self::new).map_err(|error| Problem::internal(format!("an answer is no JSON: {error}")))
    }

    /// Returns the body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the number of bytes of the body.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Answers with the body, or that the client has it already.
    pub(crate) fn answer(self, condition: &IfNoneMatch) -> Response {
        let Self { body, tag } = self;
        let is_known = condition.matches(&tag);
        let mut response = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            response
        };
        response.headers_mut().insert(header::ETAG, tag);
        response.headers_mut().insert(header::CACHE_CONTROL, CACHE_CONTROL);
        response
    }
}

/// The answer to a client that has the body already, for the OpenAPI document.
#[derive(IntoResponses)]
#[response(status = 304, description = "The body is still the one whose `ETag` the request named in `If-None-Match`.")]
pub(crate) struct NotModified;

/// The tags of the bodies that the client has, as its headers `If-None-Match` say.
#[derive(Debug, Default)]
pub(crate) struct IfNoneMatch(Vec<HeaderValue>);

impl IfNoneMatch {
    /// Compares weakly, as RFC 9110 §13.1.2 asks: `W/` in front of a tag is no difference.
    pub(crate) fn matches(&self, tag: &HeaderValue) -> bool {
        let tag = tag.as_bytes();
        let is_tag = |candidate: &[u8]| {
            let candidate = candidate.trim_ascii();
            candidate == b"*" || candidate.strip_prefix(b"W/").unwrap_or(candidate) == tag
        };
        // A tag of ours has no comma, so one that is cut at a comma is none of them.
        self.0.iter().any(|header| header.as_bytes().split(|byte| *byte == b',').any(is_tag))
    }
}

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = ParameterBuilder::new()
            .name("If-None-Match")
            .parameter_in(ParameterIn::Header)
            .description(Some("The `ETag` of an answer that the client has. While that is true, the status is 304 and there is no body."))
            .required(Required::False)
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .build();
        vec![parameter]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: &'static str, headers: &[&str]) -> Response {
        let condition = IfNoneMatch(headers.iter().map(|text| text.parse().expect("a header")).collect());
        Tagged::new(body).answer(&condition)
    }

    #[test]
    fn a_body_that_the_client_has_is_not_sent_again() {
        let first = ask("{}", &[]);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CACHE_CONTROL], "public, no-cache");
        assert_eq!(first.headers()[header::CONTENT_TYPE], "application/json");
        let tag = first.headers()[header::ETAG].to_str().expect("ASCII").to_owned();
        for (headers, is_known) in [
            (vec![tag.clone()], true),
            (vec![format!("W/{tag}")], true),
            (vec![format!("\"a\" , {tag},\"b\"")], true),
            (vec!["\"a\"".into(), tag.clone()], true),
            (vec!["*".into()], true),
            (vec![], false),
            (vec![String::new()], false),
            (vec!["\"a\"".into()], false),
            (vec![tag.trim_matches('"').into()], false),
            (vec![format!("{tag}x")], false),
        ] {
            let response = ask("{}", &headers.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(response.status() == StatusCode::NOT_MODIFIED, is_known, "{headers:?}");
            assert_eq!(response.headers()[header::ETAG], *tag);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "public, no-cache");
            assert_eq!(response.headers().contains_key(header::CONTENT_TYPE), !is_known);
        }
    }

    #[test]
    fn another_body_has_another_tag() {
        let tags = ["{}", "{ }", "[]", ""].map(|body| Tagged::new(body).tag);
        assert!((0..4).all(|one| (0..one).all(|other| tags[one] != tags[other])), "{tags:?}");
    }
}
