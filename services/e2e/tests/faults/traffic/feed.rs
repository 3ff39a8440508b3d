//! The volume: ticks with known prices, and alerts whose firings follow from them.

use std::time::Duration;

use events::{OutboundMessage, envelope::NATS_MSG_ID};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    record::{Condition, Expectation, Record},
    traffic::{
        clients::Client,
        late,
        publisher::{Publisher, tick},
    },
};

/// The symbols of the feed.
pub(crate) const SYMBOLS: [&str; 4] = ["V1-USD", "V2-USD", "V3-USD", "V4-USD"];
const TICK_EVERY: Duration = Duration::from_millis(60);
/// One tick in this many has a high price.
const HIGH: u32 = 12;
/// The number of messages that an action repeats.
const REPEATS: usize = 40;

/// The running feed.
pub(crate) struct Feed {
    runs: watch::Sender<bool>,
    idle: watch::Receiver<bool>,
    actions: mpsc::Sender<Action>,
}

/// What the feed does beside publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Publishes the last messages again, so that the broker stores them once more.
    Repeat,
    /// Misses trades, and fills them in late.
    Late,
}

/// Creates the alerts that watch the feed.
pub(crate) async fn create_alerts(client: &Client, record: &Record) {
    let conditions = [
        (Condition::Above(100), json!({ "price": { "above": "100" } })),
        (Condition::Below(100), json!({ "price": { "below": "100" } })),
        (Condition::SincePrevious(10), json!({ "change": { "percent": "10", "since": "previous" } })),
        (Condition::SinceAnchor(9), json!({ "change": { "percent": "9", "since": "anchor" } })),
    ];
    for (symbol, (condition, terms)) in SYMBOLS.into_iter().zip(conditions) {
        let body = json!({ "symbol": symbol, "condition": terms, "repeat": "every", "cooldown": "0s",
                           "notify": { "email": format!("{}@example.com", symbol.to_lowercase()) } });
        let alert: Value = client.send(&[201], |api| api.request(Method::POST, "/v1/alerts").json(&body)).await;
        let alert = serde_json::from_value(alert).expect("an alert");
        let expectation = Expectation::Computed { symbol: symbol.to_owned(), condition };
        record.entries().alerts.push((alert, expectation));
    }
    let body = json!({ "symbol": late::SYMBOL, "condition": { "price": { "above": late::HIGH.to_string() } },
                       "repeat": "every", "cooldown": "0s", "notify": { "email": late::ADDRESS } });
    let alert: Value = client.send(&[201], |api| api.request(Method::POST, "/v1/alerts").json(&body)).await;
    record.entries().alerts.push((serde_json::from_value(alert).expect("an alert"), Expectation::Late));
}

impl Feed {
    /// Begins to publish.
    pub(crate) fn start(publisher: Publisher, record: Record, seed: u64) -> Self {
        let (runs, running) = watch::channel(true);
        let (idles, idle) = watch::channel(false);
        let (actions, asked) = mpsc::channel(4);
        tokio::spawn(publish(publisher, record, StdRng::seed_from_u64(seed), running, idles, asked));
        Self { runs, idle, actions }
    }

    /// Stops it until [`Self::resume`], and waits until everything is acknowledged.
    pub(crate) async fn pause(&mut self) {
        self.runs.send_replace(false);
        self.idle.wait_for(|idle| *idle).await.expect("the feed runs");
    }

    /// Ends what [`Self::pause`] has begun.
    pub(crate) fn resume(&self) {
        self.runs.send_replace(true);
    }

    /// Lets the feed do something.
    pub(crate) async fn act(&self, action: Action) {
        self.actions.send(action).await.expect("the feed runs");
    }
}

async fn publish(
    mut publisher: Publisher,
    record: Record,
    mut random: StdRng,
    mut running: watch::Receiver<bool>,
    idle: watch::Sender<bool>,
    mut actions: mpsc::Receiver<Action>,
) {
    let mut pace = interval(TICK_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut gaps): (Vec<OutboundMessage>, u64) = (Vec::new(), 0);
    for number in 0_u64.. {
        if !*running.borrow() {
            idle.send_replace(true);
            if running.wait_for(|runs| *runs).await.is_err() {
                return;
            }
            idle.send_replace(false);
        }
        pace.tick().await;
        let symbol = SYMBOLS[number as usize % SYMBOLS.len()];
        let price = if random.random_range(0..HIGH) == 0 { 105 } else { 90 } + random.random_range(0..=5);
        let trade_id = number.to_string();
        let message = tick(symbol, &trade_id, price);
        publisher.publish(&message).await;
        record.add_tick(symbol, &trade_id, price);
        last.push(message);
        last.drain(..last.len().saturating_sub(REPEATS));
        match actions.try_recv() {
            Ok(Action::Repeat) => {
                for message in &last {
                    publisher.publish(&repeat(message)).await;
                }
            }
            Ok(Action::Late) => {
                late::miss_and_fill_in(&mut publisher, &record, gaps).await;
                gaps += 1;
            }
            // Nothing is asked for, or the harness has ended.
            Err(_) => {}
        }
    }
}

/// The same message without the header by which the broker would recognise it.
fn repeat(message: &OutboundMessage) -> OutboundMessage {
    let mut message = message.clone();
    message.headers.retain(|(name, _)| name != NATS_MSG_ID);
    message
}
