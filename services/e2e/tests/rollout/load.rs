//! The load on the API: many clients that send what users send, and the outcome of every request.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes};
use e2e::Alert;
use hyper::{Request, header};
use platform::Shutdown;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::client::Client;

/// The symbols that the simulator quotes.
pub(crate) const SYMBOLS: [&str; 5] = ["BTC-USD", "ETH-USD", "SOL-USD", "DOGE-USD", "SPY"];
/// The numbers of clients that send one request after the other, and of those whose connection is idle between two
/// requests, as that of a page in a browser is.
const EAGER: u64 = 8;
const LEISURELY: u64 = 20;
const LOOK_EVERY: Duration = Duration::from_millis(700);
/// One rule in this many fires on every change; the others fire once.
const LOUD: usize = 20;

/// The running clients.
pub(crate) struct Load {
    answered: Arc<AtomicU64>,
    enough: Shutdown,
    /// The start of the clients.
    pub(crate) began: Instant,
    clients: JoinSet<Tally>,
}

/// The outcome of all requests.
#[derive(Default)]
pub(crate) struct Tally {
    /// The failures, each with its number.
    pub(crate) failures: BTreeMap<String, u64>,
    /// The rules whose creation was answered with 201.
    pub(crate) alerts: Vec<Alert>,
    took: Vec<Duration>,
    connections: u64,
    duration: Duration,
}

/// One client and its state.
struct Visitor {
    client: Client,
    number: u64,
    random: StdRng,
    tally: Tally,
    next_page: Option<String>,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (answered, enough) = (Arc::new(AtomicU64::new(0)), Shutdown::new());
        let mut clients = JoinSet::new();
        for number in 0..EAGER + LEISURELY {
            let visitor = Visitor::new(address, number);
            let pace = (number >= EAGER).then(|| {
                let mut pace = interval(LOOK_EVERY);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                pace
            });
            clients.spawn(visitor.work(pace, answered.clone(), enough.clone()));
        }
        Self { answered, enough, began: Instant::now(), clients }
    }

    /// Returns the number of finished requests.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Stops the clients and returns their outcome.
    pub(crate) async fn finish(self) -> Tally {
        self.enough.cancel();
        let mut all = Tally::default();
        for tally in self.clients.join_all().await {
            for (what, times) in tally.failures {
                *all.failures.entry(what).or_default() += times;
            }
            all.alerts.extend(tally.alerts);
            all.took.extend(tally.took);
            all.connections += tally.connections;
        }
        all.duration = self.began.elapsed();
        all.took.sort_unstable();
        all
    }
}

impl Visitor {
    fn new(address: SocketAddr, number: u64) -> Self {
        let random = StdRng::seed_from_u64(number);
        Self { client: Client::new(address), number, random, tally: Tally::default(), next_page: None }
    }

    async fn work(mut self, mut pace: Option<Interval>, answered: Arc<AtomicU64>, enough: Shutdown) -> Tally {
        while !enough.is_cancelled() {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            self.ask().await;
            answered.fetch_add(1, Ordering::Relaxed);
        }
        self.tally.connections = self.client.connections;
        self.tally
    }

    /// Sends one request, chosen at random from those that users send.
    async fn ask(&mut self) {
        let symbol = SYMBOLS[self.random.random_range(0..SYMBOLS.len())];
        match self.random.random_range(0..100) {
            0..25 => drop(self.get(200, "/v1/prices").await),
            25..50 => drop(self.get(200, &format!("/v1/prices/{symbol}")).await),
            50..65 => self.turn_a_page(symbol).await,
            65..78 => drop(self.get(200, &format!("/v1/prices/{symbol}/candles?interval=1m&limit=20")).await),
            78..80 => self.subscribe(symbol).await,
            80..92 => self.read_a_rule().await,
            92..95 => drop(self.get(404, "/v1/prices/NO-SUCH").await),
            95..98 => drop(self.send(422, Request::post("/v1/alerts"), Some(json!({ "percent": "0" }))).await),
            _ => drop(self.get(404, "/v1/nothing/here").await),
        }
    }

    /// Reads the newest page of the history, and the next page at the next call.
    async fn turn_a_page(&mut self, symbol: &str) {
        let first = format!("/v1/prices/{symbol}/history?limit=20");
        let page = self.next_page.take().unwrap_or_else(|| first.clone());
        if let Some(answer) = self.get(200, &page).await {
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            self.next_page = answer["next_cursor"].as_str().map(|cursor| format!("{first}&cursor={cursor}"));
        }
    }

    async fn subscribe(&mut self, symbol: &str) {
        let made = self.tally.alerts.len();
        let email = format!("reader-{}-{made}@example.com", self.number);
        let (change, repeat) = if made.is_multiple_of(LOUD) {
            (json!({ "percent": "5", "since": "anchor" }), "every")
        } else {
            (json!({ "percent": "0.01", "since": "previous" }), "once")
        };
        let rule = json!({
            "symbol": symbol, "condition": { "change": change }, "repeat": repeat, "notify": { "email": email },
        });
        if let Some(answer) = self.send(201, Request::post("/v1/alerts"), Some(rule)).await {
            self.tally.alerts.push(serde_json::from_slice(&answer).expect("a rule"));
        }
    }

    /// Reads one of its rules or that rule's firings. A client without rules asks for one that is not its own, which is
    /// refused.
    async fn read_a_rule(&mut self) {
        if self.tally.alerts.is_empty() {
            drop(self.get(401, "/v1/alerts/00000000-0000-7000-8000-000000000000").await);
            return;
        }
        let alert = &self.tally.alerts[self.random.random_range(0..self.tally.alerts.len())];
        let what = ["", "/firings"][self.random.random_range(0..2)];
        let request = Request::get(format!("/v1/alerts/{}{what}", alert.id))
            .header(header::AUTHORIZATION, format!("Bearer {}", alert.manage_token));
        drop(self.send(200, request, None).await);
    }

    async fn get(&mut self, wanted: u16, path: &str) -> Option<Bytes> {
        self.send(wanted, Request::get(path), None).await
    }

    /// Returns the body of an answer with the expected status, and counts any other outcome as a failure.
    async fn send(&mut self, wanted: u16, request: axum::http::request::Builder, body: Option<Value>) -> Option<Bytes> {
        let request = request.header(header::HOST, "tickbell").header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Body::empty, |body| body.to_string().into());
        let began = Instant::now();
        let outcome = self.client.send(request.body(body).expect("a request")).await;
        self.tally.took.push(began.elapsed());
        let failure = match outcome {
            Ok((status, body)) if status == wanted => return Some(body),
            Ok((status, body)) => {
                let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
                format!("{status} instead of {wanted}: {}", problem["detail"])
            }
            Err(why) => why,
        };
        *self.tally.failures.entry(failure).or_default() += 1;
        None
    }
}

impl Tally {
    /// Returns the number of requests that were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.took.len() as u64
    }

    /// Returns a percentile of the answer times, in thousandths.
    fn permille(&self, permille: usize) -> Duration {
        let place = (self.took.len() * permille / 1_000).min(self.took.len() - 1);
        self.took[place]
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, failures) = (self.took.len(), self.failures.values().sum::<u64>());
        let per_second = requests as u128 * 1_000 / self.duration.as_millis().max(1);
        let [middle, slow, slowest] = [500, 990, 1_000].map(|permille| self.permille(permille));
        write!(f, "{requests} requests over {} connections, {failures} failures, ", self.connections)?;
        write!(f, "{per_second} requests/s, p50 {middle:.1?}, p99 {slow:.1?}, max {slowest:.1?}")
    }
}
