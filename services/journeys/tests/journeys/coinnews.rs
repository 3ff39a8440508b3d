//! The coinnews API, answered by a server of our own.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::Path, extract::State, http::StatusCode, routing::get};
use journeys::{System, api::PastPrice};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Bitcoin's current price and its time; the past stays as it is.
type Now = Arc<Mutex<(&'static str, &'static str)>>;

async fn coin(State(now): State<Now>, Path(coin): Path<String>) -> Result<Json<Value>, StatusCode> {
    let (value, at) = *now.lock().expect("a lock");
    match coin.as_str() {
        "bitcoin" => Ok(Json(json!({ "name": coin, "value": number(value), "updated_at": at }))),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

async fn history(Path(coin): Path<String>) -> Result<Json<Value>, StatusCode> {
    let past = json!([
        { "value": 27000.5, "date": "2023-06-01T06:00:00Z" },
        { "value": 26900, "date": "2023-06-01T05:00:00Z" },
        { "value": "none", "date": "never" },
    ]);
    if coin == "bitcoin" { Ok(Json(past)) } else { Err(StatusCode::NOT_FOUND) }
}

/// Digit by digit, as the API writes it.
fn number(text: &str) -> Value {
    serde_json::from_str(text).expect("a number")
}

async fn serve(now: Now) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let coins = get(|| async { Json(json!(["bitcoin", "delisted"])) });
    let router = Router::new()
        .route("/api/data", coins)
        .route("/api/data/{coin}", get(coin))
        .route("/api/data/{coin}/history", get(history))
        .with_state(now);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn poll(system: &System, url: &str) -> Vec<PastPrice> {
    let output = system.run(&["price-ingestor", "--source", &format!("coinnews:{url}"), "--once"]).await;
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    system.until_processed().await;
    system.api.history("BTC-USD", "asc", 100).await
}

#[tokio::test]
async fn coin_news_become_prices_once_and_ring() {
    let mut system = System::start().await;
    let now = Now::new(Mutex::new(("27100.25", "2023-06-01T09:45:46.4501+03:30")));
    let url = serve(now.clone()).await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "28000" } } });
    let alert = system.api.subscribe(rule).await;
    system.until_processed().await;

    let prices: Vec<_> = poll(&system, &url).await.iter().map(|tick| tick.price.to_string()).collect();
    assert_eq!(prices, ["26900", "27000.5", "27100.25"], "the past, oldest first, then the present");
    assert_eq!(poll(&system, &url).await.len(), 3, "what was taken before is recognised");
    *now.lock().expect("a lock") = ("28000.000000000001", "2023-06-01T06:20:00Z");
    let ticks = poll(&system, &url).await;
    let newest = ticks.last().expect("a tick");
    assert_eq!((newest.price.to_string().as_str(), newest.venue.as_str()), ("28000.000000000001", "coinnews"));
    assert_eq!((ticks.len(), newest.at.as_str()), (4, "2023-06-01T06:20:00.000000Z"));
    assert_eq!(system.api.firings(&alert).await.len(), 1);

    let nobody = system.run(&["price-ingestor", "--source", "coinnews:http://127.0.0.1:1", "--once"]).await;
    assert_eq!(nobody.status.code(), Some(1), "a poll that brings nothing is no success");
    system.stop().await;
}
