//! A message that can never be a tick becomes one dead letter, and can be replayed.

use e2e::{System, tape};
use events::{OutboundMessage, envelope::NATS_MSG_ID};
use serde_json::{Value, json};

fn raw(id: &str, class: Option<&str>, body: Vec<u8>) -> OutboundMessage {
    let id_header = (NATS_MSG_ID.to_owned(), id.to_owned());
    let headers = std::iter::once(id_header).chain(class.map(|class| ("ce-type".to_owned(), class.to_owned())));
    OutboundMessage { subject: "ticks.test.BTC-USD".into(), id: id.into(), headers: headers.collect(), body }
}

/// Returns the dead letters by the sequence of the rejected message, because several services publish them.
async fn listed(system: &System) -> Vec<Value> {
    let output = system.run(&["dlq", "list", "--json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut items = list["items"].as_array().expect("items").clone();
    items.sort_by_key(|item| item["dead_letter"]["sequence"].as_u64());
    items
}

#[tokio::test]
async fn an_unreadable_message_is_dead_lettered_once_and_blocks_nothing() {
    let mut system = System::start().await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5", "since": "previous" } } });
    let alert = system.api.subscribe(rule).await;
    system.wait_until_processed().await;
    let good = |time, price| tape::message(&tape::tick("test", "BTC-USD", time, price));
    let messages = [
        good("00:00:00", "100"),
        raw("bad-1", None, b"\xff not JSON".to_vec()),
        good("00:00:01", "110"),
        raw("bad-2", Some("tock.v1"), good("00:00:02", "500").body),
        good("00:00:03", "100"),
        raw("bad-3", None, br#"{"kind":"\u0000"}"#.to_vec()),
    ];
    system.publish(&messages).await;
    system.wait_until_processed().await;

    let times: Vec<_> = system.api.firings(&alert).await.into_iter().map(|firing| firing.fired_at).collect();
    assert_eq!(times, ["00:00:01", "00:00:03"].map(|time| format!("2018-04-05T{time}.000000Z")));
    assert_eq!(system.api.history("BTC-USD", "asc", 10).await.len(), 3);
    let items = listed(&system).await;
    let reasons: Vec<_> = items.iter().map(|item| item["dead_letter"]["reason"].as_str().expect("a reason")).collect();
    assert_eq!(items.len(), 3, "three services read the ticks, and each message has one dead letter: {items:?}");
    assert!(reasons[0].contains("not a tick.v1") && reasons[1].contains("tock.v1"), "{reasons:?}");
    assert!(reasons[2].contains(r"\u{0}"), "a NUL, which PostgreSQL refuses, is escaped: {reasons:?}");
    assert!(items.iter().all(|item| item["dead_letter"]["subject"] == "ticks.test.BTC-USD"), "{items:?}");
    assert!(
        [2, 4, 6].map(Value::from).iter().eq(items.iter().map(|item| &item["dead_letter"]["sequence"])),
        "{items:?}"
    );

    let number = items[0]["number"].to_string();
    let output = system.run(&["dlq", "replay", &number]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    system.wait_until_processed().await;
    let again = listed(&system).await;
    assert_eq!(again.len(), 3, "the replayed message left the list, was rejected again, and is listed once: {again:?}");
    assert_eq!(again[..2], items[1..]);
    assert_eq!(
        (&again[2]["dead_letter"]["sequence"], &again[2]["dead_letter"]["body"]),
        (&json!(7), &items[0]["dead_letter"]["body"])
    );
    let missing = system.run(&["dlq", "replay", &number]).await;
    assert_eq!(missing.status.code(), Some(1), "a number that is not listed cannot be replayed");
    system.stop().await;
}
