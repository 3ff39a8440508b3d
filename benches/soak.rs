//! Plays ticks at one rate over many symbols for long, and says whether anything grows that should not.
//!
//! Starts `tickbell up` in a folder of its own, creates rules that do not fire, and publishes ticks. Samples the lag of each consumer,
//! the memory of each program, and the sizes of streams and tables. At the end it says whether the lag was bounded, the memory
//! flat, and whether anything has grown but the history; the status is 1 where that is not so.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints sizes and slopes")]

mod system;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use async_nats::jetstream;
use clap::Parser;
use events::{
    Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use futures::TryStreamExt;
use market_data::PageCollector;
use platform::{Broker, Health, Shutdown, broker, clock};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::system::{System, process_memory};

/// The time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// The time between two publishes, if the first is acknowledged by then.
const PUBLISH_EVERY: Duration = Duration::from_millis(10);
/// The ticks of a symbol that follow each other.
const BURST: u64 = 5;
/// How long the consumers may take for what is left at the end.
const LIMIT: Duration = Duration::from_secs(60);
const MIB: f64 = 1_048_576.0;

/// The streams and tables that are the history, or statistics about it. They grow with the ticks.
const HISTORY: [&str; 4] = ["stream TICKS", "stream CANDLES", "table ticks", "table candles"];
/// The samples that windows look back to. Those of each second fill for an hour, so that their number is compared, not their growth.
const SAMPLES: &str = "table market_samples";
/// The samples of a market, at most: those of each second of an hour, those of each minute of a week, and 256 of each that wait to be
/// deleted.
const MAX_SAMPLES: u64 = 3_600 + 10_080 + 2 * 256 + 2;

/// The time for which the samples of each second are in memory, and the bytes of each: an entry, twice, because their queue doubles.
const SAMPLED: u64 = 3_600;
const SAMPLE: u64 = 64;

/// The minutes from which on a run says something about memory: that of the broker moves with its garbage collection.
const JUDGES_MEMORY_FROM: u64 = 30;

/// Plays ticks for long, and looks for what grows.
#[derive(Parser, Clone)]
struct Options {
    /// Ticks per second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Number of symbols
    #[arg(long, default_value_t = 200)]
    symbols: u64,
    /// Number of rules, none of which fires
    #[arg(long, default_value_t = 2_000)]
    rules: u64,
    /// Minutes of playing, at least 3
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..))]
    minutes: u64,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

impl Options {
    fn judges_memory(&self) -> bool {
        self.minutes >= JUDGES_MEMORY_FROM
    }

    /// Returns whether a process of this name runs the program. The names of processes end after 15 bytes.
    fn is_program(&self, name: &str) -> bool {
        self.program.file_name().and_then(|file| file.to_str()).is_some_and(|file| file.starts_with(name))
    }

    /// Returns by how much the samples of each second grow behind the first third: until an hour is full of them.
    fn bytes_of_samples(&self) -> f64 {
        let end = self.minutes * 60;
        let added = end.min(SAMPLED) - (end / 3).min(SAMPLED);
        (self.symbols * added * SAMPLE) as f64
    }
}

/// What was seen of one thing, in the order of time.
type Series = BTreeMap<String, Vec<f64>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let system = System::start(&options.program, &[])?;
    system.until("ready", LIMIT, async || system.is_ready().await).await?;
    create_rules(&system, &options).await?;
    let settings = broker::Settings { url: system.nats().to_owned(), ..broker::Settings::default() };
    let check = Health::default().check("broker");
    let broker = Broker::connect_now(&settings, "soak", check, Shutdown::new()).await?;

    let published = Arc::new(AtomicU64::new(0));
    // The samples wait for programs, which must not hold up the ticks.
    let publishing = tokio::spawn(publish(broker, options.clone(), Arc::clone(&published)));
    let samples = sample(&system, &options, &published).await?;
    let slowest = publishing.await??;
    system.until("all applied", LIMIT, async || system.caught_up()).await?;
    let stored = system.sql("SELECT count(*) FROM ticks")?.parse::<u64>().context("a count")?;
    let published = published.load(Ordering::Relaxed);
    println!(
        "{published} ticks published, {stored} stored; the longest wait of a tick before it was published {slowest:.1?}"
    );
    let mut faults = samples.faults(&options);
    if stored != published {
        faults.push(format!("{published} ticks were published and {stored} are stored"));
    }
    let of_market = "SELECT max(n) FROM (SELECT count(*) AS n FROM market_samples GROUP BY symbol, venue) AS market";
    let of_market: u64 = system.sql(of_market)?.parse().context("a count")?;
    println!("{of_market} samples of a market, of {MAX_SAMPLES} at most");
    if of_market > MAX_SAMPLES {
        faults.push(format!("a market has {of_market} samples; allowed are {MAX_SAMPLES}"));
    }
    if slowest > Duration::from_secs(10) {
        faults.push(format!("a tick was published {slowest:.1?} after it was due"));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let memory =
        if options.judges_memory() { "the memory is flat" } else { "the run was too short to judge the memory" };
    println!("the lag was bounded, {memory}, and nothing has grown but the history");
    Ok(())
}

