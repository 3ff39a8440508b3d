//! People who trade: from the deposit to the mail about what was bought, and what they cannot do.

use std::collections::BTreeMap;

use e2e::{Api, ApiResponse, System, tape, wait_until};
use events::{OrderPlaced, envelope::NATS_MSG_ID};
use futures::future::join_all;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// Somebody who is signed in and trades.
struct Trader<'a> {
    api: &'a Api,
    token: String,
}

impl<'a> Trader<'a> {
    /// Signs up, and gets so many dollars from the operator.
    async fn with(system: &'a System, email: &str, dollars: &str) -> Self {
        system.sign_up(email).await;
        let token = system.api.sign_in(email).await;
        let deposit = system.run(&["accounts", "deposit", email, dollars, "USD"]).await;
        let said = String::from_utf8_lossy(&deposit.stdout);
        assert!(said.contains(&format!("{email} has {dollars} USD now")), "{said}{deposit:?}");
        Self { api: &system.api, token }
    }

    /// Places an order and waits until it is decided.
    async fn place(&self, terms: &Value) -> ApiResponse {
        self.place_as(terms, None).await
    }

    async fn place_as(&self, terms: &Value, key: Option<&str>) -> ApiResponse {
        let request = self.api.request(Method::POST, "/v1/orders").bearer_auth(&self.token).json(terms);
        let request = request.header("prefer", "wait=9");
        Api::send(match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
        .await
    }

    async fn cancel(&self, order: &Value) -> ApiResponse {
        let request = self.api.request(Method::DELETE, &path(order)).bearer_auth(&self.token);
        Api::send(request.header("prefer", "wait=9")).await
    }

    async fn look(&self, path: &str) -> Value {
        self.api.call(&self.token, Method::GET, path).await.expect_status(200).json()
    }

    /// Waits until an order stands so.
    async fn wait_for_status(&self, order: &Value, status: &str) -> Value {
        let look = async || Some(self.look(&path(order)).await).filter(|order| order["status"] == status);
        wait_until(&format!("the order is {status}"), TIMEOUT, look).await
    }

    /// Available and held of an asset; the total must be their sum.
    async fn balance(&self, asset: &str) -> [String; 2] {
        let accounts = self.look("/v1/accounts").await;
        let found = accounts["items"].as_array().expect("a list").iter().find(|account| account["asset"] == asset);
        let Some(account) = found else { return ["none".into(), "none".into()] };
        let [available, held, total] = ["available", "held", "total"].map(|name| amount(&account[name]));
        assert_eq!(available + held, total);
        [available.to_string(), held.to_string()]
    }

    /// What all entries of the ledger sum to, by account and asset.
    async fn sums(&self) -> BTreeMap<String, Decimal> {
        let postings: Vec<Value> = self.api.pages("/v1/ledger?limit=2", Some(&self.token)).await;
        let mut sums = BTreeMap::new();
        for entry in postings.iter().flat_map(|posting| posting["entries"].as_array().expect("entries")) {
            let name = format!("{} {}", entry["account"], entry["asset"]).replace('"', "");
            *sums.entry(name).or_insert(Decimal::ZERO) += amount(&entry["amount"]);
        }
        sums
    }
}

fn amount(value: &Value) -> Decimal {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no amount"))
}

fn path(order: &Value) -> String {
    format!("/v1/orders/{}", order["id"].as_str().expect("an id"))
}

fn limit(client_order_id: &str) -> Value {
    json!({ "symbol": "BTC-USD", "side": "buy", "type": "limit", "size": "0.1", "price": "6900",
            "client_order_id": client_order_id })
}

/// The value of a metric, by its name and labels.
async fn metric(system: &System, name: &str) -> u64 {
    let text = system.api.get("/metrics").await.expect_status(200).text;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{name} is not in {text}"))
}

async fn move_to(system: &System, time: &str, price: &str) {
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", time, price))]).await;
    system.wait_until_processed().await;
}

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
    // 685.00 and a fee of 0.685, half-even.
    assert_eq!(ada.balance("USD").await, ["314.32", "0.00"]);
    assert_eq!(ada.balance("BTC").await, ["0.10000000", "0.00000000"]);
    let trades = ada.look(&format!("/v1/trades?order_id={}", order["id"].as_str().expect("an id"))).await;
    assert_eq!(trades["items"], json!([filled["trade"]]));
    let sums = ada.sums().await;
    let sum = |name: &str| sums[name].normalize().to_string();
    assert_eq!([sum("available USD"), sum("available BTC"), sum("held USD")], ["314.32", "0.1", "0"]);
    system.mail_to(ADA, "Bought 0.10 BTC at 6,850 USD").await;

