//! The throughput of the whole pipeline for a recorded day, compared with the bare NATS client in the same run.
//!
//! Starts `tickbell up` in a folder of its own, creates rules, publishes the file with `tickbell price-ingestor`, and waits
//! until every tick is evaluated and stored. The bare rate is that of the same messages with the same headers, published
//! by async-nats alone, pipelined, each with its acknowledgement. It is measured before and after, because machines are
//! noisy, and on two servers: one with the default configuration, which acknowledges a message before it flushes it to
//! disk, and the system's own, which flushes first. Prints ticks per second and the ratio to each; the ratio to the first
//! is the one to compare.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints rates")]

mod system;

use std::{
    fs,
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
use serde_json::json;

use crate::system::System;

/// The number of messages for the server that flushes each of them, which is slow.
const FLUSHED_MESSAGES: usize = 20_000;

/// Measures the throughput of the whole pipeline.
#[derive(Parser)]
struct Options {
    /// Recorded day: CSV with time, symbol, price and size; may be gzipped
    #[arg(long, default_value = "../shared/data/spy-trades-2013-10-07.csv.gz")]
    file: PathBuf,
    /// Number of rules
    #[arg(long, default_value_t = 10_000)]
    rules: usize,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let messages = messages(&options.file).with_context(|| format!("read {}", options.file.display()))?;
    let symbol = messages.first().context("an empty file")?.subject.rsplit('.').next().unwrap_or_default().to_owned();
    let system = System::start(&options.program)?;
    system.until("ready", Duration::from_secs(60), async || system.is_ready().await).await?;

    let plain = PlainServer::start()?;
    system.until("started", Duration::from_secs(30), async || async_nats::connect(&plain.url).await.is_ok()).await?;
    let before = bare_rate(&plain.url, &messages).await?;
    let flushing = bare_rate(system.nats(), &messages[..messages.len().min(FLUSHED_MESSAGES)]).await?;
    create_rules(&system, &symbol, options.rules).await?;
    println!("{} ticks of {symbol}, {} rules", messages.len(), options.rules);
    println!("bare async-nats, default server:            {before:>9.0} messages/s");
    println!("bare async-nats, server that flushes first: {flushing:>9.0} messages/s");

    let began = Instant::now();
    let mut ingestor = system
        .tickbell(&["price-ingestor", "--speed", "max", "--venue", "flood", "--source"])
        .arg(format!("file:{}", options.file.display()))
        .stderr(Stdio::null())
        .spawn()?;
    ensure!(ingestor.wait()?.success(), "the ingestor failed");
    let published = began.elapsed();
    system.until("evaluated and stored", Duration::from_secs(600), async || system.caught_up()).await?;
    let processed = began.elapsed();

    let after = bare_rate(&plain.url, &messages).await?;
    let (bare, ticks) = ((before + after) / 2.0, messages.len() as f64);
    let rate = ticks / processed.as_secs_f64();
    println!("bare async-nats, default server, again:     {after:>9.0} messages/s");
    println!("file to acknowledged and flushed:           {:>9.0} ticks/s", ticks / published.as_secs_f64());
    println!("file to evaluated and stored:               {rate:>9.0} ticks/s");
    println!("ratio to bare, default server:              {:>9.2}", rate / bare);
    println!("ratio to bare, server that flushes first:   {:>9.2}", rate / flushing);
    Ok(())
}

/// Returns the messages that the price-ingestor publishes for the file.
fn messages(path: &Path) -> anyhow::Result<Vec<OutboundMessage>> {
    let file = fs::File::open(path)?;
    let input: Box<dyn std::io::Read> =
        if path.extension().is_some_and(|e| e == "gz") { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let venue = Venue::parse("bare")?;
    let mut rows = csv::Reader::from_reader(input);
    let tick = |row: csv::StringRecord, line: usize| -> anyhow::Result<OutboundMessage> {
        let at: Timestamp = row[0].parse()?;
        let (price, size): (Price, Size) = (row[2].parse()?, row[3].parse()?);
        let tick = Tick {
            venue: venue.clone(),
            symbol: Symbol::parse(&row[1])?,
            price,
            size: Some(size),
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        };
        Ok(tick.to_message(&line.to_string()))
    };
    rows.records().enumerate().map(|(index, row)| tick(row?, index + 2)).collect()
}

/// Publishes the messages to a stream of its own, deletes the stream, and returns the messages per second.
async fn bare_rate(url: &str, messages: &[OutboundMessage]) -> anyhow::Result<f64> {
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

/// Creates rules of every kind, few of which fire.
async fn create_rules(system: &System, symbol: &str, count: usize) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let url = format!("{}/v1/alerts", system.env["HTTP_URL"]);
    let window = |n: usize| ["30s", "5m", "1h", "4h"][n / 5 % 4];
    let condition = |n: usize| match n % 5 {
        0 => json!({ "price": { "above": (200 + n).to_string() } }),
        1 => json!({ "price": { "below": format!("{}.5", n % 100 + 1) } }),
        2 => json!({ "change": { "percent": (n % 50 + 3).to_string(), "since": "anchor" } }),
        3 => json!({ "change": { "percent": (n % 50 + 3).to_string(), "since": "previous" } }),
        _ => json!({ "change": { "percent": (n % 50 + 3).to_string(), "since": window(n) } }),
    };
    futures::stream::iter(0..count)
        .map(|n| {
            let notify = json!({ "email": format!("u{n}@example.com") });
            let body = json!({ "symbol": symbol, "condition": condition(n), "notify": notify }).to_string();
            let request = client.post(&url).header("content-type", "application/json").body(body).send();
            async move { anyhow::Ok(request.await?.error_for_status()?) }
        })
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    system.until("following all rules", Duration::from_secs(60), async || system.caught_up()).await
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
