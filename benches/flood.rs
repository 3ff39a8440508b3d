//! The throughput of ticks through each part of the pipeline and through all of it, beside the bare NATS client and the bare
//! COPY of the same rows, in one run.
//!
//! Starts `tickbell up` in a folder of its own and plays a recorded day several times over, each time as another venue with
//! rules of its own. Each round measures, one after the other:
//!
//! - the bare client: one message per tick, as it was before ticks travelled as pages ([`tick_v1`]), published by async-nats
//!   alone, pipelined, each with its acknowledgement, to a server as it comes, which acknowledges before it flushes;
//! - file → acknowledged: `tickbell price-ingestor`, while the leases of the consumers are held back; the system's server flushes
//!   before it acknowledges;
//! - stream → judged: the alert-engine alone gets its lease;
//! - stream → kept: the history-writer alone gets its lease;
//! - the bare COPY of the rows that the history-writer has kept, into a table like theirs with the same key;
//! - file → judged and kept: the whole, with everything on.
//!
//! Prints each figure of each round, and the medians with their ratios.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints rates")]

mod system;
mod tick_v1;

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use async_nats::{HeaderMap, jetstream};
use clap::Parser;
use events::{
    OutboundMessage, Price, Size, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use flate2::read::MultiGzDecoder;
use futures::{StreamExt, TryStreamExt};
use platform::{Broker, Health, Shutdown, broker};
use serde_json::json;
use store::{
    Store,
    consumer::{
        lease::{self, Lease},
        position,
    },
};

use crate::system::System;

/// The consumers of ticks, each of which has the name of its lease.
const CONSUMERS: [&str; 3] = ["alert-engine", "history-writer", "trade-settler"];
/// The longest time of one measurement.
const LIMIT: Duration = Duration::from_secs(600);
const DAY_MICROS: i64 = 86_400_000_000;

/// Measures the throughput of ticks.
#[derive(Parser)]
struct Options {
    /// Recorded day: CSV with time, symbol, price and size; may be gzipped
    #[arg(long, default_value = "../shared/data/spy-trades-2013-10-07.csv.gz")]
    file: PathBuf,
    /// How often the day is played over, each time a day later
    #[arg(long, default_value_t = 4)]
    days: u32,
    /// Number of rules on each venue
    #[arg(long, default_value_t = 10_000)]
    rules: usize,
    /// Number of rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

/// What is measured, in the order of a round.
const FIGURES: [&str; 6] = [
    "bare client, one message per tick",
    "file to acknowledged",
    "stream to judged",
    "stream to kept",
    "bare COPY",
    "file to judged and kept",
];
const BARE_CLIENT: usize = 0;
const BARE_COPY: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    let tape = Tape::write(&options, folder.path()).with_context(|| format!("read {}", options.file.display()))?;
    let messages = tape.messages(&options.file)?;
    let system = System::start(&options.program, &[])?;
    system.until("ready", Duration::from_secs(60), async || system.is_ready().await).await?;
    let bench = Bench::new(&system, &tape).await?;
    let plain = PlainServer::start()?;
    system.until("started", Duration::from_secs(30), async || async_nats::connect(&plain.url).await.is_ok()).await?;

    println!("{} ticks of {}, {} rules", tape.ticks, tape.symbol, options.rules);
    let mut rounds: Vec<[f64; FIGURES.len()]> = Vec::new();
    for round in 0..options.rounds {
        let bare = bare_client(&plain.url, &messages).await?;
        let [published, judged, stored, copied] = bench.parts(&format!("parts{round}"), options.rules).await?;
        let whole = bench.whole(&format!("whole{round}"), options.rules).await?;
        let figures = [bare, published, judged, stored, copied, whole];
        let line = FIGURES.iter().zip(figures).map(|(name, rate)| format!("{name} {rate:.0}"));
        println!("round {}: {}", round + 1, line.collect::<Vec<_>>().join(", "));
        rounds.push(figures);
    }
    for (figure, name) in FIGURES.iter().enumerate() {
        let [rate, ..] = spread(rounds.iter().map(|figures| figures[figure]));
        let [to_client, least, most] = spread(rounds.iter().map(|figures| figures[figure] / figures[BARE_CLIENT]));
        let [to_copy, ..] = spread(rounds.iter().map(|figures| figures[figure] / figures[BARE_COPY]));
        println!(
            "{name:<35} {rate:>9.0} ticks/s  {to_client:>6.2} ({least:.2} to {most:.2}) of the bare client  {to_copy:>6.2} of the bare COPY"
        );
    }
    Ok(())
}

/// Returns the median, the least and the most.
fn spread(figures: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    [figures[figures.len() / 2], figures[0], figures[figures.len() - 1]]
}

/// The recorded day, several times over.
struct Tape {
    path: PathBuf,
    symbol: Symbol,
    ticks: usize,
}

impl Tape {
    fn write(options: &Options, folder: &Path) -> anyhow::Result<Self> {
        let mut text = String::new();
        open(&options.file)?.read_to_string(&mut text)?;
        let path = folder.join("tape.csv");
        let mut tape = BufWriter::new(File::create(&path)?);
        let (header, lines) = text.split_once('\n').context("an empty file")?;
        writeln!(tape, "{header}")?;
        let (mut ticks, mut symbol) = (0, None);
        for day in 0..i64::from(options.days) {
            for line in lines.lines() {
                let (time, rest) = line.split_once(',').context("a line without a comma")?;
                let at = Timestamp::from_micros(time.parse::<Timestamp>()?.micros() + day * DAY_MICROS)?;
                writeln!(tape, "{at},{rest}")?;
                symbol = symbol.or_else(|| rest.split(',').next());
                ticks += 1;
            }
        }
        tape.flush()?;
        Ok(Self { path, symbol: Symbol::parse(symbol.context("a file without lines")?)?, ticks })
    }

    /// Returns the ticks of the day itself, each as a message of its own.
    fn messages(&self, day: &Path) -> anyhow::Result<Vec<OutboundMessage>> {
        let venue = Venue::parse("bare")?;
        let message = |(index, line): (usize, std::io::Result<String>)| {
            let line = line?;
            let mut columns = line.split(',');
            let mut column = || columns.next().context("too few columns");
            let (at, symbol): (Timestamp, _) = (column()?.parse()?, Symbol::parse(column()?)?);
            let (price, size): (Price, Size) = (column()?.parse()?, column()?.parse()?);
            let (kind, source) = (TickKind::Trade, TickSource::File);
            let tick =
                Tick { venue: venue.clone(), symbol, price, size: Some(size), at, received_at: at, kind, source };
            anyhow::Ok(tick_v1::message(&tick, &index.to_string()))
        };
        BufReader::new(open(day)?).lines().skip(1).enumerate().map(message).collect()
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(if path.extension().is_some_and(|e| e == "gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// The running system, and what is needed to hold its services back.
struct Bench<'a> {
    system: &'a System,
    tape: &'a Tape,
    store: Store,
    broker: Broker,
}

impl<'a> Bench<'a> {
    async fn new(system: &'a System, tape: &'a Tape) -> anyhow::Result<Self> {
        let settings = store::Settings { url: system.env["DATABASE_URL"].clone(), ..store::Settings::default() };
        let store = Store::connect_now(&settings, "flood").await?;
        let settings = broker::Settings { url: system.nats().to_owned(), ..broker::Settings::default() };
        let check = Health::default().check("broker");
        let broker = Broker::connect_now(&settings, "flood", check, Shutdown::new()).await?;
        Ok(Self { system, tape, store, broker })
    }

    /// Measures each part alone: publishing, judging, keeping, and the bare COPY of the same rows.
    async fn parts(&self, venue: &str, rules: usize) -> anyhow::Result<[f64; 4]> {
        self.create_rules(venue, rules).await?;
        let mut leases = Vec::new();
        for consumer in CONSUMERS {
            leases.push(lease::seize(&self.store, consumer).await?);
        }
        let published = self.rate(self.ingest(venue)?);
        let [engine, writer, settler]: [Lease; 3] = leases.try_into().ok().context("three leases")?;
        let judged = self.rate(self.caught_up(CONSUMERS[0], engine).await?);
        let stored = self.rate(self.caught_up(CONSUMERS[1], writer).await?);
        self.caught_up(CONSUMERS[2], settler).await?;
        let copied = self.rate(self.bare_copy(venue)?);
        Ok([published, judged, stored, copied])
    }

    /// Measures from the file to the commits of all consumers.
    async fn whole(&self, venue: &str, rules: usize) -> anyhow::Result<f64> {
        self.create_rules(venue, rules).await?;
        let began = Instant::now();
        self.ingest(venue)?;
        for consumer in &CONSUMERS[..2] {
            self.until_caught_up(consumer).await?;
        }
        let rate = self.rate(began.elapsed());
        self.until_caught_up(CONSUMERS[2]).await?;
        Ok(rate)
    }

    fn rate(&self, elapsed: Duration) -> f64 {
        self.tape.ticks as f64 / elapsed.as_secs_f64()
    }

    /// Publishes the tape, and returns how long it took until all was acknowledged.
    fn ingest(&self, venue: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut ingestor = self.system.tickbell(&["price-ingestor", "--speed", "max", "--venue", venue, "--source"]);
        let source = format!("file:{}", self.tape.path.display());
        ensure!(ingestor.arg(source).stderr(Stdio::null()).status()?.success(), "the ingestor failed");
        Ok(began.elapsed())
    }

    /// Gives a lease back, and returns how long its service took to commit all of the stream, from its first commit on.
    async fn caught_up(&self, consumer: &str, held: Lease) -> anyhow::Result<Duration> {
        let before = self.position(consumer).await?;
        drop(held);
        let deadline = Instant::now() + LIMIT;
        while self.position(consumer).await? == before {
            ensure!(Instant::now() < deadline, "{consumer} does not begin");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let began = Instant::now();
        self.until_caught_up(consumer).await?;
        Ok(began.elapsed())
    }

    async fn until_caught_up(&self, consumer: &str) -> anyhow::Result<()> {
        let end = broker::topology::stream_end(&self.broker, "TICKS").await?;
        let deadline = Instant::now() + LIMIT;
        while self.position(consumer).await? < end {
            ensure!(Instant::now() < deadline, "{consumer} has not caught up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn position(&self, consumer: &str) -> anyhow::Result<u64> {
        Ok(position::progress(&self.store, consumer).await?.position)
    }

    /// Copies the rows that are kept of a venue into a table with the same columns, constraints and key.
    fn bare_copy(&self, venue: &str) -> anyhow::Result<Duration> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("rows");
        let file = file.display();
        let rows = format!(
            "SELECT t.* FROM ticks t JOIN instruments i ON i.id = t.instrument_id AND i.venue = '{venue}' ORDER BY at"
        );
        self.psql(&format!("\\copy ({rows}) TO '{file}' (FORMAT binary)"))?;
        self.psql("DROP TABLE IF EXISTS bare_ticks; CREATE TABLE bare_ticks (LIKE ticks INCLUDING ALL); CHECKPOINT")?;
        let began = Instant::now();
        self.psql(&format!("\\copy bare_ticks FROM '{file}' (FORMAT binary)"))?;
        Ok(began.elapsed())
    }

    fn psql(&self, command: &str) -> anyhow::Result<()> {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", command]);
        let done = psql.arg(&self.system.env["DATABASE_URL"]).stdout(Stdio::null()).status();
        ensure!(done.context("psql is needed: install postgresql-client")?.success(), "psql failed: {command}");
        Ok(())
    }

    /// Creates rules of every kind on a venue, few of which fire.
    async fn create_rules(&self, venue: &str, count: usize) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        let url = format!("{}/v1/alerts", self.system.env["HTTP_URL"]);
        let window = |n: usize| ["30s", "5m", "1h", "4h"][n / 5 % 4];
        let condition = |n: usize| match n % 5 {
            0 => json!({ "price": { "above": (200 + n).to_string() } }),
            1 => json!({ "price": { "below": format!("{}.5", n % 100 + 1) } }),
            2 => json!({ "change": { "percent": (n % 50 + 3).to_string(), "since": "anchor" } }),
            3 => json!({ "change": { "percent": (n % 50 + 3).to_string(), "since": "previous" } }),
            _ => json!({ "change": { "percent": (n % 50 + 3).to_string(), "since": window(n) } }),
        };
        let symbol = self.tape.symbol.as_str();
        futures::stream::iter(0..count)
            .map(|n| {
                let notify = json!({ "email": format!("u{n}@example.com") });
                let body = json!({ "symbol": symbol, "venue": venue, "condition": condition(n), "notify": notify });
                let request = client.post(&url).header("content-type", "application/json").body(body.to_string());
                async move { anyhow::Ok(request.send().await?.error_for_status()?) }
            })
            .buffer_unordered(8)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        self.system.until("following all rules", LIMIT, async || self.system.caught_up()).await
    }
}

/// Publishes the messages to a stream of its own, deletes the stream, and returns the messages per second.
async fn bare_client(url: &str, messages: &[OutboundMessage]) -> anyhow::Result<f64> {
    let mut jetstream = jetstream::new(async_nats::connect(url).await?);
    jetstream.set_timeout(Duration::from_secs(60));
    let config = jetstream::stream::Config {
        name: "BARE".into(),
        subjects: vec!["bare.>".into()],
        compression: Some(jetstream::stream::Compression::S2),
        ..Default::default()
    };
    jetstream.create_stream(config).await?;
    let began = Instant::now();
    futures::stream::iter(messages)
        .map(|message| {
            let mut headers = HeaderMap::new();
            message.headers.iter().for_each(|(name, value)| headers.insert(name.as_str(), value.as_str()));
            let (subject, body) = (format!("bare.{}", message.subject), message.body.clone().into());
            let jetstream = jetstream.clone();
            async move { anyhow::Ok(jetstream.publish_with_headers(subject, headers, body).await?.await?) }
        })
        .buffered(2_000)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let rate = messages.len() as f64 / began.elapsed().as_secs_f64();
    jetstream.delete_stream("BARE").await?;
    Ok(rate)
}

/// A nats-server with the default configuration.
struct PlainServer {
    url: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl PlainServer {
    fn start() -> anyhow::Result<Self> {
        let tools = Path::new(".tools/bin/nats-server");
        let program = if tools.is_file() { tools } else { Path::new("nats-server") };
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.args(["-js", "-a", "127.0.0.1", "-p", &port, "-sd"]).arg(folder.path());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start nats-server")?;
        Ok(Self { url: format!("nats://127.0.0.1:{port}"), process, _folder: folder })
    }
}

impl Drop for PlainServer {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            println!("the plain nats-server was not stopped: {error}");
        }
    }
}
