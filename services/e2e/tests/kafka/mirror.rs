//! What is mirrored, in which shape, and what the topics must be like.

use std::collections::{BTreeMap, BTreeSet};

use e2e::wait_until;
use events::{
    AlertFired, CandleClosed, DeadLetter, DeliveryUpdated, Event, FeedGap, LateVerdict, MirroredTick, OrderUpdated,
    OutboundMessage, RuleChanged, TickPage, Timestamp, TradeSettled,
};

use crate::{TICKS, WORK, broker::Consumed, page, servers, start_bridge};

const TOPICS: [&str; 7] = [
    TICKS,
    "tickbell.candles.v1",
    "tickbell.feed-gaps.v1",
    "tickbell.alerts.v1",
    "tickbell.trades.v1",
    "tickbell.deliveries.v1",
    "tickbell.dlq.v1",
];

fn samples<E: Event>(message: impl Fn(&E) -> OutboundMessage) -> Vec<OutboundMessage> {
    let path = format!("{}/../../schemas/samples/{}.json", env!("CARGO_MANIFEST_DIR"), E::TYPE);
    let text = std::fs::read_to_string(path).expect("the samples");
    let events: Vec<E> = serde_json::from_str(&text).expect("events");
    // Two samples of one id are one message to the stream.
    let messages: BTreeMap<String, OutboundMessage> =
        events.iter().map(message).map(|message| (message.id.clone(), message)).collect();
    messages.into_values().collect()
}

/// The messages of every event that is mirrored as it is, and the topic that each belongs to.
fn events() -> BTreeMap<&'static str, Vec<OutboundMessage>> {
    let alerts = [samples(AlertFired::to_message), samples(LateVerdict::to_message)].concat();
    let trades = [samples(OrderUpdated::to_message), samples(TradeSettled::to_message)].concat();
    BTreeMap::from([
        (TOPICS[1], samples(CandleClosed::to_message)),
        (TOPICS[2], samples(FeedGap::to_message)),
        (TOPICS[3], alerts),
        (TOPICS[4], trades),
        (TOPICS[5], samples(DeliveryUpdated::to_message)),
        (TOPICS[6], samples(DeadLetter::to_message)),
    ])
}