    // What is sold comes back, less spread and fee, and nothing is left over.
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
    let dear = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "1000" });
    let placed = join_all((0..ORDERS).map(|n| ada.place(if n % 8 == 0 { &dear } else { &buy }))).await;
    let orders: Vec<Value> = placed.iter().map(ApiResponse::json).collect();
    system.wait_until_processed().await;
    let mails: Vec<_> =
        system.mails().into_iter().filter(|mail| mail.to == ADA && mail.text.contains("Order:")).collect();
    for order in &orders {
        let id = format!("Order:    {}", order["id"].as_str().expect("an id"));
        let (times, said) = (mails.iter().map(|mail| mail.text.matches(&id).count()).sum::<usize>(), &order["status"]);
        assert_eq!(times, 1, "{order} is reported");
        assert!(said == "filled" || said == "rejected", "{said}");
    }
    assert!(mails.len() < ORDERS, "{} mails", mails.len());
    let together = mails.iter().find(|mail| mail.subject.contains(" orders: ")).expect("a mail of several");
    assert!(together.html.contains("<h2"), "{}", together.html);
    system.stop().await;
}

#[tokio::test]
async fn an_order_that_is_sent_again_is_the_same_order() {
    let system = System::start().await;
    let ada = Trader::with(&system, ADA, "10000.00").await;
    let bob = Trader::with(&system, BOB, "10000.00").await;
    move_to(&system, "00:00:00", "7000").await;

    // All at once: one of them is first.
    let first = limit("a");
    let answers = join_all((0..10).map(|_| ada.place(&first))).await;
    let orders: Vec<Value> = answers.into_iter().map(|answer| answer.expect_status(200).json()).collect();
    assert!(orders.iter().all(|order| order["id"] == orders[0]["id"]), "{orders:?}");
    assert_eq!(ada.balance("USD").await[1], "690.69", "held once");
    let by_key = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "0.1" });
    let answers = join_all((0..10).map(|_| ada.place_as(&by_key, Some("key 1")))).await;
    let orders: Vec<Value> = answers.into_iter().map(|answer| answer.expect_status(200).json()).collect();
    assert!(orders.iter().all(|order| order["id"] == orders[0]["id"]), "{orders:?}");

    // The same number in other digits is the same body; anything else is another.
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

    // A key is export also when the order was known by its other name first.
    let again: Value = ada.place_as(&limit("a"), Some("key 2")).await.expect_status(200).json();
    ada.place_as(&limit("a"), Some("key 2")).await.expect_status(200);
    let refused: Value = ada.place_as(&by_key, Some("key 2")).await.expect_status(422).json();
    assert_eq!(refused["errors"][0]["parameter"], "Idempotency-Key");
    let export = ada.look("/v1/me/export").await;
    let order = export["orders"].as_array().expect("a list").iter().find(|order| order["id"] == again["id"]);
    assert_eq!(order.map(|order| &order["other_keys"]), Some(&json!(["key 2"])));

    // Another person's names are their own.
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

    // As by a gateway that publishes what it has committed long after the broker has forgotten its id: among new orders, so
    // that the batch it is in must be decided again.
    let placed = OrderPlaced {
        order_id: order["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
        user_id: ada.look("/v1/me").await["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
        terms: serde_json::from_value(buy.clone()).expect("terms"),
        after_alert: None,
        placed_at: order["placed_at"].as_str().and_then(|at| at.parse().ok()).expect("a time"),
    };
    let mut again = placed.to_message();
    again.id = "again".into();
    let id = again.headers.iter_mut().find(|(name, _)| name == NATS_MSG_ID).expect("an id");
    id.1.clone_from(&again.id);
    let again = [again];
    let (others, ()) = tokio::join!(join_all((0..8).map(|_| ada.place(&buy))), system.publish(&again));
    for other in others {
        assert_eq!(other.expect_status(200).json::<Value>()["status"], "filled");
    }
    system.wait_until_processed().await;
    assert_eq!(ada.look(&path(&order)).await, order, "it stays as it was");
    let spent = amount(&json!(balance[0])) - amount(&json!(ada.balance("USD").await[0]));
    assert_eq!(spent / Decimal::from(8), Decimal::from(10_000) - amount(&json!(balance[0])), "eight more, not nine");
    assert!(system.run(&["ledger", "verify"]).await.status.success());
    // The settler has read its position anew, because the database refused the batch.
    assert!(metric(&system, "tickbell_session_retries_total{service=\"trade-settler\"}").await >= 1, "no retry");
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
    for (changes, at) in [
        (json!({ "size": "0.123456789" }), "/size"),
        (json!({ "funds": "10.005" }), "/funds"),
        (json!({ "size": "1", "price": "1" }), "/price"),
        (json!({ "size": "1", "colour": "red" }), "/colour"),
    ] {
        let refused: Value = ada.place(&market(changes)).await.expect_status(422).json();
        assert_eq!(refused["errors"][0]["pointer"], at);
    }
    for (changes, reason) in
        [(json!({ "size": "1", "symbol": "NO-SUCH" }), "unknown_symbol"), (json!({ "size": "1" }), "no_price")]
    {
        let order: Value = ada.place(&market(changes)).await.expect_status(200).json();
        assert_eq!((&order["status"], &order["reason"]), (&json!("rejected"), &json!(reason)));
    }
    let request = system.api.request(Method::POST, "/v1/orders").bearer_auth(&ada.token).json(&limit("later"));
    let received: Value = Api::send(request).await.expect_status(202).json();
    assert_eq!(received["status"], "received", "nobody waited");
    ada.wait_for_status(&received, "open").await;
}

#[tokio::test]
async fn an_alert_triggers_its_order_once_and_a_deleted_alert_cancels_it() {
    let system = System::with(&[("TICKBELL_GATEWAY__ORDERS_FROM_ALERTS", "on")]).await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let rule = |limit: &str| {
        json!({ "symbol": "BTC-USD", "condition": { "price": { "below": limit } }, "notify": { "email": ADA },
                "then": { "order": { "side": "buy", "type": "market", "funds": "100.00" } } })
    };
    let nobody: Value = system.api.post("/v1/alerts", &rule("6500")).await.expect_status(422).json();
    assert_eq!(nobody["errors"][0]["pointer"], "/then");
    let half = system.api.create_api_key(&ada.token, &["alerts"]).await;
    system.api.call_with(&half, Method::POST, "/v1/alerts", &rule("6500")).await.expect_status(403);

    let make = async |limit: &str| {
        let made = system.api.call_with(&ada.token, Method::POST, "/v1/alerts", &rule(limit)).await;
        let alert: Value = made.expect_status(201).json();
        ada.wait_for_status(&alert["order"], "open").await;
        alert
    };
    let (fires, goes) = (make("6500").await, make("6000").await);
    assert_eq!(ada.balance("USD").await, ["800.00", "200.00"]);
    let alert_path = |alert: &Value| format!("/v1/alerts/{}", alert["id"].as_str().expect("an id"));
    system.api.call(&ada.token, Method::DELETE, &alert_path(&goes)).await.expect_status(204);
    ada.wait_for_status(&goes["order"], "cancelled").await;

    for (time, price) in [("00:01:00", "6400"), ("00:02:00", "6600"), ("00:03:00", "5900")] {
        move_to(&system, time, price).await;
    }
    let filled = ada.wait_for_status(&fires["order"], "filled").await;
    assert_eq!(filled["alert_id"], fires["id"]);
    assert_eq!(ada.look(&alert_path(&fires)).await["order"]["status"], "filled");
    assert_eq!(ada.look("/v1/trades").await["items"].as_array().map(Vec::len), Some(1), "once");

    // What it has placed is an order like any other: the alert may go.
    let mut waits = rule("5950");
    waits["condition"] = json!({ "price": { "above": "5950" } });
    waits["repeat"] = "once".into();
    waits["then"]["order"] = json!({ "side": "buy", "type": "limit", "size": "0.01", "price": "5000" });
    let waits: Value =
        system.api.call_with(&ada.token, Method::POST, "/v1/alerts", &waits).await.expect_status(201).json();
    ada.wait_for_status(&waits["order"], "open").await;
    move_to(&system, "00:04:00", "5960").await;
    assert_eq!(system.api.call(&ada.token, Method::GET, &alert_path(&waits)).await.json::<Value>()["status"], "done");
    system.api.call(&ada.token, Method::DELETE, &alert_path(&waits)).await.expect_status(204);
    system.wait_until_processed().await;
    assert_eq!(ada.look(&path(&waits["order"])).await["status"], "open");
    move_to(&system, "00:05:00", "4990").await;
    ada.wait_for_status(&waits["order"], "filled").await;
}

#[tokio::test]
async fn the_command_line_places_lists_and_cancels_orders() {
    let system = System::start().await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let key = system.api.create_api_key(&ada.token, &["read", "trade"]).await;
    let run = async |line: &str, status: i32| {
        let mut command = tokio::process::Command::from(system.tickbell());
        command.args(line.split(' ')).env("TICKBELL_CLIENT__API_KEY", &key).kill_on_drop(true);
        let output = command.output().await.expect("the program runs");
        assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let placed = run("orders place BTC-USD buy limit --size 0.1 --price 6900 --json", 0).await;
    let order: Value = serde_json::from_str(&placed).expect("an order");
    assert_eq!(order["status"], "open");
    let id = order["id"].as_str().expect("an id");
    assert!(run("accounts show", 0).await.contains("USD    309.31     690.69  1000.00"));
    assert!(run("orders list --status open", 0).await.contains(id));
    assert!(run(&format!("orders show {id}"), 0).await.contains("690.69"));
    assert!(run(&format!("orders cancel {id} --wait 9"), 0).await.contains("cancelled"));
    assert!(run(&format!("orders cancel {id}"), 1).await.contains("stays so"));
    assert!(run("orders place BTC-USD sell market --size 1 --wait 9", 1).await.contains("insufficient_funds"));
    assert!(run("orders place BTC-USD buy market", 1).await.contains("/size"));
    let keyless = system.run(&["orders", "list"]).await;
    assert_eq!(keyless.status.code(), Some(64), "{keyless:?}");

    let deposit = async |line: &str| system.run(&line.split(' ').collect::<Vec<_>>()).await;
    for _ in 0..2 {
        let done = deposit("accounts deposit ada@example.com 5.00 USD --reference five").await;
        assert!(String::from_utf8_lossy(&done.stdout).contains("has 1005.00 USD now"), "{done:?}");
    }
    for refused in [
        "accounts deposit ada@example.com 6.00 USD --reference five",
        "accounts deposit ada@example.com 5.001 USD",
        "accounts deposit eve@example.com 5.00 USD",
        "accounts deposit ada@example.com 5.00 NEW",
    ] {
        assert_eq!(deposit(refused).await.status.code(), Some(1), "{refused}");
    }
    assert_eq!(deposit("accounts asset NEW 3").await.status.code(), Some(0));
    assert_eq!(deposit("accounts asset NEW 4").await.status.code(), Some(1), "what is counted so stays so");
    let done = deposit("accounts deposit ada@example.com 5.001 NEW").await;
    assert!(String::from_utf8_lossy(&done.stdout).contains("has 5.001 NEW now"), "{done:?}");
}
