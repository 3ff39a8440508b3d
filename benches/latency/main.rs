//! The latency of a tick that fires: from the time at which it was due to be published until the broker has acknowledged it, until
//! its firing is committed and published, and until a mail server has accepted the mail.
//!
//! Starts `tickbell up` in a folder of its own and aiosmtpd as its mail server, creates a rule for each of 50 symbols, and
//! publishes ticks at several rates. A tick counts from the moment at which it was due, so that a publisher that is held up
//! hides nothing. The floors of the machine are printed beside: what a sync, a commit, a publish and a mail take alone.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints latencies")]

mod floors;
mod mail_server;
#[path = "../system/mod.rs"]
mod system;

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::Context;
use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, push},
};
use clap::Parser;
use events::{
    AlertFired, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use futures::StreamExt;
use market_data::PageCollector;
use platform::{Broker, Health, Shutdown, broker, clock};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    mail_server::{FiringKey, MailServer},
    system::System,
};

const SYMBOLS: usize = 50;
/// The time at each rate before latencies count.
const RAMP_UP: Duration = Duration::from_secs(5);
/// How long the last firing and the last mail of a rate may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The time between two publishes, if the first is acknowledged by then.
const PUBLISH_EVERY: Duration = Duration::from_millis(1);

/// Measures the latency of ticks that fire.
#[derive(Parser)]
struct Options {
    /// Ticks per second, one rate after the other
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    rates: Vec<u64>,
    /// Seconds at each rate
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut mails = MailServer::start().await?;
    let system = System::start(&options.program, &[("TICKBELL_SMTP__URL", &mails.url)])?;
    system.until("ready", Duration::from_secs(60), async || system.is_ready().await).await?;
    create_rules(&system).await?;
    let settings = broker::Settings { url: system.nats().to_owned(), ..broker::Settings::default() };
    let check = Health::default().check("broker");
    let broker = Broker::connect_now(&settings, "latency", check, Shutdown::new()).await?;
    let client = async_nats::connect(system.nats()).await?;
    let mut alerts = firings(client.clone()).await?;

    println!("floors of this machine, one after the other, in ms: p50, p99 and the longest");
    floors::measure(&system, &broker, &client, &mails).await?;
    println!("latency of ticks that fire, in ms: p50, p99 and the longest");
    for rate in &options.rates {
        // A hundred firings a second, or every tenth tick where there are few.
        let fires_every = (rate / 100).max(10);
        let tape = Tape::new(*rate, fires_every);
        let publishing = tape.publish(&broker, Duration::from_secs(options.seconds) + RAMP_UP);
        let (acknowledged, fired) = tokio::try_join!(publishing, tape.collect(&mut alerts, options.seconds))?;
        let accepted = mails.collect(fired.keys(), LIMIT).await?;
        let since_due =
            |key: &Key, at: i64| Some(at - tape.due(key.1)).filter(|_| tape.due(key.1) >= tape.counts_from());
        let acknowledgements = acknowledged.iter().filter_map(|(key, at)| since_due(key, *at));
        let firings = fired.values().filter_map(|(key, at)| since_due(key, *at));
        let of_mail = |(id, at): (&(String, i64), &i64)| since_due(&fired.get(id)?.0, *at);
        println!("{rate:>6} ticks/s acknowledged   {}", quantiles(acknowledgements.collect()));
        println!("{rate:>6} ticks/s to firing      {}", quantiles(firings.collect()));
        println!("{rate:>6} ticks/s to mail        {}", quantiles(accepted.iter().filter_map(of_mail).collect()));
    }
    Ok(())
}

/// A tick: the number of its symbol, and its own.
type Key = (usize, u64);

/// The ticks of one rate.
struct Tape {
    rate: u64,
    fires_every: u64,
    begin: Timestamp,
}

impl Tape {
    fn new(rate: u64, fires_every: u64) -> Self {
        Self { rate, fires_every, begin: clock::now() }
    }

    /// Returns the microsecond from which ticks count.
    fn counts_from(&self) -> i64 {
        self.begin.micros() + RAMP_UP.as_micros() as i64
    }

    /// Returns when a tick is due.
    fn due(&self, number: u64) -> i64 {
        self.begin.micros() + (number * 1_000_000 / self.rate) as i64
    }

    /// Returns whether a tick fires: of each symbol, every so many ticks one is above the threshold, and the symbols take turns.
    fn fires(&self, number: u64) -> bool {
        let (round, symbol) = (number / SYMBOLS as u64, number % SYMBOLS as u64);
        (round + symbol * self.fires_every / SYMBOLS as u64).is_multiple_of(self.fires_every)
    }

