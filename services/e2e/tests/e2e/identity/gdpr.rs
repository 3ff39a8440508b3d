//! Export and erasure of the data that is stored about a person.

use std::{process::Output, time::Duration};

use e2e::{Api, ApiResponse, Database, System, tape, wait_until};
use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn exported(system: &System, address: &str) -> Value {
    let output = system.run(&["person", "export", address]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn what_is_stored_about_an_address_is_exported_and_then_erased() {
    let mut system = System::start().await;
    let rule = |address: &str| {
        let change = json!({ "change": { "percent": "5" } });
        json!({ "symbol": "BTC-USD", "condition": change, "notify": { "email": address } })
    };
    let alert = system.api.subscribe(rule("ada@example.com")).await;
    let other = system.api.subscribe(rule("bob@example.com")).await;
    system.wait_until_processed().await;
    let prices = [("00:00:00", "6468"), ("02:05:00", "6804.91")];
    let ticks = prices.map(|(time, price)| tape::message(&tape::tick("test", "BTC-USD", time, price)));
    system.publish(&ticks).await;
    system.wait_until_processed().await;

    let found = exported(&system, "Ada@Example.com").await;
    assert_eq!(found["rules"][0]["notify"]["email"], "ada@example.com");
    assert_eq!(found["rules"][0]["firings"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["messages"][0]["attempts"][0]["outcome"], "sent");
    assert!(!found.to_string().contains("bob@") && !found.to_string().contains("token"), "{found}");

    let refused = system.run(&["person", "erase", "ada@example.com"]).await;
    assert_eq!(refused.status.code(), Some(1), "without --yes it erases nothing");
    assert_eq!(exported(&system, "ada@example.com").await, exported(&system, "ada@example.com").await);
    let erased = system.run(&["person", "erase", "ada@example.com", "--yes"]).await;
    assert!(stdout(&erased).contains("1 alerts, 1 messages"), "{}", stdout(&erased));
    let found = exported(&system, "ada@example.com").await;
    assert_eq!((&found["rules"], &found["messages"]), (&json!([]), &json!([])));

    system.wait_until_processed().await;
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "03:00:00", "9000"))]).await;
    system.wait_until_processed().await;
    let recipients: Vec<String> = system.mails().into_iter().map(|mail| mail.to).collect();
    let to = |address: &str| recipients.iter().filter(|there| *there == address).count();
    assert_eq!((to("ada@example.com"), to("bob@example.com")), (1, 2), "only the other rule still fires");
    system.api.manage(Method::GET, &alert, None).await.expect_status(404);
    system.api.manage(Method::GET, &other, None).await.expect_status(200);
    system.stop().await;
}

#[tokio::test]
async fn mail_in_flight_to_an_erased_address_does_not_arrive() {
    let mut system = System::with(&[("TICKBELL_GATEWAY__CONFIRMATION", "required")]).await;
    let (ada, database) = ("ada@example.com", Database::of(&system));
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5" } } });
    system.api.subscribe(rule.clone()).await;
    let link = system.mail_to(ada, "").await.link("/confirm/");
    Api::send(system.api.request(Method::POST, &link)).await.expect_status(200);
    system.wait_until_processed().await;

    let paused = database.pause_consumer("notifier").await;
    let prices = [("00:00:00", "6468"), ("02:05:00", "6804.91")];
    system.publish(&prices.map(|(time, price)| tape::message(&tape::tick("test", "BTC-USD", time, price)))).await;
    system.api.subscribe(rule).await;
    let waits = |status: &e2e::Status, name: &str| status.consumers.iter().any(|c| c.name == name && c.lag > 0);
    let lags = async || system.status().await.filter(|s| waits(s, "notifier") && waits(s, "notifier-rules"));
    wait_until("an alert and a confirmation mail wait for the notifier", Duration::from_secs(30), lags).await;
    let erased = system.run(&["person", "erase", ada, "--yes"]).await;
    assert!(stdout(&erased).contains("2 alerts, 1 messages"), "{}", stdout(&erased));
    drop(paused);

    system.wait_until_processed().await;
    assert_eq!(system.mails().len(), 1, "the first confirmation mail, and none after it");
    assert_eq!(database.value("SELECT count(*) FROM deliveries WHERE address <> 'erased@erased.invalid'"), "0");
    assert_eq!(exported(&system, ada).await["messages"], json!([]));
    system.stop().await;
}

