//! Rounds of faults, after each of which a consumer of what is committed has each tick of the stream once, and those of a symbol in order.

use std::{collections::BTreeMap, time::Duration};

use e2e::{Servers, Service, System, system::Server, wait_until};
use platform::Broker;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, interval, timeout};

use crate::{
    TICKS, VENUE, WORK,
    broker::{Consumed, Kafka, KafkaConsumer},
    page, servers, start_bridge,
};

const SYMBOLS: [&str; 5] = ["BTC-USD", "ETH-USD", "SPY", "BRK.B", "DOGE-USD"];
/// The time after which Kafka aborts a transaction whose bridge is gone: the shortest that is allowed.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The rounds where nothing else is said.
const ROUNDS: usize = 12;

/// What happens in a round while ticks arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The bridge is killed at any moment, and started again.
    Kill,
    /// A second bridge runs beside it, and the first is killed.
    TwoAtOnce,
    /// The bridge stands still for longer than a transaction may take, while another mirrors; then it goes on.
    Paused,
    /// The broker of Kafka is killed and started again.
    BrokerKilled,
    /// The broker and the bridge are killed.
    BothKilled,
    /// JetStream is killed and started again.
    JetStreamRestarted,
    /// The stream is deleted and created anew.
    StreamAnew,
}

impl Fault {
    /// Each once, and then by chance.
    fn of_round(round: usize, random: &mut StdRng) -> Self {
        use Fault::*;
        let each = [Kill, BrokerKilled, TwoAtOnce, StreamAnew, JetStreamRestarted, BothKilled, Paused];
        let often = [
            Kill,
            Kill,
            Kill,
            Kill,
            Kill,
            Kill,
            BrokerKilled,
            BrokerKilled,
            BrokerKilled,
            BothKilled,
            BothKilled,
            TwoAtOnce,
            TwoAtOnce,
            JetStreamRestarted,
            StreamAnew,
            Paused,
        ];
        each.get(round).copied().unwrap_or_else(|| often[random.random_range(0..often.len())])
    }
}