    fn tick(&self, number: u64, at: i64, fires: bool) -> (Tick, String) {
        let at = Timestamp::from_micros(at).unwrap_or_default();
        let tick = Tick {
            venue: Venue::parse("latency").expect("a venue"),
            symbol: symbol(number as usize % SYMBOLS),
            price: if fires { "101" } else { "99" }.parse().expect("a price"),
            size: None,
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::Live,
        };
        (tick, format!("{}-{number}", self.begin.micros()))
    }

    /// Publishes each tick when it is due, or as soon as those before it are acknowledged. Returns when each tick that fires was
    /// acknowledged.
    async fn publish(&self, broker: &Broker, during: Duration) -> anyhow::Result<HashMap<Key, i64>> {
        let mut timer = tokio::time::interval(PUBLISH_EVERY);
        let (mut number, mut acknowledged) = (0, HashMap::new());
        let end = self.begin.micros() + during.as_micros() as i64;
        loop {
            timer.tick().await;
            let now = clock::now().micros();
            let (mut pages, mut firing) = (PageCollector::default(), Vec::new());
            while self.due(number) <= now.min(end) {
                let fires = self.fires(number);
                if fires {
                    firing.push((number as usize % SYMBOLS, number));
                }
                let (tick, id) = self.tick(number, self.due(number), fires);
                pages.push(tick, id);
                number += 1;
            }
            if now > end {
                // At the end all prices are below the threshold, so that the next rate begins by crossing it.
                pages.extend((number..number + SYMBOLS as u64).map(|number| self.tick(number, now, false)));
            }
            broker.publish_ordered_by_subject(&pages.into_messages()).await?;
            let at = clock::now().micros();
            acknowledged.extend(firing.into_iter().map(|key| (key, at)));
            if now > end {
                return Ok(acknowledged);
            }
        }
    }

    /// Returns the tick of each firing, and when its alert came.
    async fn collect(
        &self,
        alerts: &mut push::Ordered,
        seconds: u64,
    ) -> anyhow::Result<HashMap<FiringKey, (Key, i64)>> {
        let expected = (0..self.rate * (seconds + RAMP_UP.as_secs())).filter(|number| self.fires(*number)).count();
        let mut fired = HashMap::new();
        let deadline = Instant::now() + Duration::from_secs(seconds) + RAMP_UP + LIMIT;
        while fired.len() < expected {
            let alert = timeout(deadline - Instant::now(), alerts.next()).await.context("firings are missing")?;
            let at = clock::now().micros();
            let alert: AlertFired = serde_json::from_slice(&alert.context("the broker is gone")??.payload)?;
            let Some((begin, number)) = alert.trade_id.split_once('-') else { continue };
            if begin.parse() == Ok(self.begin.micros()) {
                let number: u64 = number.parse()?;
                let key = (number as usize % SYMBOLS, number);
                fired.insert((alert.rule_id.to_string(), alert.number), (key, at));
            }
        }
        Ok(fired)
    }
}

/// Reads the firings that the stream stores from now on, as the notifier does. A subscription without a stream would be sent them
/// only when the server has read whatever else the connection of the alert-engine had sent.
async fn firings(client: async_nats::Client) -> anyhow::Result<push::Ordered> {
    let deliver_subject = client.new_inbox();
    let stream = jetstream::new(client).get_stream("ALERTS").await?;
    let config = push::OrderedConfig { deliver_subject, deliver_policy: DeliverPolicy::New, ..Default::default() };
    Ok(stream.create_consumer(config).await?.messages().await?)
}

fn symbol(number: usize) -> Symbol {
    Symbol::parse(&format!("L{number:02}-USD")).expect("a symbol")
}

/// Returns the median, the 99th percentile and the longest, in milliseconds.
pub(crate) fn quantiles(mut micros: Vec<i64>) -> String {
    micros.sort_unstable();
    let Some(last) = micros.len().checked_sub(1) else { return "none".into() };
    let quantile = |percent: usize| micros[(micros.len() * percent / 100).min(last)] as f64 / 1e3;
    format!("{:>8.1} {:>8.1} {:>8.1}   of {}", quantile(50), quantile(99), quantile(100), micros.len())
}

async fn create_rules(system: &System) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let url = format!("{}/v1/alerts", system.env["HTTP_URL"]);
    for number in 0..SYMBOLS {
        let body = json!({
            "symbol": symbol(number), "condition": { "price": { "above": "100" } }, "repeat": "every", "cooldown": "0s",
            "notify": { "email": format!("u{number}@example.com") },
        });
        let request = client.post(&url).header("content-type", "application/json").body(body.to_string());
        request.send().await?.error_for_status()?;
    }
    system.until("following all rules", LIMIT, async || system.caught_up()).await
}
