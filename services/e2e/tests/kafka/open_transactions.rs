//! Transactions that were left open, behind which a consumer of what is committed sees nothing: the bridge ends them.

use e2e::{Servers, Service, System, wait_until};

use crate::{
    GROUP, TICKS, WORK,
    broker::{Consumed, Kafka, KafkaConsumer, LeftOpen},
    event_ids, page, servers, start_bridge, tick_ids,
};

/// A bridge has mirrored twenty ticks in two messages and was stopped.
struct Mirrored {
    system: System,
    servers: Servers,
    kafka: Kafka,
    consumer: KafkaConsumer,
    /// The record of the last tick.
    last: Consumed,
}

async fn mirrored() -> Mirrored {
    // Otherwise the broker would refuse what its coordinator does not know.
    let unverified = [("transaction.partition.verification.enable", "false".to_owned())];
    let (system, servers, kafka) = servers(&unverified).await;
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-0", &[]);
    bridge.wait_until_ready().await;
    let broker = servers.try_broker().await.expect("JetStream");
    broker.publish(&[page("SPY", 0..7), page("SPY", 7..20)]).await.expect("published");
    let consumer = kafka.consume(&system, "consumer", &[TICKS]);
    let records = has(&consumer, 20).await;
    bridge.stop().await;
    let last = records.last().expect("a record").clone();
    Mirrored { system, servers, kafka, consumer, last }
}

/// Waits until the consumer has ticks with the ids up to this one, each once and in order, and returns their records.
async fn has(consumer: &KafkaConsumer, until: u64) -> Vec<Consumed> {
    let expected = tick_ids(0..until);
    let records = wait_until("all ticks are in Kafka", WORK, async || {
        let records = consumer.records();
        (records.len() >= expected.len()).then_some(records)
    })
    .await;
    assert_eq!(event_ids(&records), expected);
    records
}

impl Mirrored {
    /// Leaves a transaction open that has a tick of this message.
    fn leave_open(&self, way: LeftOpen, tick: u64, sequence: u64) {
        let mut headers = self.last.headers.clone();
        headers.insert("ce_id".into(), format!("test:SPY:{tick}"));
        let mut words: Vec<String> = headers["tickbell_position"].split(' ').map(str::to_owned).collect();
        assert_eq!(words[2], "2", "the second message");
        words[2] = sequence.to_string();
        headers.insert("tickbell_position".into(), words.join(" "));
        let record = Consumed { headers, ..self.last.clone() };
        self.kafka.leave_open(way, GROUP, &record);
        let ends = self.kafka.ask(&["ends", TICKS, &record.partition.to_string()]);
        let ends: Vec<u64> = ends.split_whitespace().map(|end| end.parse().expect("an offset")).collect();
        assert_eq!(ends[0] + 1, ends[1], "a consumer of what is committed does not get to the end");
    }

    /// Reads the whole topic, to which nobody writes any more: it has the ticks from this one on and nothing else.
    async fn holds_exactly(&self, from: u64) {
        let records = self.kafka.read_to_the_end(&self.system, &[TICKS]).await;
        assert_eq!(event_ids(&records), tick_ids(from..33));
    }

    /// Publishes ticks from this one on, and starts the bridge.
    async fn go_on(&self, from: u64) -> Service {
        let broker = self.servers.try_broker().await.expect("JetStream");
        broker.publish(&[page("SPY", from..33)]).await.expect("published");
        let bridge = start_bridge(&self.system, &self.servers, &self.kafka, "bridge-1", &[]);
        bridge.wait_until_ready().await;
        bridge
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_a_producer_that_was_killed_is_aborted_at_the_start() {
    let mirrored = mirrored().await;
    mirrored.leave_open(LeftOpen::Killed, 20, 3);
    let bridge = mirrored.go_on(20).await;
    has(&mirrored.consumer, 33).await;
    bridge.stop().await;
    mirrored.holds_exactly(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_coordinator_has_forgotten_is_ended_as_aborted_where_its_position_is_not_committed() {
    let mirrored = mirrored().await;
    mirrored.leave_open(LeftOpen::Forgotten, 20, 3);
    let bridge = mirrored.go_on(20).await;
    has(&mirrored.consumer, 33).await;
    assert_eq!(ended(&bridge).await, 1);
    bridge.stop().await;
    mirrored.holds_exactly(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_forgotten_transaction_has_committed_is_written_once_more() {
    let mirrored = mirrored().await;
    // The position behind the second message is committed, so its ticks are, also this one, which nobody sees.
    mirrored.leave_open(LeftOpen::Forgotten, 20, 2);
    let bridge = mirrored.go_on(21).await;
    has(&mirrored.consumer, 33).await;
    assert_eq!(ended(&bridge).await, 1);
    bridge.stop().await;
    mirrored.holds_exactly(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_used_where_an_offset_is_in_an_open_transaction_and_all_records_are_gone() {
    let mirrored = mirrored().await;
    // So it is with a quiet stream whose records were deleted by their age.
    mirrored.kafka.change(&["empty", TICKS]);
    mirrored.kafka.change(&["hold", GROUP, TICKS, "1"]);
    let bridge = mirrored.go_on(20).await;
    has(&mirrored.consumer, 33).await;
    bridge.stop().await;
    mirrored.holds_exactly(20).await;
}

/// Returns how many open transactions the bridge has ended in the topic of ticks.
async fn ended(bridge: &Service) -> u64 {
    let metrics = bridge.admin.get("/metrics").await.text;
    let name = "tickbell_kafka_open_transactions_total{stream=\"TICKS\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("the metric");
    value.parse().expect("a number")
}
