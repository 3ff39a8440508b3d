//! Canaries: one operation of each kind a second, followed from its beginning to its end.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use e2e::Alert;
use events::Timestamp;
use platform::clock;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    cluster::Role,
    record::{Expectation, Record},
    traffic::{
        clients::Client,
        feed,
        publisher::{Publisher, VENUE, tick},
    },
};

const EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The number of canaries of a kind that may be under way: there are more when something stands still.
const MOST: usize = 15;
/// The symbol of the ticks that must be stored.
const HISTORY: &str = "H-USD";

/// An operation that a canary tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A new alert is followed, fires and is mailed.
    Alert,
    /// A tick is stored.
    History,
    /// An order is settled.
    Order,
    /// A price of the source is stored.
    Source,
}

/// One operation, from its beginning to its end.
#[derive(Debug, Clone)]
pub(crate) struct Canary {
    pub(crate) kind: Kind,
    pub(crate) number: usize,
    pub(crate) began: Instant,
    pub(crate) step: &'static str,
    pub(crate) done: Option<Instant>,
    reported: bool,
}

/// The canaries of a run, and what they need.
#[derive(Clone)]
pub(crate) struct Canaries {
    all: Arc<Mutex<Vec<Canary>>>,
    client: Client,
    record: Record,
    publisher: Arc<AsyncMutex<Publisher>>,
    runs: watch::Sender<bool>,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Alert, Self::History, Self::Order, Self::Source];

    /// The services that it needs.
    pub(crate) fn roles(self) -> &'static [Role] {
        match self {
            Self::Alert => &[Role::Gateway, Role::AlertEngine, Role::Notifier],
            Self::History => &[Role::Gateway, Role::HistoryWriter],
            Self::Order => &[Role::Gateway, Role::TradeSettler],
            Self::Source => &[Role::Gateway, Role::HistoryWriter, Role::PriceIngestor],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alert => "a new alert is followed, fires and is mailed",
            Self::History => "a tick is stored",
            Self::Order => "an order is settled",
            Self::Source => "a price of the source is stored",
        })
    }
}

impl Canaries {
    /// Begins to send canaries.
    pub(crate) fn start(client: Client, record: Record, publisher: Publisher) -> Self {
        let publisher = Arc::new(AsyncMutex::new(publisher));
        let canaries = Self { all: Arc::default(), client, record, publisher, runs: watch::Sender::new(true) };
        tokio::spawn(canaries.clone().send_all());
        canaries
    }

    async fn send_all(self) {
        let mut pace = interval(EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut runs = self.runs.subscribe();
        loop {
            pace.tick().await;
            if runs.wait_for(|runs| *runs).await.is_err() {
                return;
            }
            for kind in Kind::ALL {
                if self.under_way().iter().filter(|canary| canary.kind == kind).count() < MOST {
                    tokio::spawn(self.clone().send(kind));
                }
            }
        }
    }

    /// Begins no canary until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.runs.send_replace(false);
    }

    pub(crate) fn resume(&self) {
        self.runs.send_replace(true);
    }

    /// Returns those that have not ended.
    pub(crate) fn under_way(&self) -> Vec<Canary> {
        self.all().iter().filter(|canary| canary.done.is_none()).cloned().collect()
    }

    /// Returns how many have ended.
    pub(crate) fn count(&self) -> usize {
        self.all().iter().filter(|canary| canary.done.is_some()).count()
    }