/// Creates rules of every kind, of which none fires: prices stay between 90 and 110.
async fn create_rules(system: &System, options: &Options) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let url = format!("{}/v1/alerts", system.env["HTTP_URL"]);
    for number in 0..options.rules {
        let condition = match number / options.symbols % 4 {
            0 => json!({ "price": { "above": (200 + number).to_string() } }),
            1 => json!({ "change": { "percent": "50", "since": "anchor" } }),
            2 => json!({ "change": { "percent": "50", "since": "30s" } }),
            _ => json!({ "change": { "percent": "50", "since": "5m" } }),
        };
        let notify = json!({ "email": format!("u{number}@example.com") });
        let body = json!({ "symbol": symbol(number % options.symbols), "condition": condition, "notify": notify });
        let request = client.post(&url).header("content-type", "application/json").body(body.to_string());
        request.send().await?.error_for_status()?;
    }
    system.until("following all rules", LIMIT, async || system.caught_up()).await
}

fn symbol(number: u64) -> Symbol {
    Symbol::parse(&format!("S{number:04}-USD")).expect("a symbol")
}

/// Publishes each tick when it is due, or as soon as those before it are acknowledged. Returns the longest time that a tick has waited.
async fn publish(broker: Broker, options: Options, published: Arc<AtomicU64>) -> anyhow::Result<Duration> {
    let (venue, begin) = (Venue::parse("soak")?, clock::now().micros());
    let symbols: Vec<Symbol> = (0..options.symbols).map(symbol).collect();
    let last = options.minutes * 60 * options.rate;
    let due = |number: u64| begin + (number * 1_000_000 / options.rate) as i64;
    let mut timer = interval(PUBLISH_EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut number, mut slowest) = (0, 0);
    while number < last {
        timer.tick().await;
        let now = clock::now().micros();
        slowest = slowest.max(now - due(number));
        let mut pages = PageCollector::default();
        while number < last && due(number) <= now {
            let (at, cents) = (Timestamp::from_micros(due(number))?, 9_000 + number * 7_919 % 2_000);
            let tick = Tick {
                venue: venue.clone(),
                symbol: symbols[(number / BURST % options.symbols) as usize].clone(),
                price: format!("{}.{:02}", cents / 100, cents % 100).parse()?,
                size: Some(format!("0.{:08}", 1 + number * 104_729 % 99_999_999).parse()?),
                at,
                received_at: Timestamp::from_micros(now)?,
                kind: TickKind::Trade,
                source: TickSource::Live,
            };
            pages.push(tick, (812_345_001 + number).to_string());
            number += 1;
        }
        broker.publish_ordered_by_subject(&pages.into_messages()).await?;
        published.store(number, Ordering::Relaxed);
    }
    Ok(Duration::from_micros(slowest.unsigned_abs()))
}

/// What was seen of lags in messages, and of memory and sizes in bytes.
#[derive(Default)]
struct Samples {
    lags: Series,
    memory: Series,
    sizes: Series,
}

/// Samples until the playing ends, and prints a line a minute.
async fn sample(system: &System, options: &Options, published: &AtomicU64) -> anyhow::Result<Samples> {
    let jetstream = jetstream::new(async_nats::connect(system.nats()).await?);
    let mut samples = Samples::default();
    let began = Instant::now();
    let mut timer = interval(SAMPLE_EVERY);
    timer.tick().await;
    let mut minute = 1;
    while began.elapsed() + SAMPLE_EVERY <= Duration::from_secs(options.minutes * 60) {
        timer.tick().await;
        samples.add(system, &jetstream).await?;
        if began.elapsed() >= Duration::from_secs(minute * 60) {
            println!("minute {minute:>3}: {:>10} ticks; {samples}", published.load(Ordering::Relaxed));
            minute += 1;
        }
    }
    Ok(samples)
}