fn ids(records: &[Consumed], topic: &str) -> Vec<String> {
    let mut ids: Vec<String> =
        records.iter().filter(|record| record.topic == topic).map(|record| record.headers["ce_id"].clone()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_mirrored_once_under_its_identity_and_without_addresses() {
    let (system, servers, kafka) = servers(&[]).await;
    let bridge = start_bridge(&system, &servers, &kafka, "bridge", &[]);
    bridge.wait_until_ready().await;
    let broker = servers.try_broker().await.expect("JetStream");
    let events = events();
    let mut messages: Vec<OutboundMessage> = events.values().flatten().cloned().collect();
    messages.push(page("BRK.B", 0..300));
    // A repeat of ticks that are the newest, in another page.
    messages.push(page("BRK.B", 299..301));
    // This one can never be mirrored.
    let mut unreadable = messages.iter().find(|one| one.subject.starts_with("alerts.")).expect("a firing").clone();
    unreadable.body = b"ann@example.com".to_vec();
    unreadable.headers.retain(|(name, _)| name != "Nats-Msg-Id" && name != "ce-id");
    let rules = samples(RuleChanged::to_message);
    broker.publish(&[messages, vec![unreadable], rules].concat()).await.expect("published");

    let consumer = kafka.consume(&system, "consumer", &TOPICS);
    let expected = events.values().map(Vec::len).sum::<usize>() + 301 + 1;
    let records = wait_until("all is in Kafka", WORK, async || {
        let records = consumer.records();
        (records.len() >= expected).then_some(records)
    })
    .await;
    assert_eq!(records.len(), expected, "each once");
    let mut ticks: Vec<String> = (0..301).map(|id| format!("test:BRK.B:{id}")).collect();
    let in_order: Vec<&String> =
        records.iter().filter(|record| record.topic == TICKS).map(|record| &record.headers["ce_id"]).collect();
    assert!(in_order.into_iter().eq(&ticks));
    ticks.sort_unstable();
    assert_eq!(ids(&records, TICKS), ticks);
    for (topic, messages) in &events {
        let mut published: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
        let found = ids(&records, topic);
        if *topic == TOPICS[6] {
            let own =
                found.iter().find(|id| !published.contains(id)).expect("the dead letter of what cannot be mirrored");
            published.push(own.clone());
        }
        published.sort_unstable();
        assert_eq!(found, published, "{topic}");
    }
    for record in &records {
        assert!(!record.body.contains('@'), "{}", record.body);
        let headers = &record.headers;
        for name in ["ce_specversion", "ce_source", "ce_type", "ce_time", "ce_subject", "ce_dataschema", "content-type"]
        {
            assert!(headers.contains_key(name), "{name} is not in {headers:?}");
        }
        let at: events::Timestamp = headers["ce_time"].parse().expect("a time");
        assert_eq!(record.timestamp, at.micros() / 1_000, "the time of a record is that of its event");
        if record.topic == TICKS {
            let tick: MirroredTick = serde_json::from_str(&record.body).expect("a tick");
            assert_eq!((headers["ce_type"].as_str(), record.key.as_str()), ("tick.v1", "BRK.B"));
            assert_eq!(headers["ce_id"], format!("{}:{}:{}", tick.venue, tick.symbol, tick.id));
        }
    }
    let metrics = bridge.admin.get("/metrics").await.text;
    assert!(metrics.contains("tickbell_kafka_records_total{stream=\"TICKS\"} 301"), "{metrics}");
    bridge.stop().await;
    assert_eq!(kafka.read_to_the_end(&system, &TOPICS).await.len(), expected, "nothing follows");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_mirrored_as_they_are_where_that_is_set() {
    let (system, servers, kafka) = servers(&[]).await;
    let bridge = start_bridge(&system, &servers, &kafka, "bridge", &[("TICKBELL_KAFKA__TICKS", "page".into())]);
    let broker = servers.try_broker().await.expect("JetStream");
    let pages: Vec<OutboundMessage> = (0..20).map(|number| page("SPY", number * 10..number * 10 + 10)).collect();
    broker.publish(&pages).await.expect("published");
    bridge.wait_until_ready().await;
    let consumer = kafka.consume(&system, "consumer", &[TICKS]);
    let records = wait_until("all is in Kafka", WORK, async || {
        let records = consumer.records();
        (records.len() >= pages.len()).then_some(records)
    })
    .await;
    let expected: Vec<(&str, &[u8])> = pages.iter().map(|page| (page.id.as_str(), page.body.as_slice())).collect();
    let found: Vec<(&str, &[u8])> =
        records.iter().map(|record| (record.headers["ce_id"].as_str(), record.body.as_bytes())).collect();
    assert_eq!(found, expected);
    assert!(records.iter().all(|record| record.headers["ce_type"] == TickPage::TYPE));
    bridge.stop().await;
    assert_eq!(kafka.read_to_the_end(&system, &[TICKS]).await.len(), pages.len(), "nothing follows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_is_far_ahead_stops_no_page() {
    let (system, servers, kafka) = servers(&[]).await;
    let broker = servers.try_broker().await.expect("JetStream");
    let now = platform::clock::now();
    let later = |hours: i64| Timestamp::from_micros(now.micros() + hours * 3_600_000_000).expect("a time");
    let page_at = |received_at: Timestamp, times: &[Timestamp]| {
        let mut page: TickPage = serde_json::from_slice(&page("SPY", 0..times.len() as u64).body).expect("a page");
        page.received_at = received_at;
        for (tick, at) in page.ticks.iter_mut().zip(times) {
            (tick.id, tick.at) = (format!("{received_at}-{at}"), *at);
        }
        page.to_message()
    };
    // Kafka refuses what is more than one hour ahead.
    let pages = [
        page_at(now, &[now, later(2)]),
        page_at(later(0), &[later(48)]),
        page_at(later(3), &[later(48)]),
        page_at(now, &[later(-1)]),
    ];
    broker.publish(&pages).await.expect("published");
    let bridge = start_bridge(&system, &servers, &kafka, "bridge", &[("TICKBELL_KAFKA__TICKS", "page".into())]);
    bridge.wait_until_ready().await;
    let consumer = kafka.consume(&system, "consumer", &[TICKS]);
    let records = wait_until("all is in Kafka", WORK, async || {
        let records = consumer.records();
        (records.len() >= pages.len()).then_some(records)
    })
    .await;
    let expected: Vec<&[u8]> = pages.iter().map(|page| page.body.as_slice()).collect();
    assert_eq!(records.iter().map(|record| record.body.as_bytes()).collect::<Vec<_>>(), expected, "pages as they are");
    let milliseconds = |at: Timestamp| at.micros() / 1_000;
    let times: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
    assert_eq!((times[0], times[1], times[3]), (milliseconds(now), milliseconds(now), milliseconds(later(-1))));
    // When JetStream stored it.
    assert!((milliseconds(now)..milliseconds(later(1))).contains(&times[2]), "{times:?}");
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_narrowed_while_a_bridge_runs_is_the_reason_why_it_ends() {
    let (system, servers, kafka) = servers(&[]).await;
    let mut bridge = start_bridge(&system, &servers, &kafka, "bridge-0", &[]);
    bridge.wait_until_ready().await;
    kafka.change(&["set", TICKS, "message.timestamp.before.max.ms", "60000"]);
    let broker = servers.try_broker().await.expect("JetStream");
    broker.publish(&[page("SPY", 0..9)]).await.expect("published");
    let status = wait_until("the bridge ends", WORK, async || bridge.ended()).await;
    assert_eq!(status.code(), Some(1));

    let brokers = format!("TICKBELL_KAFKA__BROKERS={}", kafka.address);
    let topics = async |command: &str| {
        let output = servers.run_line(&system, &format!("{brokers} tickbell kafka topics {command}")).await;
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let differs = "message.timestamp.before.max.ms is 60000, declared is 9223372036854775807";
    assert_eq!(topics("diff").await, (Some(1), format!("{TICKS}: {differs}\n")));
    assert_eq!(topics("apply").await.0, Some(0));
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-1", &[]);
    bridge.wait_until_ready().await;
    let consumer = kafka.consume(&system, "consumer", &[TICKS]);
    wait_until("the ticks are in Kafka", WORK, async || (consumer.records().len() == 9).then_some(())).await;
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_differ_are_refused_with_the_difference_and_mended_by_a_command() {
    let (system, servers, kafka) = servers(&[]).await;
    let brokers = format!("TICKBELL_KAFKA__BROKERS={}", kafka.address);
    let topics = async |command: &str| {
        let output = servers.run_line(&system, &format!("{brokers} tickbell kafka topics {command}")).await;
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, said) = topics("diff").await;
    assert_eq!((status, said.lines().count()), (Some(1), TOPICS.len()), "{said}");
    let (status, said) = topics("apply").await;
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(topics("diff").await.0, Some(0));

    // What somebody has enlarged stays.
    kafka.change(&["set", TICKS, "retention.ms", "-1"]);
    let (status, said) = topics("diff").await;
    assert_eq!(status, Some(1));
    assert_eq!(said.trim(), format!("{TICKS}: retention.ms is -1, declared is 604800000"));
    let bridge = start_bridge(&system, &servers, &kafka, "bridge", &[]);
    bridge.wait_until_ready().await;
    bridge.stop().await;

    kafka.change(&["set", TICKS, "cleanup.policy", "compact"]);
    let mut refused = start_bridge(&system, &servers, &kafka, "bridge", &[]);
    let status = wait_until("the bridge refuses", WORK, async || refused.ended()).await;
    assert_eq!(status.code(), Some(1));
    let (status, said) = topics("apply").await;
    assert_eq!(status, Some(1), "the retention is greater than declared");
    assert!(said.contains(&format!("{TICKS}: changed")), "{said}");
    let said: BTreeSet<String> = topics("diff").await.1.lines().map(str::to_owned).collect();
    assert_eq!(said, BTreeSet::from([format!("{TICKS}: retention.ms is -1, declared is 604800000")]));
}