struct Rounds {
    system: System,
    servers: Servers,
    kafka: Kafka,
    consumer: KafkaConsumer,
    bridge: Service,
    bridges: usize,
    random: StdRng,
    next_id: u64,
    /// The ids of each symbol in the order of the stream.
    published: BTreeMap<&'static str, Vec<String>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tick_is_seen_once_and_in_order_whatever_is_killed_in_between() {
    let number = |name: &str| {
        let text = std::env::var_os(name).filter(|text| !text.is_empty())?;
        Some(text.to_str()?.parse::<u64>().expect(name))
    };
    let (seed, count) =
        (number("KAFKA_SEED").unwrap_or(1), number("KAFKA_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize));
    let (system, servers, kafka) = servers(&[]).await;
    let bridge = start_bridge(&system, &servers, &kafka, "bridge-0", &settings());
    bridge.wait_until_ready().await;
    let consumer = kafka.consume(&system, "consumer", &[TICKS]);
    let (random, published) = (StdRng::seed_from_u64(seed), BTreeMap::new());
    let mut rounds = Rounds { system, servers, kafka, consumer, bridge, bridges: 1, random, next_id: 0, published };
    for round in 0..count {
        let fault = Fault::of_round(round, &mut rounds.random);
        let began = Instant::now();
        rounds = rounds.play(fault).await;
        rounds.judge(&format!("round {round} of seed {seed}, {fault:?}")).await;
        eprintln!("round {round}: {fault:?}, {} ticks, {:.1} s", rounds.next_id, began.elapsed().as_secs_f32());
    }
    // What was behind the last tick of a round when it was judged is seen here.
    rounds.bridge.stop().await;
    let records = rounds.kafka.read_to_the_end(&rounds.system, &[TICKS]).await;
    compare(&rounds.published, &records, &format!("after the last round of seed {seed}"));
}

fn settings() -> [(&'static str, String); 2] {
    [
        // Many ends of transactions, so that faults meet all of them.
        ("TICKBELL_KAFKA__TRANSACTION_RECORDS", "40".to_owned()),
        ("TICKBELL_KAFKA__TRANSACTION_TIMEOUT", format!("{}s", TRANSACTION_TIMEOUT.as_secs())),
    ]
}

impl Rounds {
    async fn play(mut self, fault: Fault) -> Self {
        match fault {
            Fault::Kill => {
                self.publish_for_a_while().await;
                self.replace_bridge();
                self.publish_for_a_while().await;
            }
            Fault::TwoAtOnce => {
                let second = self.another_bridge();
                self.publish_for_a_while().await;
                std::mem::replace(&mut self.bridge, second).kill();
                self.publish_for_a_while().await;
            }
            Fault::Paused => {
                let second = self.another_bridge();
                self.publish_for_a_while().await;
                let first = std::mem::replace(&mut self.bridge, second);
                let frozen = first.freeze();
                let until = Instant::now() + TRANSACTION_TIMEOUT + Duration::from_secs(2);
                while Instant::now() < until {
                    self.publish_for_a_while().await;
                }
                drop(frozen);
                self.publish_for_a_while().await;
                first.kill();
            }
            Fault::BrokerKilled => {
                self.publish_for_a_while().await;
                self.kafka.kill();
                self.publish_for_a_while().await;
                self.kafka.launch(&self.system).await;
                self.publish_for_a_while().await;
            }
            Fault::BothKilled => {
                self.publish_for_a_while().await;
                self.kafka.kill();
                self.replace_bridge();
                self.kafka.launch(&self.system).await;
                self.publish_for_a_while().await;
            }
            Fault::JetStreamRestarted => {
                self.publish_for_a_while().await;
                self.servers.kill(Server::Nats);
                self.servers.start_again(&self.system, Server::Nats);
                self.publish_for_a_while().await;
            }
            Fault::StreamAnew => {
                // What was not mirrored yet would be lost with the stream.
                self.publish_for_a_while().await;
                self.judge("before the stream is deleted").await;
                self.servers.request_broker("$JS.API.STREAM.DELETE.TICKS");
                let applied = self.servers.run(&self.system, &["streams", "apply"]).await;
                assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
                self.publish_for_a_while().await;
            }
        }
        self
    }

    fn another_bridge(&mut self) -> Service {
        let name = format!("bridge-{}", self.bridges);
        self.bridges += 1;
        start_bridge(&self.system, &self.servers, &self.kafka, &name, &settings())
    }

    fn replace_bridge(&mut self) {
        let next = self.another_bridge();
        std::mem::replace(&mut self.bridge, next).kill();
    }

    /// Publishes pages for up to a second and a half.
    async fn publish_for_a_while(&mut self) {
        let until = Instant::now() + Duration::from_millis(self.random.random_range(50..1_500));
        let servers = &self.servers;
        let broker: Broker = wait_until("JetStream answers", WORK, async || servers.try_broker().await).await;
        let mut pace = interval(Duration::from_millis(15));
        while Instant::now() < until {
            pace.tick().await;
            let mut messages = Vec::new();
            for _ in 0..self.random.random_range(1..8) {
                let symbol = SYMBOLS[self.random.random_range(0..SYMBOLS.len())];
                let first = self.next_id;
                self.next_id += self.random.random_range(1..12);
                messages.push(page(symbol, first..self.next_id));
                let ids = (first..self.next_id).map(|id| format!("{VENUE}:{symbol}:{id}"));
                self.published.entry(symbol).or_default().extend(ids);
            }
            broker.publish(&messages).await.expect("published");
        }
    }

    /// Waits until the consumer has as many ticks as were published, and compares them.
    async fn judge(&self, when: &str) {
        let expected: usize = self.published.values().map(Vec::len).sum();
        let consumer = &self.consumer;
        let has_all = wait_until("all ticks are in Kafka", WORK * 2, async || {
            (consumer.records().len() >= expected).then_some(())
        });
        // What is missing is said below.
        let _ = timeout(WORK, has_all).await;
        compare(&self.published, &self.consumer.records(), when);
    }
}

/// Compares the records of each symbol with the ticks that were published, of which each is there once and in order.
fn compare(published: &BTreeMap<&'static str, Vec<String>>, records: &[Consumed], when: &str) {
    let mut consumed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for record in records {
        let id = record.headers.get("ce_id").cloned().unwrap_or_default();
        consumed.entry(record.key.as_str()).or_default().push(id);
    }
    for (symbol, ids) in published {
        let found = consumed.remove(*symbol).unwrap_or_default();
        if let Some(at) = (0..ids.len().max(found.len())).find(|at| ids.get(*at) != found.get(*at)) {
            let near = |ids: &[String]| ids.iter().skip(at.saturating_sub(2)).take(6).cloned().collect::<Vec<_>>();
            panic!(
                "{when}: {symbol} has {} ticks in the stream and {} in Kafka; they differ at {at}: {:?} and {:?}",
                ids.len(),
                found.len(),
                near(ids),
                near(&found)
            );
        }
    }
    assert!(consumed.is_empty(), "{when}: records of nobody: {consumed:?}");
}