impl Samples {
    async fn add(&mut self, system: &System, jetstream: &jetstream::Context) -> anyhow::Result<()> {
        let output = system.tickbell(&["status", "--json"]).output()?;
        let status: Value = serde_json::from_slice(&output.stdout).context("tickbell status prints no JSON")?;
        for consumer in status["consumers"].as_array().context("consumers")? {
            let (name, stream) = (consumer["name"].as_str(), consumer["stream"].as_str());
            let name = format!("{} of {}", name.context("a name")?, stream.context("a stream")?);
            push(&mut self.lags, name, consumer["lag"].as_f64().context("a lag")?);
        }
        for (program, bytes) in process_memory::of_tree(system.id())? {
            push(&mut self.memory, program, bytes as f64);
        }
        let streams: Vec<_> = jetstream.streams().try_collect().await?;
        for stream in streams {
            push(&mut self.sizes, format!("stream {}", stream.config.name), stream.state.bytes as f64);
        }
        for line in system.sql(TABLE_SIZES)?.lines() {
            let (table, bytes) = line.split_once('|').context("two columns")?;
            push(&mut self.sizes, format!("table {table}"), bytes.parse()?);
        }
        Ok(())
    }

    /// Returns what must not be: lags that grow, memory that grows, and sizes that grow and are not those of the history.
    fn faults(&self, options: &Options) -> Vec<String> {
        let mut faults = Vec::new();
        let rate = options.rate as f64;
        for (name, lags) in &self.lags {
            let (growth, most) = (growth(lags), behind_first_third(lags).iter().copied().fold(0.0, f64::max));
            println!("lag of {name}: grew by {growth:.0} messages, {most:.0} at most");
            if growth > rate || most > 10.0 * rate {
                faults.push(format!(
                    "the lag of {name} is not bounded: it grew by {growth:.0} messages and was {most:.0} at most"
                ));
            }
        }
        let of_memory = self.memory.iter().map(|(name, series)| {
            let bytes = if options.is_program(name) { options.bytes_of_samples() } else { 0.0 };
            (format!("memory of {name}"), series, 0.05, 16.0 * MIB + bytes)
        });
        let of_sizes = self.sizes.iter().filter(|(name, _)| !HISTORY.contains(&name.as_str()) && *name != SAMPLES);
        let of_sizes = of_sizes.map(|(name, series)| (name.clone(), series, 0.2, 8.0 * MIB));
        for (name, series, share, bytes) in of_memory.chain(of_sizes) {
            let (growth, allowed) = (growth(series), bytes.max(share * median(behind_first_third(series))));
            let is_memory = name.starts_with("memory");
            if growth > allowed || is_memory {
                println!(
                    "{name}: {:.1} MiB, grew by {:.1} MiB",
                    median(behind_first_third(series)) / MIB,
                    growth / MIB
                );
            }
            if growth > allowed && (!is_memory || options.judges_memory()) {
                faults.push(format!("{name} grew by {:.1} MiB; allowed are {:.1} MiB", growth / MIB, allowed / MIB));
            }
        }
        for name in HISTORY {
            let last = self.sizes.get(name).and_then(|series| series.last()).copied().unwrap_or_default();
            println!("{name}: {:.1} MiB", last / MIB);
        }
        faults
    }
}

impl std::fmt::Display for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = |series: &Vec<f64>| series.last().copied().unwrap_or_default();
        let lag = self.lags.iter().max_by(|(_, a), (_, b)| last(a).total_cmp(&last(b)));
        if let Some((name, lags)) = lag {
            write!(f, "the longest lag {:.0} ({name})", last(lags))?;
        }
        for (program, bytes) in &self.memory {
            write!(f, ", {program} {:.0} MiB", last(bytes) / MIB)?;
        }
        for name in ["stream TICKS", "table ticks", "table outbox"] {
            write!(f, ", {name} {:.1} MiB", self.sizes.get(name).map_or(0.0, last) / MIB)?;
        }
        Ok(())
    }
}

/// The sizes of tables with their indexes; partitions count to their table.
const TABLE_SIZES: &str = "
    SELECT coalesce(parent.relname, child.relname), sum(pg_total_relation_size(child.oid))::bigint
    FROM pg_class child LEFT JOIN pg_inherits ON inhrelid = child.oid LEFT JOIN pg_class parent ON parent.oid = inhparent
    WHERE child.relkind = 'r' AND child.relnamespace = 'public'::regnamespace GROUP BY 1";

fn push(series: &mut Series, name: String, value: f64) {
    series.entry(name).or_default().push(value);
}

/// The first third is the time in which memory is filled that is then used again.
fn behind_first_third(series: &[f64]) -> &[f64] {
    &series[series.len() / 3..]
}

/// Returns by how much a series has grown in its last two thirds: the slope of Theil and Sen, which a few outliers do not change.
fn growth(series: &[f64]) -> f64 {
    let series = behind_first_third(series);
    let pairs = (0..series.len()).flat_map(|one| (one + 1..series.len()).map(move |other| (one, other)));
    let slopes: Vec<f64> = pairs.map(|(one, other)| (series[other] - series[one]) / (other - one) as f64).collect();
    median(&slopes) * series.len().saturating_sub(1) as f64
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
