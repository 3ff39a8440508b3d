//! Which tick may price an order, and which event may make money.

use e2e::{Database, System, tape};
use events::{DepositRequested, Timestamp};
use platform::clock;
use serde_json::{Value, json};
use uuid::Uuid;

use super::trader::{ADA, Trader};

fn sell(changes: Value) -> Value {
    let mut order = json!({ "symbol": "BTC-USD", "side": "sell", "type": "market", "size": "0.1" });
    order.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
    order
}

async fn funded(system: &System) -> Trader<'_> {
    let ada = Trader::with(system, ADA, "1000.00").await;
    let deposit = system.run(&["accounts", "deposit", ADA, "5", "BTC"]).await;
    assert!(deposit.status.success(), "{deposit:?}");
    ada
}

#[tokio::test]
async fn a_feed_that_died_whole_fills_no_order() {
    let system = System::with(&[("TICKBELL_TRADE_SETTLER__PRICE_AGE", "stored")]).await;
    let ada = funded(&system).await;
    let mut tick = tape::tick("test", "BTC-USD", "00:00:00", "5000");
    tick.at = Timestamp::from_micros(clock::now().micros() - 90_000_000).expect("a time");
    system.publish(&[tape::message(&tick)]).await;
    system.wait_until_processed().await;
    let rejected: Value = ada.place(&sell(json!({}))).await.expect_status(200).json();
    assert_eq!((&rejected["status"], &rejected["reason"]), (&json!("rejected"), &json!("stale_price")));
    let limit = sell(json!({ "type": "limit", "price": "4000" }));
    let waits: Value = ada.place(&limit).await.expect_status(200).json();
    assert_eq!(waits["status"], "open", "{waits}");
    tick.at = clock::now();
    system.publish(&[tape::message(&tick)]).await;
    ada.wait_for_status(&waits, "filled").await;
    let filled: Value = ada.place(&sell(json!({}))).await.expect_status(200).json();
    assert_eq!(filled["status"], "filled", "{filled}");
}

#[tokio::test]
async fn another_venue_never_prices_an_order() {
    let mut system = System::start().await;
    let token = funded(&system).await.token;
    let ticks = [("test", "00:00:00", "5000"), ("other", "00:00:01", "9000")];
    system.publish(&ticks.map(|(venue, at, price)| tape::message(&tape::tick(venue, "BTC-USD", at, price)))).await;
    system.wait_until_processed().await;
    for _ in 0..2 {
        let ada = Trader { api: &system.api, token: token.clone() };
        let limit = sell(json!({ "type": "limit", "price": "8000" }));
        assert_eq!(ada.place(&limit).await.expect_status(200).json::<Value>()["status"], "open");
        for (venue, price) in [(Value::Null, "5000"), ("test".into(), "5000"), ("other".into(), "9000")] {
            let order: Value = ada.place(&sell(json!({ "venue": venue }))).await.expect_status(200).json();
            assert_eq!((&order["trade"]["tick_price"], &order["venue"]), (&json!(price), &venue), "{order}");
        }
        // The primary venue outlives a restart.
        system.stop().await;
        system.up().await;
    }
    let verified = system.run(&["ledger", "verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[tokio::test]
async fn a_deposit_that_nobody_requested_makes_no_money() {
    let system = System::start().await;
    let ada = funded(&system).await;
    let me = ada.look("/v1/me").await;
    let forged = DepositRequested {
        deposit_id: Uuid::from_u128(7),
        user_id: me["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
        asset: "USD".parse().expect("an asset"),
        amount: "1000000".parse().expect("an amount"),
        requested_at: clock::now(),
    };
    system.publish(&[forged.to_message()]).await;
    system.wait_until_processed().await;
    assert_eq!(ada.balance("USD").await[0], "1000.00");
    let reason = Database::of(&system).value("SELECT reason FROM dead_letters");
    assert!(reason.contains("is not in table deposits"), "{reason}");
    let verified = system.run(&["ledger", "verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