/// Fails where a row of any table contains this text.
fn assert_nowhere(database: &Database, text: &str) {
    database.value(&format!(
        "DO $$ DECLARE named text; found bigint; BEGIN
             FOR named IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
                 EXECUTE format('SELECT count(*) FROM %I AS stored WHERE stored::text ILIKE ''%%{text}%%''', named) INTO found;
                 IF found > 0 THEN RAISE EXCEPTION '% rows of % contain it', found, named; END IF;
             END LOOP;
         END $$"
    ));
}

async fn funded(system: &System, email: &str) -> String {
    system.sign_up(email).await;
    let deposit = ["accounts", "deposit", email, "1000.00", "USD", "--reference", &format!("to {email}")];
    assert!(system.run(&deposit).await.status.success());
    system.api.sign_in(email).await
}

/// Gives Ada a trade, an open order, an order mail and an API key.
async fn trade_and_subscribe(system: &System, session: &str) {
    let api = &system.api;
    for (key, terms) in [
        ("adas-first", json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "funds": "100.00" })),
        (
            "adas-second",
            json!({ "symbol": "BTC-USD", "side": "buy", "type": "limit", "size": "0.01", "price": "5000" }),
        ),
    ] {
        let request = api.request(Method::POST, "/v1/orders").bearer_auth(session).header("prefer", "wait=9");
        Api::send(request.header("idempotency-key", key).json(&terms)).await.expect_status(200);
    }
    let rule = json!({ "symbol": "BTC-USD", "percent": "5" });
    api.call_with(session, Method::POST, "/v1/alerts", &rule).await.expect_status(201);
    api.create_api_key(session, &["read"]).await;
    api.post("/v1/password-resets", &json!({ "email": "ada@example.com" })).await.expect_status(202);
    let ticks = [("00:01:00", "7010"), ("00:02:00", "7500")];
    system.publish(&ticks.map(|(time, price)| tape::message(&tape::tick("test", "BTC-USD", time, price)))).await;
    system.wait_until_processed().await;
}

fn assert_export_is_complete(answer: &ApiResponse, bobs_rule: &Value) {
    let export: Value = answer.json();
    let lists: Vec<_> = export.as_object().expect("a document").iter().filter(|(_, list)| list.is_array()).collect();
    assert_eq!(lists.len(), 11, "{export}");
    for (name, list) in lists {
        assert!(list.as_array().is_some_and(|list| !list.is_empty()), "{name} in {export}");
    }
    let orders = export["orders"].as_array().expect("a list");
    let states: Vec<_> = orders.iter().map(|order| (&order["idempotency_key"], &order["state"]["status"])).collect();
    assert_eq!(states, [(&json!("adas-first"), &json!("filled")), (&json!("adas-second"), &json!("open"))]);
    assert_eq!(export["deposits"][0]["reference"], "to ada@example.com");
    let rules = export["rules"].as_array().expect("a list");
    let bobs = rules.iter().find(|rule| rule["id"] == bobs_rule["id"]).expect("Bob's rule notifies her address");
    assert_eq!(bobs["then"], Value::Null, "the order that it places is Bob's data");
    for secret in ["hash", "fingerprint", "subject_id", "77.00"] {
        assert!(!answer.text.contains(secret), "{secret} in {export}");
    }
}

