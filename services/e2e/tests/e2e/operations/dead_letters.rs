//! A message that can never be a tick becomes one dead letter, and can be replayed.

use std::time::Duration;

use e2e::{Database, System, tape, wait_until};
use events::{OutboundMessage, envelope::NATS_MSG_ID};
use reqwest::Method;
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
    assert!(reasons[0].contains("not a ticks.v1") && reasons[1].contains("tock.v1"), "{reasons:?}");
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

/// A page of ticks of BTC-USD: seconds after midnight, prices as JSON, and sequence numbers as ids.
fn page(ticks: &[(u32, &str)]) -> Vec<u8> {
    let tick = |(second, price): &(u32, &str)| {
        format!(r#"{{"id":"{second}","at":"2018-04-05T00:00:{second:02}Z","price":{price},"size":"1"}}"#)
    };
    let ticks: Vec<String> = ticks.iter().map(tick).collect();
    let head =
        r#""venue":"test","symbol":"BTC-USD","kind":"trade","source":"live","received_at":"2018-04-05T00:00:00Z""#;
    format!("{{{head},\"ticks\":[{}]}}", ticks.join(",")).into_bytes()
}

#[tokio::test]
async fn a_bad_tick_of_a_page_is_given_up_alone_and_replayed_as_a_page_of_one() {
    let mut system = System::start().await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5", "since": "previous" } } });
    let alert = system.api.subscribe(rule).await;
    system.wait_until_processed().await;
    let ticks = [(1, r#""100""#), (2, r#""-1""#), (3, r#""110""#), (4, "null"), (5, r#""100""#)];
    system.publish(&[raw("page-1", Some("ticks.v1"), page(&ticks))]).await;
    system.wait_until_processed().await;

    let ids = async |system: &System| -> Vec<String> {
        system.api.history("BTC-USD", "asc", 10).await.into_iter().map(|tick| tick.trade_id).collect()
    };
    assert_eq!(ids(&system).await, ["1", "3", "5"]);
    let fired: Vec<_> =
        system.api.firings(&alert).await.into_iter().map(|f| (f.stream_sequence, f.stream_index)).collect();
    assert_eq!(fired, [(1, 2), (1, 4)]);
    let items = listed(&system).await;
    let places: Vec<_> =
        items.iter().map(|item| (&item["dead_letter"]["sequence"], &item["dead_letter"]["index"])).collect();
    assert_eq!(places, [(&json!(1), &json!(1)), (&json!(1), &json!(3))], "each once, whoever reads it: {items:?}");
    for (item, tick) in items.iter().zip([ticks[1], ticks[3]]) {
        let dead_letter = &item["dead_letter"];
        let body = String::from_utf8(page(&[tick])).expect("text");
        assert_eq!((&dead_letter["body"]["text"], &dead_letter["service"]), (&json!(body), &json!("history-writer")));
        assert!(
            dead_letter["reason"].as_str().is_some_and(|reason| reason.starts_with("it is not a tick: ")),
            "{item}"
        );
    }

    let output = system.run(&["dlq", "replay", "--all"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    system.wait_until_processed().await;
    let again = listed(&system).await;
    let places: Vec<_> =
        again.iter().map(|item| (&item["dead_letter"]["sequence"], &item["dead_letter"]["index"])).collect();
    assert_eq!(places, [(&json!(2), &json!(0)), (&json!(3), &json!(0))], "pages of one tick: {again:?}");
    assert_eq!(ids(&system).await.len(), 3);
    system.stop().await;
}

#[tokio::test]
async fn a_tick_that_the_database_refuses_costs_only_itself() {
    let mut system = System::start().await;
    system.publish(&[raw("page-0", Some("ticks.v1"), page(&[(1, r#""100""#)]))]).await;
    system.wait_until_processed().await;
    let database = Database::of(&system);
    database.value("ALTER TABLE ticks ADD CONSTRAINT no_bad_luck CHECK (price NOT IN (13, 17))");
    let price = |second: u32| match second {
        13 | 17 => format!("\"{second}\""),
        _ => "\"100\"".to_owned(),
    };
    let prices: Vec<(u32, String)> = (2..40).map(|second| (second, price(second))).collect();
    let ticks: Vec<(u32, &str)> = prices.iter().map(|(second, price)| (*second, price.as_str())).collect();
    system.publish(&[raw("page-1", Some("ticks.v1"), page(&ticks))]).await;
    system.wait_until_processed().await;

    let ids: Vec<u32> = system
        .api
        .history("BTC-USD", "asc", 50)
        .await
        .iter()
        .map(|tick| tick.trade_id.parse().expect("a number"))
        .collect();
    assert!(ids.into_iter().eq((1..40).filter(|second| ![13, 17].contains(second))));
    let candles = system.api.candles("BTC-USD", "1d").await;
    assert_eq!(candles.iter().map(|candle| candle.trades).sum::<i64>(), 37, "each tick once");
    let items = listed(&system).await;
    let refused: Vec<_> = items.iter().map(|item| item["dead_letter"]["index"].as_u64()).collect();
    assert_eq!(refused, [Some(11), Some(15)], "{items:?}");
    assert!(
        items
            .iter()
            .all(|item| item["dead_letter"]["reason"].as_str().is_some_and(|reason| reason.contains("no_bad_luck")))
    );

    database.value("ALTER TABLE ticks DROP CONSTRAINT no_bad_luck");
    let output = system.run(&["dlq", "replay", "--all"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    system.wait_until_processed().await;
    assert_eq!(system.api.history("BTC-USD", "asc", 50).await.len(), 39);
    assert!(listed(&system).await.is_empty());
    system.stop().await;
}

#[tokio::test]
async fn a_message_of_an_exchange_that_cannot_be_read_is_shown_and_not_replayed() {
    let mut system = System::start().await;
    let tape = concat!(env!("CARGO_MANIFEST_DIR"), "/../price-ingestor/testdata/tapes/two-exchanges.ndjson");
    let output = system.run(&["price-ingestor", "--source", &format!("tape:{tape}")]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    system.wait_until_processed().await;
    let prices = system.api.history("BTC-USD", "asc", 10).await;
    assert_eq!(prices.len(), 4, "the message cost nothing but itself: {prices:?}");

    let items = listed(&system).await;
    let dead_letter = &items[0]["dead_letter"];
    assert_eq!((items.len(), &dead_letter["service"]), (1, &json!("price-ingestor")), "{items:?}");
    assert_eq!((&dead_letter["frame"]["venue"], &dead_letter["frame"]["bytes"]), (&json!("coinbase"), &json!(28)));
    let number = items[0]["number"].to_string();
    let shown = system.run(&["dlq", "show", &number]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("message of coinbase, 28 bytes") && shown.contains("<html>502 Bad Gateway</html>"),
        "{shown}"
    );
    for (arguments, status) in [(["dlq", "replay", number.as_str()], 1), (["dlq", "replay", "--all"], 0)] {
        let output = system.run(&arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains("is not published again: it is a message of coinbase"), "{said}");
    }
    assert_eq!(listed(&system).await.len(), 1, "it stays in the list");
    system.stop().await;
}

#[tokio::test]
async fn an_operator_has_a_dead_letter_published_again_by_way_of_the_api() {
    let mut system = System::start().await;
    system.publish(&[raw("page-0", Some("ticks.v1"), page(&[(1, r#""100""#)]))]).await;
    system.wait_until_processed().await;
    let database = Database::of(&system);
    database.value("ALTER TABLE ticks ADD CONSTRAINT no_bad_luck CHECK (price <> 13)");
    let ticks = [(2, r#""100""#), (3, r#""13""#), (4, r#""100""#)];
    system.publish(&[raw("page-1", Some("ticks.v1"), page(&ticks))]).await;
    system.wait_until_processed().await;

    system.sign_up("ada@example.com").await;
    let api = system.api.clone();
    let user = api.sign_in("ada@example.com").await;
    let list = async || api.call(&user, Method::GET, "/v1/dead-letters?limit=1").await;
    list().await.expect_status(403);
    assert!(system.run(&["accounts", "role", "ada@example.com", "operator"]).await.status.success());
    let listed: Value = list().await.expect_status(200).json();
    let item = &listed["items"][0];
    assert_eq!((&item["dead_letter"]["index"], &item["not_replayable"]), (&json!(1), &Value::Null), "{listed}");
    assert_eq!((&item["dead_letter"]["service"], &listed["next_cursor"]), (&json!("history-writer"), &Value::Null));
    assert!(item["dead_letter"]["excerpt"].as_str().is_some_and(|body| body.contains("\"13\"")), "{listed}");

    database.value("ALTER TABLE ticks DROP CONSTRAINT no_bad_luck");
    let path = format!("/v1/dead-letters/{}/replay", item["number"]);
    let replay = async || api.call(&user, Method::POST, &path).await;
    let replayed: Value = replay().await.expect_status(202).json();
    assert_eq!(replayed, json!({ "publisher": "history-writer" }));
    replay().await.expect_status(404);
    let stored = async || (api.history("BTC-USD", "asc", 10).await.len() == 4).then_some(());
    wait_until("the tick is stored", Duration::from_secs(60), stored).await;
    let left: Value = list().await.expect_status(200).json();
    assert_eq!(left["items"], json!([]));

    // What no service has given up is not published, whoever has put it there.
    let mut forged = item["dead_letter"].clone();
    forged["headers"] = json!([]);
    forged["attempts"] = json!(1);
    forged["body"] = json!({ "text": String::from_utf8(page(&[(9, r#""1""#)])).expect("text") });
    let forged = OutboundMessage {
        subject: "dlq.history-writer".into(),
        id: "forged".into(),
        headers: vec![("ce-type".into(), "dead-letter.v1".into())],
        body: serde_json::to_vec(&forged).expect("JSON"),
    };
    system.publish(&[forged]).await;
    let listed: Value = list().await.expect_status(200).json();
    let path = format!("/v1/dead-letters/{}/replay", listed["items"][0]["number"]);
    let refused = api.call(&user, Method::POST, &path).await;
    let refused: Value = refused.expect_status(409).json();
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("tickbell dlq replay")), "{refused}");

    // Nor is a message of a stream that no service publishes, such as a dead letter that could not be mirrored.
    let mut of_dlq = item["dead_letter"].clone();
    (of_dlq["stream"], of_dlq["service"], of_dlq["index"]) = (json!("DLQ"), json!("kafka-bridge"), Value::Null);
    (of_dlq["headers"], of_dlq["attempts"], of_dlq["body"]) = (json!([]), json!(1), json!({ "text": "{" }));
    let of_dlq = OutboundMessage {
        subject: "dlq.kafka-bridge".into(),
        id: "of-dlq".into(),
        headers: vec![("ce-type".into(), "dead-letter.v1".into())],
        body: serde_json::to_vec(&of_dlq).expect("JSON"),
    };
    system.publish(&[of_dlq]).await;
    let listed: Value = api.call(&user, Method::GET, "/v1/dead-letters").await.expect_status(200).json();
    let items = listed["items"].as_array().expect("items");
    let item = items.iter().find(|item| item["dead_letter"]["stream"] == "DLQ").expect("it is listed");
    let reason = item["not_replayable"].as_str().expect("a reason");
    assert!(reason.contains("stream \"DLQ\""), "{reason}");
    let path = format!("/v1/dead-letters/{}/replay", item["number"]);
    let refused: Value = api.call(&user, Method::POST, &path).await.expect_status(409).json();
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(reason)), "{refused}");
    system.stop().await;
}

#[tokio::test]
async fn a_list_of_large_dead_letters_is_read_in_several_pages() {
    let mut system = System::start().await;
    // Each is close to the largest message that the broker takes.
    let body: String = "x".repeat(900_000);
    let large = |number: u64| {
        let dead_letter = json!({
            "service": "history-writer", "stream": "TICKS", "sequence": number, "index": null, "subject": "ticks.test.BTC-USD",
            "headers": [], "body": { "text": body }, "reason": "it is large", "attempts": 1, "at": "2018-04-05T00:00:00Z"
        });
        let id = format!("large-{number}");
        OutboundMessage {
            subject: "dlq.history-writer".into(),
            id: id.clone(),
            headers: vec![("ce-type".into(), "dead-letter.v1".into()), (NATS_MSG_ID.into(), id)],
            body: serde_json::to_vec(&dead_letter).expect("JSON"),
        }
    };
    for number in 1..=12 {
        system.publish(&[large(number)]).await;
    }
    system.sign_up("ada@example.com").await;
    assert!(system.run(&["accounts", "role", "ada@example.com", "operator"]).await.status.success());
    let user = system.api.sign_in("ada@example.com").await;
    let (mut path, mut pages) = ("/v1/dead-letters?limit=1000".to_owned(), Vec::new());
    loop {
        let page: Value = system.api.call(&user, Method::GET, &path).await.expect_status(200).json();
        let numbers = |item: &Value| item["dead_letter"]["sequence"].as_u64();
        pages.push(page["items"].as_array().expect("items").iter().filter_map(numbers).collect::<Vec<_>>());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/dead-letters?limit=1000&cursor={cursor}");
    }
    assert!(pages.len() > 1 && pages[0].len() < 12, "{pages:?}");
    assert_eq!(pages.concat(), (1..=12).collect::<Vec<u64>>());
    system.stop().await;
}
