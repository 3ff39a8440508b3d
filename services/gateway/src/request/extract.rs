//! Extractors of JSON bodies and of the parts of a path.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, header, request::Parts},
};
use events::Symbol;
use uuid::Uuid;

use crate::http::problem::{FieldError, Problem, ProblemKind};

/// A body of a JSON content type; the middleware has limited its size.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "Send JSON in UTF-8, with one header Content-Type: application/json.";
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|_| Problem::new(ProblemKind::MalformedJson, "The body was not received completely."))
    }
}

/// `application/json` or `application/…+json`. RFC 8259 defines no parameters, and JSON is UTF-8 whatever they say; but a
/// sender who names another charset has sent other text than would be read.
fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { return false };
    let text = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|name| name.trim_matches('"'));
    let is_utf8 = charset.is_none_or(|name| ["utf-8", "utf8", "us-ascii"].contains(&name));
    is_utf8 && (kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")))
}

/// The symbol `{symbol}` of a path. `BTC_USDT` and `BTC%2FUSDT` are `BTC-USDT`.
pub(crate) struct SymbolPath(pub(crate) Symbol);

impl<S: Send + Sync> FromRequestParts<S> for SymbolPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        let symbol = Symbol::from_spelling(&text);
        symbol.map(Self).map_err(|error| Problem::invalid(vec![FieldError::parameter("symbol", error.to_string())]))
    }
}

/// The id `{id}` of a path. Text that is not an id becomes the nil UUID, which no row has, so the answer is 404.
pub(crate) struct IdPath(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(Path::from_request_parts(parts, state).await.map_or(Uuid::nil(), |Path(id)| id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().expect("a header"))].into_iter().collect()
    }

    #[test]
    fn only_json_content_types_are_accepted() {
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; profile=x; charset=us-ascii",
            "application/merge-patch+json",
        ] {
            assert!(is_json(&headers(header::CONTENT_TYPE, good)), "{good}");
        }
        for bad in [
            "",
            "text/json",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-16",
        ] {
            assert!(!is_json(&headers(header::CONTENT_TYPE, bad)), "{bad}");
        }
        assert!(!is_json(&HeaderMap::new()));
        let mut twice = headers(header::CONTENT_TYPE, "application/json");
        twice.append(header::CONTENT_TYPE, "text/plain".parse().expect("a header"));
        assert!(!is_json(&twice), "which one is meant?");
    }
}
