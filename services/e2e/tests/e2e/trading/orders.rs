//! Orders through the API: from the deposit to the mail about a trade, cancellation, and rejected orders.

use e2e::{Api, ApiResponse, System, tape};
use futures::future::join_all;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::trader::{ADA, BOB, Trader, limit, move_to, path};

#[tokio::test]
async fn a_user_funds_an_account_buys_and_is_notified() {
    let system = System::with(&[("TICKBELL_GATEWAY__CONFIRMATION", "required")]).await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;

    let answer = ada.place(&limit("first")).await.expect_status(200);
    assert_eq!(answer.headers["preference-applied"], "wait=9");
    let order: Value = answer.json();
    assert_eq!(answer.headers["location"], path(&order).as_str());
    assert_eq!((&order["status"], &order["held"]["amount"]), (&json!("open"), &json!("690.69")));
    assert_eq!(ada.balance("USD").await, ["309.31", "690.69"]);

    move_to(&system, "00:01:00", "6850").await;
    let filled = ada.wait_for_status(&order, "filled").await;
    assert_eq!((&filled["trade"]["price"], &filled["trade"]["tick_price"]), (&json!("6850"), &json!("6850")));
    assert_eq!(filled["held"], Value::Null);
    // 685.00 and a fee of 0.685, rounded up.
    assert_eq!(ada.balance("USD").await, ["314.31", "0.00"]);
    assert_eq!(ada.balance("BTC").await, ["0.10000000", "0.00000000"]);
    let trades = ada.look(&format!("/v1/trades?order_id={}", order["id"].as_str().expect("an id"))).await;
    assert_eq!(trades["items"], json!([filled["trade"]]));
    let sums = ada.sums().await;
    let sum = |name: &str| sums[name].normalize().to_string();
    assert_eq!([sum("available USD"), sum("available BTC"), sum("held USD")], ["314.31", "0.1", "0"]);
    system.mail_to(ADA, "Bought 0.10 BTC at 6,850 USD").await;

    // Selling everything leaves no remainder.
    let sell = json!({ "symbol": "BTC-USD", "side": "sell", "type": "market", "size": 0.1 });
    let sold: Value = ada.place(&sell).await.expect_status(200).json();
    assert_eq!(sold["status"], "filled", "{sold}");
    assert_eq!(ada.balance("BTC").await, ["0.00000000", "0.00000000"]);
    let again: Value = ada.place(&sell).await.expect_status(200).json();
    assert_eq!((&again["status"], &again["reason"]), (&json!("rejected"), &json!("insufficient_funds")));
    let listed = ada.look("/v1/orders?status=rejected&symbol=BTC-USD").await;
    assert_eq!(listed["items"], json!([again]));
    let all: Vec<Value> = system.api.pages("/v1/orders?limit=1", Some(&ada.token)).await;
    assert_eq!(all.iter().map(|order| &order["id"]).collect::<Vec<_>>(), [&again["id"], &sold["id"], &order["id"]]);
}

#[tokio::test]
async fn many_orders_are_each_reported_once_and_in_fewer_mails() {
    const ORDERS: usize = 24;
    let mut system = System::start().await;
    let ada = Trader::with(&system, ADA, "10000.00").await;
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "100"))]).await;
    system.wait_until_processed().await;
    let buy = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "0.1" });
    let too_large = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "1000" });
    let placed = join_all((0..ORDERS).map(|n| ada.place(if n % 8 == 0 { &too_large } else { &buy }))).await;
    let orders: Vec<Value> = placed.iter().map(ApiResponse::json).collect();
    system.wait_until_processed().await;
    let mails: Vec<_> =
        system.mails().into_iter().filter(|mail| mail.to == ADA && mail.text.contains("Order:")).collect();
    for order in &orders {
        let id = format!("Order:    {}", order["id"].as_str().expect("an id"));
        let (times, status) =
            (mails.iter().map(|mail| mail.text.matches(&id).count()).sum::<usize>(), &order["status"]);
        assert_eq!(times, 1, "{order} is reported");
        assert!(status == "filled" || status == "rejected", "{status}");
    }
    assert!(mails.len() < ORDERS, "{} mails", mails.len());
    let batched = mails.iter().find(|mail| mail.subject.contains(" orders: ")).expect("a mail of several");
    assert!(batched.html.contains("<h2"), "{}", batched.html);
    system.stop().await;
}

