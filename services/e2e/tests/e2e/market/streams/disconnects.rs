//! Connections that break at random bytes, while prices come and gateways are killed: each client gets every price once.
//!
//! A client that resumes costs the gateway three questions to the broker, and what was sent when a connection broke is read again
//! for the next one. Where each connection shows few prices, a slow gateway serves fewer than are published, and its clients fall
//! behind for as long as somebody publishes. So a connection breaks after as many bytes as hold the prices of [`SERVED`] on average.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use e2e::{
    System,
    process::{free_address, use_release_build},
    wait_until,
};
use events::{OutboundMessage, TickPage};
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Instant, interval, timeout};

use super::{
    Position, SYMBOLS,
    client::{Received, Transport, read},
    nth_tick, position, stored,
};

/// The clients of each transport.
const CLIENTS_EACH: usize = 3;
/// How often a gateway is killed while the connections are cut.
const KILLS: usize = 4;
/// The prices that come in this time are what a connection shows on average.
const SERVED: Duration = Duration::from_millis(400);
/// The bytes of a price on a connection, roughly.
const PRICE_BYTES: u64 = 300;
/// Of so many connections one breaks in its first bytes: in the headers, or in the event that says where it resumes.
const EARLY_ONE_IN: u64 = 8;
const EARLY_BYTES: u64 = 2_000;
/// The time between two batches of ticks. A batch costs the broker a single fsync.
const BATCH_EVERY: Duration = Duration::from_millis(100);
/// The ticks of the pages of a batch, again and again.
const PAGES: [usize; 5] = [1, 1, 2, 1, 1];
const DEADLINE: Duration = Duration::from_secs(600);
/// A connection on which nothing breaks and nothing comes for so long stands still.
const STANDSTILL: Duration = Duration::from_secs(60);

/// The disconnects that are asked for, and the ticks of a second.
struct Load {
    disconnects: usize,
    ticks_per_second: usize,
    /// Whether a slower publisher is a failure.
    is_asked_for: bool,
}

impl Load {
    /// Reads what `make disconnects` asks for; without that, a short run on whatever machine it is.
    fn from_env() -> Self {
        let number = |name: &str| {
            let text = std::env::var_os(name)?;
            let number = text.to_str().and_then(|text| text.parse().ok());
            Some(number.unwrap_or_else(|| panic!("{name} = {}: must be a number", text.display())))
        };
        let (disconnects, ticks) = (number("TICKBELL_TEST_DISCONNECTS"), number("TICKBELL_TEST_EVENTS_PER_SECOND"));
        Self {
            disconnects: disconnects.unwrap_or(250),
            ticks_per_second: ticks.unwrap_or(200),
            is_asked_for: ticks.is_some(),
        }
    }

    /// Returns the bytes after which a connection breaks.
    fn cut_after(&self, random: u64) -> u64 {
        let (is_early, random) = (random.is_multiple_of(EARLY_ONE_IN), random / EARLY_ONE_IN);
        let served = self.ticks_per_second as u64 * PRICE_BYTES * SERVED.as_millis() as u64 / 1_000;
        1 + random % if is_early { EARLY_BYTES } else { 2 * served }
    }
}

/// What clients and publisher know of each other.
struct Run {
    load: Load,
    gateways: [SocketAddr; 2],
    disconnects: [AtomicUsize; 2],
    /// The number of ticks once it is known.
    total: AtomicUsize,
}

const TRANSPORTS: [Transport; 2] = [Transport::Sse, Transport::WebSocket];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_cut_anywhere_again_and_again_gets_every_price_once() {
    let load = Load::from_env();
    if load.is_asked_for {
        use_release_build();
    }
    let mut system = System::start().await;
    let gateways = [free_address(), free_address()];
    let run = Run { load, gateways, disconnects: Default::default(), total: AtomicUsize::new(usize::MAX) };
    let mut processes = Vec::new();
    for address in run.gateways {
        processes.push(Some(system.gateway_at(address).await.0));
    }
    let transports = TRANSPORTS.into_iter().cycle().take(2 * CLIENTS_EACH);
    let clients = join_all(transports.zip(1..).map(|(transport, number)| run.client(transport, number)));
    let killing = async {
        for kill in 1..=KILLS {
            let reached = async || (run.cut() >= kill * run.load.disconnects / (KILLS + 1)).then_some(());
            wait_until("connections are cut", DEADLINE, reached).await;
            let index = kill % run.gateways.len();
            processes[index].take().expect("it runs").kill();
            processes[index] = Some(system.gateway_at(run.gateways[index]).await.0);
        }
    };
    let (received, (), (ticks, per_second, ended)) = tokio::join!(clients, killing, run.publish(&system));
    let caught_up_ms = ended.elapsed().as_millis();
    run.verify(&system, received).await;
    let [sse, websocket] = run.disconnects.each_ref().map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "{} connections cut, {sse} of SSE and {websocket} of WebSocket; {ticks} ticks at {per_second}/s; {KILLS} gateways killed; \
         0 lost, 0 twice; all received {caught_up_ms} ms after the last was published",
        sse + websocket,
    );
    assert!(sse.min(websocket) > run.load.disconnects / 4, "{sse} and {websocket} connections were cut");
    if run.load.is_asked_for {
        assert!(per_second >= run.load.ticks_per_second, "only {per_second} ticks/s were published");
    }
    processes.into_iter().flatten().for_each(e2e::Process::kill);
    system.stop().await;
}

