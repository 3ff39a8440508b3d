//! Streams and consumers that are deleted while services run.

use std::time::Duration;

use e2e::{Servers, Service, System, tape, wait_until};
use reqwest::Method;
use serde_json::Value;

/// How long it may take until a service says what is missing, and until it works again.
const NOTICE: Duration = Duration::from_secs(10);

/// The services that read streams, with their consumers.
const READERS: [(&str, &[(&str, &str)]); 4] = [
    ("history-writer", &[("TICKS", "history-writer")]),
    ("alert-engine", &[("TICKS", "alert-engine"), ("RULES", "alert-engine-rules"), ("FEEDS", "alert-engine-feeds")]),
    (
        "trade-settler",
        &[("TICKS", "trade-settler"), ("ORDERS", "trade-settler-orders"), ("ALERTS", "trade-settler-alerts")],
    ),
    (
        "notifier",
        &[
            ("ALERTS", "notifier"),
            ("RULES", "notifier-rules"),
            ("TRADES", "notifier-trades"),
            ("USERS", "notifier-users"),
        ],
    ),
];

/// Waits until the service is unready, and its check says what is missing and what mends it.
async fn says_what_is_missing(service: &Service, name: &str, missing: &str) {
    let sentence = format!("{missing} is missing: run `tickbell streams apply`");
    wait_until(&format!("{name} says that {missing} is missing"), NOTICE, async || {
        let answer = e2e::Api::try_send(service.admin.request(Method::GET, "/readyz")).await?;
        let body: Value = serde_json::from_str(&answer.text).ok()?;
        (answer.status == 503 && body["checks"][name]["detail"] == sentence.as_str()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_whose_consumer_was_deleted_is_unready_until_it_is_created_again() {
    let mut system = System::start().await;
    let servers = Servers::take_over(&mut system, &[("TICKBELL_STREAMS__MANAGE", "false")]).await;
    let services = READERS.map(|(name, consumers)| (name, consumers, servers.start(&system, name, &[name])));
    for (_, _, service) in &services {
        service.wait_until_ready().await;
    }
    for round in 0..4 {
        let deleted: Vec<_> = services
            .iter()
            .filter_map(|(name, consumers, service)| Some((*name, consumers.get(round)?, service)))
            .collect();
        for (_, (stream, consumer), _) in &deleted {
            servers.request_broker(&format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}"));
        }
        for (name, (stream, consumer), service) in &deleted {
            says_what_is_missing(service, name, &format!("consumer {stream}/{consumer}")).await;
        }
        let applied = servers.spawn(&system, "apply", &["streams", "apply"]).wait(NOTICE).await;
        assert!(applied.success(), "{applied}");
        for (name, _, service) in &deleted {
            let leads = async || service.leads().await.then_some(());
            wait_until(&format!("{name} works again"), NOTICE, leads).await;
        }
    }
}

#[tokio::test]
async fn up_creates_again_what_was_deleted() {
    let mut system = System::start().await;
    for (_, consumers) in READERS {
        for (stream, consumer) in consumers {
            system.request_broker(&format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}"));
        }
    }
    for stream in ["DELIVERIES", "DLQ", "FEEDS"] {
        system.request_broker(&format!("$JS.API.STREAM.DELETE.{stream}"));
    }
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "101"))]).await;
    let alert = system
        .api
        .subscribe(serde_json::json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "1" } } }))
        .await;
    let alerted = async || system.status().await.filter(e2e::Status::is_done);
    wait_until("all consumers are there again", NOTICE, alerted).await;
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:01:00", "102"))]).await;
    let mailed = async || (system.mails().len() == 1).then_some(());
    wait_until("the firing is mailed", NOTICE, mailed).await;
    assert_eq!(system.api.firings(&alert).await.len(), 1);
    let outcomes = async || (system.run(&["streams", "diff"]).await.status.success()).then_some(());
    wait_until("the streams of outcomes and dead letters are there again", NOTICE, outcomes).await;
    system.stop().await;
}
