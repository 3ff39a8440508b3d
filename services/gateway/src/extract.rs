//! What handlers take from a request; everything else about it is refused before them.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query as RawQuery, Request},
    http::{HeaderMap, header, request::Parts},
};
use events::{RuleStatus, Symbol};
use sha2::{Digest, Sha256};
use store::rules::{self, RuleRecord, TokenHash};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::{
    App,
    caller::Anybody,
    problem::{Kind, Mistake, Problem},
    query::Query,
};

/// A body that says it is JSON; [`crate::layers`] has bounded it.
pub(crate) struct JsonBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "Send JSON, with the header Content-Type: application/json.";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|_| Problem::new(Kind::MalformedJson, "The body did not arrive whole."))
    }
}

/// `application/json` or `application/…+json`, whatever parameters follow (RFC 8259 knows none).
fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// The query of one operation.
pub(crate) trait FromQuery: Sized {
    /// Reads its parameters; `None` when a mistake was noted.
    fn from_query(query: &mut Query) -> Option<Self>;
}

/// An operation without parameters.
impl FromQuery for () {
    fn from_query(_: &mut Query) -> Option<Self> {
        Some(())
    }
}

/// A query whose every parameter is known and valid.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: FromQuery, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Escapes that are no UTF-8 become U+FFFD, which no parser takes.
        let RawQuery(pairs) = RawQuery::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Problem::invalid(vec![Mistake::parameter("?", error.to_string())]))?;
        let mut query = Query::new(pairs);
        let read = T::from_query(&mut query);
        query.finish(read).map(Self)
    }
}

/// `{symbol}` in a path.
pub(crate) struct SymbolName(pub(crate) Symbol);

impl<S: Send + Sync> FromRequestParts<S> for SymbolName {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        let symbol = Symbol::parse(&text);
        symbol.map(Self).map_err(|error| Problem::invalid(vec![Mistake::parameter("symbol", error.to_string())]))
    }
}

/// `{id}` in a path. Text that is no id is nobody's: the nil UUID is never drawn.
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(Path::from_request_parts(parts, state).await.map_or(Uuid::nil(), |Path(id)| id)))
    }
}

/// `{id}` in a path: a rule that is not deleted, and whose manage token the request bears, or its account's.
pub(crate) struct Owned(pub(crate) RuleRecord);

/// The same, also when the rule is deleted.
pub(crate) struct OnceOwned(pub(crate) RuleRecord);

impl FromRequestParts<App> for OnceOwned {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            let detail = "Send the manage_token of the alert, or the token of the account that it belongs to, in the \
                          header Authorization: Bearer <token>.";
            Problem::new(Kind::Unauthorized, detail)
        })?;
        let given = hash(token);
        let Anybody(caller) = Anybody::from_request_parts(parts, app).await?;
        let Id(id) = Id::from_request_parts(parts, app).await?;
        let (record, expected) = rules::find(&app.store, id).await?.ok_or_else(Problem::no_such_alert)?;
        // In constant time: how long a comparison takes must not say how much of a hash was right.
        let manages = bool::from(given.ct_eq(&expected));
        let owns = caller.is_some_and(|caller| record.user_id == Some(caller.user_id));
        if manages || owns { Ok(Self(record)) } else { Err(Problem::no_such_alert()) }
    }
}

impl FromRequestParts<App> for Owned {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let OnceOwned(record) = OnceOwned::from_request_parts(parts, app).await?;
        if record.status == RuleStatus::Deleted { Err(Problem::no_such_alert()) } else { Ok(Self(record)) }
    }
}

/// RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// What is kept of a token. It has 256 random bits, so a hash without salt gives nothing away.
pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, value.parse().expect("a header"))].into_iter().collect()
    }

    #[test]
    fn only_json_is_json() {
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(is_json(&headers(header::CONTENT_TYPE, good)), "{good}");
        }
        for bad in ["", "text/json", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
            assert!(!is_json(&headers(header::CONTENT_TYPE, bad)), "{bad}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_token_comes_behind_the_word_bearer() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("", None),
        ] {
            assert_eq!(bearer(&headers(header::AUTHORIZATION, value)), token, "{value}");
        }
    }
}