impl Run {
    fn cut(&self) -> usize {
        self.disconnects.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Reads all prices on connections that break, to gateways that may be gone, and returns their positions as they came.
    async fn client(&self, transport: Transport, number: u64) -> (Transport, Vec<Position>) {
        let (mut positions, mut from, mut random) = (Vec::new(), "earliest".to_owned(), number);
        let deadline = Instant::now() + DEADLINE;
        while positions.len() < self.total.load(Ordering::Relaxed) {
            assert!(Instant::now() < deadline, "{transport:?}: only {} prices were received", positions.len());
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let gateway = format!("http://{}", self.gateways[(random >> 60) as usize % 2]);
            let query: [(&str, &str); 2] = [("channels", "prices"), ("conflate", "none")];
            let mut count = positions.len();
            let is_last = |received: &Received| {
                count += usize::from(received.channel == "prices");
                count == self.total.load(Ordering::Relaxed)
            };
            let bytes = self.load.cut_after(random >> 24);
            let reading = read(transport, &gateway, (&query, None), Some(&from), bytes, is_last);
            let Ok(events) = timeout(STANDSTILL, reading).await else {
                panic!("{transport:?}: a connection to {gateway} stands still behind {} prices", positions.len());
            };
            self.disconnects[usize::from(transport == Transport::WebSocket)]
                .fetch_add(usize::from(!events.is_empty()), Ordering::Relaxed);
            for Received { channel, id, data } in events {
                assert_ne!(channel, "reset", "{data}");
                // A gateway that was killed and has begun anew knows the same streams.
                if channel == "subscribed" {
                    assert_eq!((&data["recovered"], &data["lost"]), (&json!(true), &json!(0)), "{data}");
                }
                if channel == "prices" {
                    positions.push(position(&data));
                }
                if !id.is_empty() {
                    from = id;
                }
            }
        }
        (transport, positions)
    }

    /// Publishes ticks until as many connections were cut as are asked for. Returns their number, how many there were in a
    /// second, and when the last was published.
    async fn publish(&self, system: &System) -> (usize, usize, Instant) {
        let broker = system.broker().await;
        let mut batches = interval(BATCH_EVERY);
        let in_a_batch = (self.load.ticks_per_second * BATCH_EVERY.as_millis() as usize).div_ceil(1_000);
        let (began, mut published) = (Instant::now(), 0);
        loop {
            batches.tick().await;
            let is_last = self.cut() >= self.load.disconnects;
            let next = published + in_a_batch;
            if is_last {
                // Known before the last ticks are, so that each client knows its last one when it comes.
                self.total.store(next, Ordering::Relaxed);
            }
            broker.publish(&pages(published..next)).await.expect("published");
            published = next;
            if is_last {
                let per_second = published * 1_000 / began.elapsed().as_millis() as usize;
                return (published, per_second, Instant::now());
            }
            assert!(began.elapsed() < DEADLINE, "only {} connections were cut", self.cut());
        }
    }

    /// Compares what clients have received with what the stream holds.
    async fn verify(&self, system: &System, received: Vec<(Transport, Vec<Position>)>) {
        let stored = stored(system).await;
        assert_eq!(stored.len(), self.total.load(Ordering::Relaxed));
        for (transport, positions) in received {
            let different: BTreeSet<_> = positions.iter().collect();
            let lost = stored.iter().filter(|position| !different.contains(position)).count();
            assert_eq!((lost, positions.len() - different.len()), (0, 0), "{transport:?}: lost, twice");
            assert!(positions == stored, "{transport:?}: in the order of the stream");
        }
    }
}

/// Returns pages of ticks, of which some hold more than one.
fn pages(mut numbers: std::ops::Range<usize>) -> Vec<OutboundMessage> {
    let mut pages = Vec::new();
    for (size, symbol) in PAGES.iter().cycle().zip(SYMBOLS.iter().cycle()) {
        let mut ticks = numbers.by_ref().take(*size).map(|number| {
            let tick = nth_tick(number, symbol);
            let id = tick.derived_trade_id();
            (tick, id)
        });
        let Some((first, id)) = ticks.next() else { break };
        let mut page = TickPage::of(first, id);
        ticks.for_each(|(tick, id)| page.push(tick, id));
        pages.push(page.to_message());
    }
    pages
}
