//! Orders that are sent or stored twice are settled once.

use e2e::System;
use events::{OrderPlaced, envelope::NATS_MSG_ID};
use futures::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::trader::{ADA, BOB, Trader, amount, limit, metric, move_to, path};

#[tokio::test]
async fn an_order_that_is_sent_again_is_the_same_order() {
    let system = System::start().await;
    let ada = Trader::with(&system, ADA, "10000.00").await;
    let bob = Trader::with(&system, BOB, "10000.00").await;
    move_to(&system, "00:00:00", "7000").await;

    // Concurrent requests make one order.
    let first = limit("a");
    let answers = join_all((0..10).map(|_| ada.place(&first))).await;
    let orders: Vec<Value> = answers.into_iter().map(|answer| answer.expect_status(200).json()).collect();
    assert!(orders.iter().all(|order| order["id"] == orders[0]["id"]), "{orders:?}");
    assert_eq!(ada.balance("USD").await[1], "690.69", "held once");
    let by_key = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "0.1" });
    let answers = join_all((0..10).map(|_| ada.place_as(&by_key, Some("key 1")))).await;
    let orders: Vec<Value> = answers.into_iter().map(|answer| answer.expect_status(200).json()).collect();
    assert!(orders.iter().all(|order| order["id"] == orders[0]["id"]), "{orders:?}");

    // A number that is written differently is the same body; another number is not.
    let mut same = limit("a");
    same["size"] = json!(0.10);
    ada.place(&same).await.expect_status(200);
    let mut other = limit("a");
    other["size"] = json!("0.2");
    let refused: Value = ada.place(&other).await.expect_status(422).json();
    assert_eq!(refused["errors"][0]["pointer"], "/client_order_id");
    let refused: Value = ada.place_as(&limit("b"), Some("key 1")).await.expect_status(422).json();
    assert_eq!(refused["errors"][0]["parameter"], "Idempotency-Key");
    assert_eq!(ada.look("/v1/orders").await["items"].as_array().map(Vec::len), Some(2));

    // A key is stored and exported also when the order was placed under its `client_order_id` before.
    let again: Value = ada.place_as(&limit("a"), Some("key 2")).await.expect_status(200).json();
    ada.place_as(&limit("a"), Some("key 2")).await.expect_status(200);
    let refused: Value = ada.place_as(&by_key, Some("key 2")).await.expect_status(422).json();
    assert_eq!(refused["errors"][0]["parameter"], "Idempotency-Key");
    let export = ada.look("/v1/me/export").await;
    let order = export["orders"].as_array().expect("a list").iter().find(|order| order["id"] == again["id"]);
    assert_eq!(order.map(|order| &order["other_keys"]), Some(&json!(["key 2"])));

    // The ids and keys of one user do not collide with those of another.
    let theirs: Value = bob.place_as(&limit("a"), Some("key 1")).await.expect_status(200).json();
    assert_eq!(theirs["status"], "open");
}

#[tokio::test]
async fn an_order_that_the_broker_stores_again_is_settled_once() {
    let mut system = System::start().await;
    let ada = Trader::with(&system, ADA, "10000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let buy = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "0.1" });
    let order: Value = ada.place(&buy).await.expect_status(200).json();
    let balance = ada.balance("USD").await;

    // A gateway may publish a committed order so late that the broker no longer recognises its id. It is published among new
    // orders, so that the whole batch must be decided again.
    let placed = OrderPlaced {
        order_id: order["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
        user_id: ada.look("/v1/me").await["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
        terms: serde_json::from_value(buy.clone()).expect("terms"),
        after_alert: None,
        placed_at: order["placed_at"].as_str().and_then(|at| at.parse().ok()).expect("a time"),
    };
    let mut repeated = placed.to_message();
    repeated.id = "again".into();
    let id = repeated.headers.iter_mut().find(|(name, _)| name == NATS_MSG_ID).expect("an id");
    id.1.clone_from(&repeated.id);
    let repeated = [repeated];
    let (others, ()) = tokio::join!(join_all((0..8).map(|_| ada.place(&buy))), system.publish(&repeated));
    for other in others {
        assert_eq!(other.expect_status(200).json::<Value>()["status"], "filled");
    }
    system.wait_until_processed().await;
    assert_eq!(ada.look(&path(&order)).await, order, "the first order is unchanged");
    let spent = amount(&json!(balance[0])) - amount(&json!(ada.balance("USD").await[0]));
    assert_eq!(spent / Decimal::from(8), Decimal::from(10_000) - amount(&json!(balance[0])), "eight more, not nine");
    assert!(system.run(&["ledger", "verify"]).await.status.success());
    // The settler has read its position anew, because the database refused the batch.
    assert!(metric(&system, "tickbell_session_retries_total{service=\"trade-settler\"}").await >= 1, "no retry");
    system.stop().await;
}
