//! The three operations, as the poller of `price-ingestor` reads them.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use market_data::coinnews::{HistoryEntry, Quote};
use platform::clock;
use serde::Serialize;

use crate::market::Market;

/// The coin that a path names. A name that is no text is no coin's.
type Named = Result<Path<String>, PathRejection>;

/// The API over a market.
pub(crate) fn router(market: Market) -> Router {
    Router::new()
        .route("/api/data", get(coins))
        .route("/api/data/{coin}", get(quote))
        .route("/api/data/{coin}/history", get(history))
        .fallback(async || Problem::not_found("There is nothing here; the coins are at /api/data."))
        .method_not_allowed_fallback(async || Problem {
            status: StatusCode::METHOD_NOT_ALLOWED,
            detail: "This can only be read: use GET.",
        })
        .with_state(Arc::new(market))
}

async fn coins(State(market): State<Arc<Market>>) -> Response {
    Json(market.coins(clock::now())).into_response()
}

/// A quote under the coin's name.
#[derive(Serialize)]
struct Coin {
    name: String,
    #[serde(flatten)]
    quote: Quote,
}

async fn quote(State(market): State<Arc<Market>>, coin: Named) -> Result<Json<Coin>, Problem> {
    let Path(name) = coin?;
    let quote = market.quote(&name, clock::now()).ok_or_else(no_such_coin)?;
    Ok(Json(Coin { name, quote }))
}

async fn history(State(market): State<Arc<Market>>, coin: Named) -> Result<Json<Vec<HistoryEntry>>, Problem> {
    let Path(name) = coin?;
    market.history(&name, clock::now()).map(Json).ok_or_else(no_such_coin)
}

/// An answer that is not what was asked for, as RFC 9457 has it for what its status says already.
struct Problem {
    status: StatusCode,
    detail: &'static str,
}

impl Problem {
    fn not_found(detail: &'static str) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail }
    }
}

fn no_such_coin() -> Problem {
    Problem::not_found("There is no such coin, or it has no price yet; those that have are at /api/data.")
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        no_such_coin()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail } = self;
        let title = status.canonical_reason().unwrap_or("Error");
        let body = serde_json::json!({
            "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
        });
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use market_data::InitialPrices;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    /// The status, the type and the text of an answer.
    async fn ask(method: &str, path: &str) -> (u16, String, String) {
        let router = router(Market::walked(1, Duration::from_secs(86_400), &InitialPrices::default()));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let (head, body) = router.oneshot(request).await.expect("a router always answers").into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let kind = head.headers[header::CONTENT_TYPE].to_str().expect("text").to_owned();
        (head.status.as_u16(), kind, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn answers_are_what_the_poller_reads() {
        let (status, kind, body) = ask("GET", "/api/data").await;
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        assert_eq!(body, r#"["bitcoin","dogecoin","ethereum","solana"]"#);
        let (_, _, body) = ask("GET", "/api/data/bitcoin").await;
        let quote: Quote = serde_json::from_str(&body).expect("a quote");
        assert!(body.starts_with(&format!(r#"{{"name":"bitcoin","value":{},"updated_at":""#, quote.value)), "{body}");
        let (_, _, body) = ask("GET", "/api/data/bitcoin/history").await;
        let past: Vec<HistoryEntry> = serde_json::from_str(&body).expect("a history");
        assert_eq!(past, [HistoryEntry { value: quote.value, date: quote.updated_at }], "a price a day");
        assert!(body.starts_with(&format!(r#"[{{"value":{},"date":""#, quote.value)), "{body}");
    }

    #[tokio::test]
    async fn what_is_not_there_is_a_problem() {
        for (method, path, status) in [
            ("GET", "/api/data/nocoin", 404),
            ("GET", "/api/data/nocoin/history", 404),
            ("GET", "/api/data/%FF", 404),
            ("GET", "/", 404),
            ("POST", "/api/data", 405),
        ] {
            let (answered, kind, body) = ask(method, path).await;
            assert_eq!((answered, kind.as_str()), (status, "application/problem+json"), "{method} {path}");
            let problem: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(problem["status"], status);
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{problem}");
        }
    }
}