#[tokio::test]
async fn a_user_is_exported_and_erased_and_the_ledger_still_balances() {
    let mut system = System::with(&[("TICKBELL_GATEWAY__ORDERS_FROM_ALERTS", "on")]).await;
    let (api, database, ada) = (system.api.clone(), Database::of(&system), "ada@example.com");
    let (session, bobs) = (funded(&system, ada).await, funded(&system, "bob@example.com").await);
    let me: Value = api.call(&session, Method::GET, "/v1/me").await.json();
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "7000"))]).await;
    system.wait_until_processed().await;
    // Bob's alert notifies Ada's address, and places an order of Bob's.
    let rule = json!({ "symbol": "BTC-USD", "condition": { "price": { "below": "1000" } }, "notify": { "email": ada },
                       "then": { "order": { "side": "buy", "type": "market", "funds": "77.00" } } });
    let rule: Value = api.call_with(&bobs, Method::POST, "/v1/alerts", &rule).await.expect_status(201).json();
    trade_and_subscribe(&system, &session).await;
    assert_export_is_complete(&api.call(&session, Method::GET, "/v1/me/export").await.expect_status(200), &rule);
    assert!(api.call(&bobs, Method::GET, "/v1/me/export").await.text.contains("77.00"), "Bob's own export has it");

    api.call(&session, Method::DELETE, "/v1/me").await.expect_status(204);
    system.wait_until_processed().await;
    let value = |sql: &str| database.value(&sql.replace("$1", &format!("'{}'", me["id"].as_str().expect("an id"))));
    let statuses = "SELECT string_agg(status, ' ' ORDER BY status) FROM order_states WHERE user_id = $1";
    assert_eq!(value(statuses), "cancelled filled");
    assert_eq!(value("SELECT sum(balance) = 0 FROM accounts WHERE user_id = $1 AND kind = 'held'"), "t");
    assert_eq!(value("SELECT count(*) > 3 FROM postings WHERE user_id = $1"), "t", "the postings stay in the ledger");
    assert_eq!(value("SELECT count(*) FROM users WHERE id = $1"), "0", "the id of the postings names no user any more");
    for personal in [ada, "adas-first", "to ada"] {
        assert_nowhere(&database, personal);
    }
    let orders: Value = api.call(&bobs, Method::GET, "/v1/orders").await.json();
    assert_eq!(orders["items"][0]["status"], "cancelled", "it waited for an alert that is deleted");
    let verified = system.run(&["ledger", "verify"]).await;
    assert!(verified.status.success(), "{}", stdout(&verified));
    system.stop().await;
}

#[tokio::test]
async fn no_deposit_reaches_an_account_that_is_being_erased() {
    let mut system = System::start().await;
    let (api, database) = (system.api.clone(), Database::of(&system));
    for email in ["ada@example.com", "bob@example.com"] {
        system.sign_up(email).await;
    }
    assert!(system.run(&["accounts", "role", "bob@example.com", "operator"]).await.status.success());
    let operator = api.sign_in("bob@example.com").await;
    let gate = database.lock("SELECT pg_advisory_lock(42)").await;
    let erase = "BEGIN; DELETE FROM users WHERE email = 'ada@example.com'; SELECT pg_advisory_lock(42); COMMIT";
    let mut erasing = database.start(erase);
    database.wait_for_blocked("BEGIN; DELETE").await;
    let deposit = json!({ "email": "ada@example.com", "asset": "USD", "amount": "5.00" });
    let deposited = api.call_with(&operator, Method::POST, "/v1/deposits", &deposit);
    let erased = async {
        database.wait_for_blocked("INSERT INTO deposits").await;
        drop(gate);
    };
    let (answer, ()) = join(deposited, erased).await;
    assert_eq!(answer.expect_status(422).json::<Value>()["errors"][0]["pointer"], "/email");
    assert!(erasing.wait().expect("it ends").success());
    assert_eq!(database.value("SELECT count(*) FROM deposits"), "0");
    system.stop().await;
}