    /// Returns when the first canary of each kind had ended that began after `since`, once all have.
    pub(crate) fn ended_since(&self, since: Instant) -> Option<Instant> {
        let all = self.all();
        let first = |kind| {
            all.iter()
                .filter(|canary| canary.kind == kind && canary.began >= since)
                .filter_map(|canary| canary.done)
                .min()
        };
        Kind::ALL.map(first).into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Reports canaries that have not ended, although the services that they need have all said for `limit` that they are
    /// ready.
    pub(crate) fn judge(&self, limit: Duration, began: Instant) {
        let mut violations = Vec::new();
        for kind in Kind::ALL {
            // Of those that wait for the same the oldest is enough.
            let mut all = self.all();
            let is_oldest = |canary: &&mut Canary| canary.kind == kind && canary.done.is_none();
            let Some(canary) = all.iter_mut().find(is_oldest).filter(|canary| !canary.reported) else { continue };
            let ready_since = canary.began.max(self.client.readiness.last_unready(kind.roles()));
            if ready_since.elapsed() > limit {
                canary.reported = true;
                let (number, step) = (canary.number, canary.step);
                let (seconds, answers) = (began.elapsed().as_secs(), self.client.readiness.describe(kind.roles()));
                violations.push(format!(
                    "at {seconds} s: canary {number} ({kind}) still waits until {step}, after all services that it needs \
                     have said for {limit:?} that they are ready: {answers}"
                ));
            }
        }
        violations.into_iter().for_each(|violation| self.record.add_violation(violation));
    }

    async fn send(self, kind: Kind) {
        let number = {
            let mut all = self.all();
            let number = all.len();
            all.push(Canary { kind, number, began: Instant::now(), step: "it begins", done: None, reported: false });
            number
        };
        match kind {
            Kind::Alert => self.follow_alert(number).await,
            Kind::History => self.follow_tick(number).await,
            Kind::Order => self.follow_order(number).await,
            Kind::Source => self.follow_source(number).await,
        }
        self.all()[number].done = Some(Instant::now());
    }

    async fn follow_alert(&self, number: usize) {
        self.step(number, "the alert is accepted");
        let symbol = format!("C{number}-USD");
        let email = self.create_alert(number, &symbol).await;
        self.step(number, "the mail arrives");
        // Ticks are repeated, because the alert is active only some time after it was accepted.
        let mut ticks = 0;
        while !self.record.has_mail_to(&email) {
            if ticks % 4 < 2 {
                let price = if ticks % 4 == 0 { 90 } else { 101 };
                self.publish(&symbol, &ticks.to_string(), price).await;
            }
            ticks += 1;
            sleep(LOOK_EVERY).await;
        }
    }

    /// Creates an alert for an address that is new with each attempt, and returns the address.
    async fn create_alert(&self, number: usize, symbol: &str) -> String {
        for attempt in 0.. {
            let email = format!("canary-{number}-{attempt}@example.com");
            let body = json!({ "symbol": symbol, "condition": { "price": { "above": "100" } }, "repeat": "once",
                               "notify": { "email": email } });
            let answer = self.client.try_send(attempt, |api| api.request(Method::POST, "/v1/alerts").json(&body)).await;
            let accepted = answer.filter(|answer| answer.status == 201);
            if let Some(answer) = accepted {
                self.record.entries().alerts.push((answer.json::<Alert>(), Expectation::Once));
                return email;
            }
            self.record.entries().unanswered.insert(email);
            sleep(LOOK_EVERY).await;
        }
        unreachable!("the attempts have no end")
    }

    async fn follow_tick(&self, number: usize) {
        self.step(number, "the tick is acknowledged");
        let trade_id = format!("canary-{number}");
        self.publish(HISTORY, &trade_id, 100).await;
        self.step(number, "the tick is in the history");
        let path = format!("/v1/prices/{HISTORY}/history?order=desc&limit=200");
        self.until(&path, |page| has(page, |item| item["trade_id"] == trade_id.as_str())).await;
    }

    async fn follow_order(&self, number: usize) {
        self.step(number, "the order is accepted");
        let order = json!({ "symbol": feed::SYMBOLS[0], "venue": VENUE, "side": "buy", "type": "market", "size": "1" });
        let key = format!("canary-{number}");
        let place = |api: &e2e::Api| {
            let request = api.request(Method::POST, "/v1/orders").bearer_auth(&self.client.token).json(&order);
            request.header("idempotency-key", &key)
        };
        let order = self.client.send(&[200, 202], place).await;
        let id = order["id"].as_str().expect("an id").to_owned();
        self.record.entries().orders.push(id.clone());
        self.step(number, "the order is settled");
        self.until(&format!("/v1/orders/{id}"), |order| order["status"] == "filled" || order["status"] == "rejected")
            .await;
    }

    async fn follow_source(&self, number: usize) {
        self.step(number, "a price of after its beginning is in the history");
        let began = clock::now();
        let is_newer =
            |item: &Value| item["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()).is_some_and(|at| at > began);
        self.until("/v1/prices/BTC-USD/history?order=desc&limit=1", |page| has(page, is_newer)).await;
    }

    async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) {
        while !holds(&self.client.get(path).await) {
            sleep(LOOK_EVERY).await;
        }
    }

    async fn publish(&self, symbol: &str, trade_id: &str, price: u32) {
        let message = tick(symbol, trade_id, price);
        self.publisher.lock().await.publish(&message).await;
        self.record.add_tick(symbol, trade_id, price);
    }

    fn step(&self, number: usize, step: &'static str) {
        self.all()[number].step = step;
    }

    fn all(&self) -> MutexGuard<'_, Vec<Canary>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has(page: &Value, is_it: impl Fn(&Value) -> bool) -> bool {
    page["items"].as_array().is_some_and(|items| items.iter().any(is_it))
}
