//! Where Kafka has no offset any more, the position is found by the records, or chosen by an operator.

use e2e::wait_until;

use crate::{
    GROUP, TICKS, WORK,
    broker::{Consumed, KafkaConsumer},
    event_ids, page, servers, start_bridge, tick_ids,
};

async fn has_all(consumer: &KafkaConsumer, until: u64) {
    let expected = tick_ids(0..until);
    wait_until("all ticks are in Kafka", WORK, async || (consumer.records().len() >= expected.len()).then_some(()))
        .await;
    assert_eq!(event_ids(&consumer.records()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_kafka_has_forgotten_is_found_by_the_last_records() {
    let short =
        [("offsets.retention.minutes", "1".to_owned()), ("offsets.retention.check.interval.ms", "1000".to_owned())];
    let (system, servers, kafka) = servers(&short).await;
    let broker = servers.try_broker().await.expect("JetStream");
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-0", &[]);
    bridge.wait_until_ready().await;
    broker.publish(&[page("SPY", 0..7), page("SPY", 7..20)]).await.expect("published");
    let consumer = kafka.consume(&system, "consumer", &[TICKS]);
    has_all(&consumer, 20).await;
    bridge.stop().await;

    let is_forgotten = async || (!kafka.ask(&["groups"]).lines().any(|group| group == GROUP)).then_some(());
    wait_until("Kafka has forgotten the offset", WORK * 2, is_forgotten).await;
    broker.publish(&[page("SPY", 20..33)]).await.expect("published");
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-1", &[]);
    bridge.wait_until_ready().await;
    has_all(&consumer, 33).await;
    bridge.stop().await;
    assert_eq!(event_ids(&kafka.read_to_the_end(&system, &[TICKS]).await), tick_ids(0..33), "nothing follows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_records_of_somebody_else_is_refused_until_a_message_is_chosen() {
    let (system, servers, kafka) = servers(&[]).await;
    let command = async |command: &str| {
        let line = format!("TICKBELL_KAFKA__BROKERS={} tickbell kafka {command}", kafka.address);
        let output = servers.run_line(&system, &line).await;
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    assert_eq!(command("topics apply").await.0, Some(0));
    kafka.change(&["produce", TICKS, "SPY", "a record of somebody else"]);
    let broker = servers.try_broker().await.expect("JetStream");
    broker.publish(&[page("SPY", 0..5), page("SPY", 5..9)]).await.expect("published");
    let mut bridge = start_bridge(&system, &servers, &kafka, "bridge-0", &[]);
    let status = wait_until("the bridge refuses", WORK, async || bridge.ended()).await;
    assert_eq!(status.code(), Some(1));

    let stream = "The stream has the messages 1 to 2.\n";
    let is_next = |next: u64| (Some(0), format!("TICKS: the next message to mirror is {next}\n{stream}"));
    assert_eq!(command("position TICKS").await, (Some(0), format!("TICKS: Kafka has no position\n{stream}")));
    for sequence in [0, 4] {
        let (status, said) = command(&format!("position TICKS {sequence}")).await;
        let error = format!("{sequence} is out of range: the first message to mirror is 1 to 3");
        assert!(status == Some(1) && said.contains(&error), "{said}");
    }
    let (status, said) = command("position RULES").await;
    assert!(status == Some(64) && said.contains("allowed is one of TICKS, "), "{said}");

    // The second message is the first to be mirrored. No partition of the topic has so many records.
    assert_eq!(command("position TICKS 2").await, is_next(2));
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-1", &[]);
    bridge.wait_until_ready().await;
    let consumer = kafka.consume(&system, "consumer", &[TICKS]);
    let of_the_bridge = |records: Vec<Consumed>| -> Vec<Consumed> {
        records.into_iter().filter(|record| record.headers.contains_key("ce_id")).collect()
    };
    let has = async |expected: &[u64]| {
        let found = wait_until("the ticks are in Kafka", WORK, async || {
            let found = of_the_bridge(consumer.records());
            (found.len() >= expected.len()).then_some(found)
        })
        .await;
        assert_eq!(event_ids(&found), tick_ids(expected.iter().copied()));
    };
    has(&[5, 6, 7, 8]).await;
    let (status, said) = command("position TICKS 1").await;
    assert!(status == Some(1) && said.contains("a bridge mirrors this stream"), "{said}");
    bridge.stop().await;
    assert_eq!(command("position TICKS").await, is_next(3));

    // What is mirrored already is mirrored again.
    assert_eq!(command("position TICKS 1").await, is_next(1));
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-2", &[]);
    bridge.wait_until_ready().await;
    has(&[5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await;
    bridge.stop().await;

    // An offset that a tool of Kafka has set has no metadata, and counts as well.
    kafka.change(&["offset", GROUP, TICKS, "2"]);
    assert_eq!(command("position TICKS").await, is_next(2));
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-3", &[]);
    bridge.wait_until_ready().await;
    let all = [5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8];
    has(&all).await;
    bridge.stop().await;
    let records = of_the_bridge(kafka.read_to_the_end(&system, &[TICKS]).await);
    assert_eq!(event_ids(&records), tick_ids(all.into_iter()), "nothing follows");
}
