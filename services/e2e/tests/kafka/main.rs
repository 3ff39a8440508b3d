//! The Kafka bridge with a real Kafka, read by a consumer that is not ours: `make test-kafka`. `KAFKA_ROUNDS` is the number of rounds of
//! faults, and `KAFKA_SEED` chooses them.

mod broker;
mod mirror;
mod open_transactions;
mod recovery;
mod rounds;
mod security;

use std::time::Duration;

use e2e::{Addresses, Servers, Service, System, process::use_complete_build};
use events::tick::{TickKind, TickSource};
use events::{OutboundMessage, PageTick, Symbol, TickPage, Timestamp, Venue};

use broker::{Consumed, Kafka};

/// How long anything may take to arrive.
const WORK: Duration = Duration::from_secs(90);
/// The topic of ticks.
const TICKS: &str = "tickbell.ticks.v1";
/// The group that has the position of the stream of ticks, which is also the id of its producer's transactions.
const GROUP: &str = "tickbell-kafka-bridge-TICKS-0";
/// The venue of the ticks of these tests.
const VENUE: &str = "test";

/// The servers without services, and a Kafka.
async fn servers(kafka_settings: &[(&str, String)]) -> (System, Servers, Kafka) {
    use_complete_build();
    let mut system = System::start().await;
    let servers = Servers::take_over(&mut system, &[]).await;
    let kafka = Kafka::start(&system, kafka_settings).await;
    (system, servers, kafka)
}

/// Starts a bridge with settings of its own.
fn start_bridge(system: &System, servers: &Servers, kafka: &Kafka, name: &str, settings: &[(&str, String)]) -> Service {
    let brokers = [("TICKBELL_KAFKA__BROKERS", kafka.address.to_string())];
    servers.start_at(system, name, &["kafka-bridge"], Addresses::free(), &[&brokers[..], settings].concat())
}

/// Returns the ids of the events that ticks of these pages have in Kafka.
fn tick_ids(ids: impl Iterator<Item = u64>) -> Vec<String> {
    ids.map(|id| format!("{VENUE}:SPY:{id}")).collect()
}

/// Returns the id of the event of each record.
fn event_ids(records: &[Consumed]) -> Vec<String> {
    records.iter().map(|record| record.headers["ce_id"].clone()).collect()
}

/// Returns a page of ticks with these ids.
fn page(symbol: &str, ids: impl Iterator<Item = u64>) -> OutboundMessage {
    let at = |id: u64| Timestamp::from_micros(1_700_000_000_000_000 + id as i64).expect("a time");
    let tick = |id: u64| PageTick {
        id: id.to_string(),
        at: at(id),
        price: "69017.23".parse().expect("a price"),
        size: Some("0.5".parse().expect("a size")),
    };
    let ticks: Vec<PageTick> = ids.map(tick).collect();
    let page = TickPage {
        venue: Venue::parse(VENUE).expect("a venue"),
        symbol: Symbol::parse(symbol).expect("a symbol"),
        kind: TickKind::Trade,
        source: TickSource::Live,
        received_at: at(0),
        ticks,
    };
    page.to_message()
}
