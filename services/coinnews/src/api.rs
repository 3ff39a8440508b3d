//! The three endpoints of the coinnews API over HTTP.

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

use crate::coin_prices::CoinPrices;

/// The coin that a path names; a name that is not UTF-8 is rejected.
type CoinName = Result<Path<String>, PathRejection>;

/// Returns the routes of the API.
pub(crate) fn router(prices: CoinPrices) -> Router {
    Router::new()
        .route("/api/data", get(coins))
        .route("/api/data/{coin}", get(quote))
        .route("/api/data/{coin}/history", get(history))
        .fallback(async || Problem::not_found("This path does not exist; GET /api/data lists the coins."))
        .method_not_allowed_fallback(async || Problem {
            status: StatusCode::METHOD_NOT_ALLOWED,
            detail: "This path supports GET only.",
        })
        .with_state(Arc::new(prices))
}

async fn coins(State(prices): State<Arc<CoinPrices>>) -> Response {
    Json(prices.coins(clock::now())).into_response()
}

/// The body of `GET /api/data/{coin}`.
#[derive(Serialize)]
struct CoinQuote {
    name: String,
    #[serde(flatten)]
    quote: Quote,
}

async fn quote(State(prices): State<Arc<CoinPrices>>, coin: CoinName) -> Result<Json<CoinQuote>, Problem> {
    let Path(name) = coin?;
    let quote = prices.quote(&name, clock::now()).ok_or_else(unknown_coin)?;
    Ok(Json(CoinQuote { name, quote }))
}

async fn history(State(prices): State<Arc<CoinPrices>>, coin: CoinName) -> Result<Json<Vec<HistoryEntry>>, Problem> {
    let Path(name) = coin?;
    prices.history(&name, clock::now()).map(Json).ok_or_else(unknown_coin)
}

/// An error answer as in RFC 9457, of a type that its HTTP status already explains.
struct Problem {
    status: StatusCode,
    detail: &'static str,
}

impl Problem {
    fn not_found(detail: &'static str) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail }
    }
}

fn unknown_coin() -> Problem {
    Problem::not_found("This coin does not exist or has no price yet; GET /api/data lists the coins that have one.")
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        unknown_coin()
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

    /// Sends a request; returns the status, the content type and the body of the answer.
    async fn ask(method: &str, path: &str) -> (u16, String, String) {
        let router = router(CoinPrices::from_random_walks(1, Duration::from_secs(86_400), &InitialPrices::default()));
        let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let (head, body) = router.oneshot(request).await.expect("a router always answers").into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let kind = head.headers[header::CONTENT_TYPE].to_str().expect("text").to_owned();
        (head.status.as_u16(), kind, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn answers_can_be_read_by_the_poller() {
        let (status, kind, body) = ask("GET", "/api/data").await;
        assert_eq!((status, kind.as_str()), (200, "application/json"));
        assert_eq!(body, r#"["bitcoin","dogecoin","ethereum","solana"]"#);
        let (_, _, body) = ask("GET", "/api/data/bitcoin").await;
        let quote: Quote = serde_json::from_str(&body).expect("a quote");
        assert!(body.starts_with(&format!(r#"{{"name":"bitcoin","value":{},"updated_at":""#, quote.value)), "{body}");
        let (_, _, body) = ask("GET", "/api/data/bitcoin/history").await;
        let past: Vec<HistoryEntry> = serde_json::from_str(&body).expect("a history");
        assert_eq!(past, [HistoryEntry { value: quote.value, date: quote.updated_at }], "one price per day");
        assert!(body.starts_with(&format!(r#"[{{"value":{},"date":""#, quote.value)), "{body}");
    }

    #[tokio::test]
    async fn an_unknown_path_is_answered_with_a_problem() {
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
