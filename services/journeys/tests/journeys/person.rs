//! Somebody asks what is kept, and then wants it gone.

use std::{process::Output, time::Duration};

use journeys::{Api, Database, System, tape, until};
use reqwest::Method;
use serde_json::{Value, json};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn kept(system: &System, address: &str) -> Value {
    let output = system.run(&["person", "export", address]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn what_is_kept_about_somebody_is_told_and_then_erased() {
    let mut system = System::start().await;
    let rule = |address: &str| {
        let change = json!({ "change": { "percent": "5" } });
        json!({ "symbol": "BTC-USD", "condition": change, "notify": { "email": address } })
    };
    let alert = system.api.subscribe(rule("ada@example.com")).await;
    let other = system.api.subscribe(rule("bob@example.com")).await;
    system.until_processed().await;
    let prices = [("00:00:00", "6468"), ("02:05:00", "6804.91")];
    let ticks = prices.map(|(time, price)| tape::message(&tape::tick("test", "BTC-USD", time, price)));
    system.publish(&ticks).await;
    system.until_processed().await;

    let found = kept(&system, "Ada@Example.com").await;
    assert_eq!(found["rules"][0]["notify"]["email"], "ada@example.com");
    assert_eq!(found["rules"][0]["firings"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["messages"][0]["attempts"][0]["outcome"], "sent");
    assert!(!found.to_string().contains("bob@") && !found.to_string().contains("token"), "{found}");

    let refused = system.run(&["person", "erase", "ada@example.com"]).await;
    assert_eq!(refused.status.code(), Some(1), "it asks first");
    assert_eq!(kept(&system, "ada@example.com").await, kept(&system, "ada@example.com").await);
    let erased = system.run(&["person", "erase", "ada@example.com", "--yes"]).await;
    assert!(said(&erased).contains("1 rules and 1 messages"), "{}", said(&erased));
    let found = kept(&system, "ada@example.com").await;
    assert_eq!((&found["rules"], &found["messages"]), (&json!([]), &json!([])));

    system.until_processed().await;
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "03:00:00", "9000"))]).await;
    system.until_processed().await;
    let told: Vec<String> = system.mails().into_iter().map(|mail| mail.to).collect();
    let to = |address: &str| told.iter().filter(|there| *there == address).count();
    assert_eq!((to("ada@example.com"), to("bob@example.com")), (1, 2), "only the other rule goes on");
    system.api.manage(Method::GET, &alert, None).await.expect_status(404);
    system.api.manage(Method::GET, &other, None).await.expect_status(200);
    system.stop().await;
}

#[tokio::test]
async fn what_was_on_its_way_to_somebody_who_is_erased_does_not_arrive() {
    let mut system = System::with(&[("TICKBELL_GATEWAY__CONFIRMATION", "required")]).await;
    let (ada, database) = ("ada@example.com", Database::of(&system));
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5" } } });
    system.api.subscribe(rule.clone()).await;
    let link = system.mail_to(ada, "").await.link("/confirm/");
    Api::send(system.api.request(Method::POST, &link)).await.expect_status(200);
    system.until_processed().await;

    let held = database.hold_back("notifier").await;
    let prices = [("00:00:00", "6468"), ("02:05:00", "6804.91")];
    system.publish(&prices.map(|(time, price)| tape::message(&tape::tick("test", "BTC-USD", time, price)))).await;
    system.api.subscribe(rule).await;
    let waits = |status: &journeys::Status, name: &str| status.consumers.iter().any(|c| c.name == name && c.lag > 0);
    let lags = async || system.status().await.filter(|s| waits(s, "notifier") && waits(s, "notifier-rules"));
    until("an alert and a question wait for the notifier", Duration::from_secs(30), lags).await;
    let erased = system.run(&["person", "erase", ada, "--yes"]).await;
    assert!(said(&erased).contains("2 rules and 1 messages"), "{}", said(&erased));
    drop(held);

    system.until_processed().await;
    assert_eq!(system.mails().len(), 1, "the question of before, and nothing since");
    assert_eq!(database.value("SELECT count(*) FROM deliveries WHERE address <> 'erased@erased.invalid'"), "0");
    assert_eq!(kept(&system, ada).await["messages"], json!([]));
    system.stop().await;
}
