//! The source `coinnews`, polled from a server of this test whose answers the test chooses, and from `tickbell coinnews`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::Path, extract::State, http::StatusCode, routing::get};
use e2e::{Api, Process, System, api::StoredTick, process::free_address, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How long it may take until something happens by itself.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Bitcoin's current price and its time; the history never changes.
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

/// Returns a JSON number with exactly these digits.
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

async fn poll(system: &System, url: &str) -> Vec<StoredTick> {
    let output = system.run(&["price-ingestor", "--source", &format!("coinnews:{url}"), "--once"]).await;
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    system.wait_until_processed().await;
    system.api.history("BTC-USD", "asc", 100).await
}

#[tokio::test]
async fn coinnews_prices_are_ingested_once_and_fire_alerts() {
    let mut system = System::start().await;
    let now = Now::new(Mutex::new(("27100.25", "2023-06-01T09:45:46.4501+03:30")));
    let url = serve(now.clone()).await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "28000" } } });
    let alert = system.api.subscribe(rule).await;
    system.wait_until_processed().await;

    let prices: Vec<_> = poll(&system, &url).await.iter().map(|tick| tick.price.to_string()).collect();
    assert_eq!(prices, ["26900", "27000.5", "27100.25"], "the history, oldest first, then the current price");
    assert_eq!(poll(&system, &url).await.len(), 3, "prices that were ingested before are recognised");
    *now.lock().expect("a lock") = ("28000.000000000001", "2023-06-01T06:20:00Z");
    let ticks = poll(&system, &url).await;
    let newest = ticks.last().expect("a tick");
    assert_eq!((newest.price.to_string().as_str(), newest.venue.as_str()), ("28000.000000000001", "coinnews"));
    assert_eq!((ticks.len(), newest.at.as_str()), (4, "2023-06-01T06:20:00.000000Z"));
    assert_eq!(system.api.firings(&alert).await.len(), 1);

    let unreachable = system.run(&["price-ingestor", "--source", "coinnews:http://127.0.0.1:1", "--once"]).await;
    assert_eq!(unreachable.status.code(), Some(1), "a poll without an answer is no success");
    system.stop().await;
}

/// A running `tickbell coinnews` and its address.
async fn coinnews(system: &System, name: &str, source: &str, settings: &[(&str, &str)]) -> (Process, String) {
    let (url, admin) = (free_address().to_string(), free_address().to_string());
    let mut command = system.tickbell();
    command.args(["coinnews", "--http", &url, "--source", source]).envs(settings.iter().copied());
    command.env("TICKBELL_ADMIN__LISTEN", admin);
    let mut process = system.spawn(name, &mut command);
    let url = format!("http://{url}");
    let api = Api::new(&url);
    wait_until("coinnews answers", TIMEOUT, async || {
        assert_eq!(process.ended(), None, "coinnews has ended");
        Api::try_send(api.request(reqwest::Method::GET, "/api/data")).await
    })
    .await;
    (process, url)
}

/// Returns the times and prices in coinnews' history of bitcoin.
async fn published(url: &str) -> BTreeMap<String, String> {
    let past: Vec<Value> = Api::new(url).get("/api/data/bitcoin/history").await.expect_status(200).json();
    past.iter().map(|past| (past["date"].as_str().expect("a time").to_owned(), past["value"].to_string())).collect()
}

#[tokio::test]
async fn a_random_walk_is_ingested_with_its_history_and_is_the_same_after_a_restart() {
    let mut system = System::start().await;
    let settings = [("TICKBELL_COINNEWS__INTERVAL", "10m")];
    let (server, url) = coinnews(&system, "coinnews", "walk", &settings).await;
    let api = Api::new(&url);
    assert_eq!(api.get("/api/data").await.text, r#"["bitcoin","dogecoin","ethereum","solana"]"#);
    let problem = api.get("/api/data/nocoin").await.expect_status(404);
    assert_eq!(problem.headers["content-type"], "application/problem+json");

    let before = published(&url).await;
    let ingested = poll(&system, &url).await;
    assert!((144..=146).contains(&ingested.len()), "a day, every ten minutes: {}", ingested.len());
    server.stop(Signal::SIGTERM).await;
    let (_server, url) = coinnews(&system, "coinnews-again", "walk", &settings).await;
    let ingested = poll(&system, &url).await;
    let after = published(&url).await;
    for tick in &ingested {
        let price = tick.price.to_string();
        let known = before.get(&tick.at).or_else(|| after.get(&tick.at));
        assert_eq!(known, Some(&price), "{} had another price before or after", tick.at);
    }
    for (at, price) in before.range(after.keys().next().expect("a past").clone()..) {
        assert_eq!(after.get(at), Some(price), "{at} had another price after the restart");
    }
    assert!(
        (144..=147).contains(&ingested.len()),
        "prices that were ingested before are recognised: {}",
        ingested.len()
    );
    system.stop().await;
}

#[tokio::test]
async fn a_recording_played_by_the_clock_fires_an_alert() {
    let mut system = System::start().await;
    let recording = system.home().join("news.csv");
    // At this speed the price rises by a tenth after a second, and a second later the recording begins again.
    let lines = "time,symbol,price\n2023-06-01T06:00:00Z,BTC-USD,100.50\n2023-06-01T07:00:00Z,BTC-USD,110.55\n";
    std::fs::write(&recording, lines).expect("a file");
    let source = format!("file:{}", recording.display());
    let speed = [("TICKBELL_COINNEWS__SPEED", "3600x")];
    let (_server, url) = coinnews(&system, "coinnews", &source, &speed).await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5", "since": "anchor" } } });
    let alert = system.api.subscribe(rule).await;
    system.wait_until_processed().await;

    let mut poller = system.tickbell();
    poller.args(["price-ingestor", "--source", &format!("coinnews:{url}")]);
    poller.env("TICKBELL_PRICE_INGESTOR__COINNEWS__INTERVAL", "1s");
    let _poller = system.spawn("poller", &mut poller);
    let mail = wait_until("a change of 5 % is mailed", TIMEOUT, async || system.mails().pop()).await;
    assert!(mail.subject.starts_with("BTC-USD"), "{}", mail.subject);
    let firings = system.api.firings(&alert).await;
    let prices: Vec<_> = firings.iter().map(|firing| firing.price.to_string()).collect();
    assert!(prices.iter().all(|price| ["100.50", "110.55"].contains(&price.as_str())), "{prices:?}");
    system.stop().await;
}
