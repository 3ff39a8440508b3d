//! Orders go through while reads are refused, and while other orders wait for the settler.

use std::time::Duration;

use e2e::{Api, ApiResponse, System, wait_until};
use reqwest::Method;
use serde_json::Value;

use super::trader::{ADA, Trader, limit, metric, move_to, path};

const TIMEOUT: Duration = Duration::from_secs(30);

async fn place(trader: &Trader<'_>, name: &str, prefer: &str) -> ApiResponse {
    let request = trader.api.request(Method::POST, "/v1/orders").bearer_auth(&trader.token).json(&limit(name));
    Api::send(request.header("prefer", prefer)).await
}

#[tokio::test]
async fn an_order_is_accepted_while_reads_are_refused() {
    let system = System::with(&[("TICKBELL_GATEWAY__MAX_IN_FLIGHT", "1")]).await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let database = e2e::Database::of(&system);
    let lock = database.lock("LOCK TABLE candles IN ACCESS EXCLUSIVE MODE").await;
    let blocked = system.api.request(Method::GET, "/v1/prices/BTC-USD/candles?interval=1m");
    let blocked = tokio::spawn(Api::send(blocked));
    let reads = "SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%FROM candles%' AND query NOT LIKE '%pg_sleep%'";
    wait_until("a read is blocked", TIMEOUT, async || (database.value(reads) == "1").then_some(())).await;
    let refused = system.api.get("/v1/prices").await.expect_status(503);
    assert_eq!(refused.json::<Value>()["type"], "urn:tickbell:problem:overloaded");
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(refused.headers.contains_key("x-request-id"));
    let order: Value = place(&ada, "one", "wait=9").await.expect_status(200).json();
    let cancelled = ada.cancel(&order).await.expect_status(200);
    assert_eq!(cancelled.json::<Value>()["status"], "cancelled");
    assert!(metric(&system, "tickbell_http_refusals_total{share=\"other\"}").await >= 1);
    drop(lock);
    blocked.await.expect("an answer").expect_status(200);
    ada.look(&path(&order)).await;
}

#[tokio::test]
async fn an_order_that_waits_for_the_settler_keeps_out_no_other() {
    let settings = [("TICKBELL_GATEWAY__MAX_ORDERS_IN_FLIGHT", "1"), ("TICKBELL_GATEWAY__MAX_ORDER_WAITS", "1")];
    let system = System::with(&settings).await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let database = e2e::Database::of(&system);
    let pause = database.pause_consumer("trade-settler").await;
    let request = system.api.request(Method::POST, "/v1/orders").bearer_auth(&ada.token).json(&limit("first"));
    let first = tokio::spawn(Api::send(request.header("prefer", "wait=9")));
    let saved = async || (database.value("SELECT count(*) FROM orders") == "1").then_some(());
    wait_until("the first order is saved", TIMEOUT, saved).await;
    // It leaves its share a moment later.
    let accepted = async || Some(place(&ada, "second", "respond-async").await).filter(|answer| answer.status == 202);
    wait_until("the second order is accepted", TIMEOUT, accepted).await;
    let third = place(&ada, "third", "wait=9").await.expect_status(202);
    assert!(!third.headers.contains_key("preference-applied"), "as many wait as may, so it is answered at once");
    drop(pause);
    let first = first.await.expect("an answer").expect_status(200);
    assert_eq!(first.headers["preference-applied"], "wait=9");
}