#[tokio::test]
async fn an_order_is_cancelled_once_and_by_its_owner_alone() {
    let system = System::start().await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    let bob = Trader::with(&system, BOB, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let order: Value = ada.place(&limit("a")).await.expect_status(200).json();

    let missing = json!({ "id": "00000000-0000-7000-8000-000000000000" });
    for method in [Method::GET, Method::DELETE] {
        let [foreign, never] = [
            system.api.call(&bob.token, method.clone(), &path(&order)).await.expect_status(404),
            system.api.call(&bob.token, method, &path(&missing)).await.expect_status(404),
        ]
        .map(|answer| answer.json::<Value>()["detail"].clone());
        assert_eq!(foreign, never);
    }
    for list in ["/v1/orders", "/v1/trades", "/v1/orders?symbol=BTC-USD"] {
        assert_eq!(bob.look(list).await["items"], json!([]), "{list}");
    }

    let cancelled: Value = ada.cancel(&order).await.expect_status(200).json();
    assert_eq!((&cancelled["status"], &cancelled["held"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(ada.balance("USD").await, ["1000.00", "0.00"]);
    ada.cancel(&order).await.expect_status(409);
    move_to(&system, "00:01:00", "6000").await;
    assert_eq!(ada.look(&path(&order)).await["status"], "cancelled");
    let sums = ada.sums().await;
    assert_eq!((sums["available USD"], sums["held USD"]), (Decimal::from(1_000), Decimal::ZERO));
}

#[tokio::test]
async fn an_order_that_cannot_settle_is_rejected_with_its_reason() {
    let system = System::start().await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    let market = |changes: Value| {
        let mut order = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market" });
        order.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        order
    };
    let share = system.run(&["accounts", "asset", "SAP", "6", "--quote", "EUR"]).await;
    assert!(share.status.success(), "{share:?}");
    for (changes, at) in [
        (json!({ "size": "0.123456789" }), "/size"),
        (json!({ "funds": "10.005" }), "/funds"),
        (json!({ "size": "1", "price": "1" }), "/price"),
        (json!({ "size": "1", "colour": "red" }), "/colour"),
        (json!({ "size": "1", "symbol": "BRK-B" }), "/symbol"),
        (json!({ "size": "1", "symbol": "BTC" }), "/symbol"),
        (json!({ "size": "1", "symbol": "SAP" }), "/symbol"),
    ] {
        let refused: Value = ada.place(&market(changes)).await.expect_status(422).json();
        assert_eq!(refused["errors"][0]["pointer"], at);
    }
    for (changes, reason) in [
        (json!({ "size": "1", "symbol": "NO-SUCH" }), "unknown_symbol"),
        (json!({ "size": "1", "symbol": "BRK.B" }), "unknown_symbol"),
        (json!({ "size": "1", "symbol": "SPY" }), "no_price"),
        (json!({ "size": "1" }), "no_price"),
    ] {
        let order: Value = ada.place(&market(changes)).await.expect_status(200).json();
        assert_eq!((&order["status"], &order["reason"]), (&json!("rejected"), &json!(reason)));
    }
    let request = system.api.request(Method::POST, "/v1/orders").bearer_auth(&ada.token).json(&limit("later"));
    let received: Value = Api::send(request).await.expect_status(202).json();
    assert_eq!(received["status"], "received", "the request did not ask to wait");
    ada.wait_for_status(&received, "open").await;
}
