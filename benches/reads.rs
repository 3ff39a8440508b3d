//! Reads over HTTP per second, each beside `pgbench` of the same SQL with as many connections, in turns.
//!
//! Starts `tickbell up` in a folder of its own, publishes minutes of ticks, and reads with clients that have one connection each
//! and ask again as soon as they are answered: 300 candles that are read from the database because the last of them is open, 300
//! that have closed and are in the gateway's memory, a page of 100 ticks, and the latest price. The latest price is also asked
//! of a bare axum handler that answers the same bytes.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints rates")]

mod system;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use axum::{Router, http::header, routing::get};
use clap::Parser;
use events::{
    Interval, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use futures::future::try_join_all;
use market_data::PageCollector;
use platform::{Broker, Health, Shutdown, broker, clock};
use store::market::{candle_list, queries, tick_list};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::system::System;

const CANDLES: i64 = 300;
const TICKS: i64 = 100;
const TICKS_PER_MINUTE: i64 = 20;
/// The minutes of ticks, the newest of which is open.
const MINUTES: i64 = 2 * CANDLES;
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// Compares the reads of a gateway with those of its database.
#[derive(Parser)]
struct Options {
    /// Connections of the clients, and of pgbench
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Measurements of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only the kinds whose names contain this text
    #[arg(long, default_value = "")]
    only: String,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

/// A read, and what it is compared with.
struct Kind {
    name: &'static str,
    path: String,
    reference: Reference,
}

enum Reference {
    /// `pgbench` runs this SQL.
    Sql(String),
    /// A bare handler answers the same bytes.
    BareHandler,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let system = System::start(&options.program, &[])?;
    system.until("ready", STEP_TIMEOUT, async || system.is_ready().await).await?;
    let first = clock::now().floor(Interval::Day);
    let first = Timestamp::from_micros(first.micros() - 2 * 86_400_000_000)?;
    publish(system.nats(), first).await?;
    system.until("all stored", STEP_TIMEOUT, async || system.caught_up()).await?;

    let gateway = address(&system.env["HTTP_URL"])?;
    for kind in kinds(first).into_iter().filter(|kind| kind.name.contains(&options.only)) {
        measure(&options, &system, gateway, &kind).await?;
    }
    Ok(())
}

fn kinds(first: Timestamp) -> Vec<Kind> {
    let minute = |number: i64| Timestamp::from_micros(first.micros() + number * 60_000_000).unwrap_or(first);
    let [open, closed] = [MINUTES - CANDLES, 0].map(minute);
    let candles = |from: Timestamp, to: Timestamp| {
        fill(candle_list::CANDLES, &["1", "60", &time(from), &time(to), &(CANDLES + 1).to_string()])
    };
    let symbol = "'BTC-USD'::text";
    let latest = fill(queries::LATEST, &["ARRAY['BTC-USD']", "NULL::text", "1"]);
    let history = [
        symbol,
        "NULL::text",
        &time(Timestamp::EPOCH),
        &time(Timestamp::LAST),
        "0::bigint",
        &(TICKS + 1).to_string(),
        "0::smallint",
    ];
    let path = |rest: String| format!("/v1/prices/BTC-USD{rest}");
    let price = |reference| Kind { name: "latest price", path: path(String::new()), reference };
    vec![
        Kind {
            name: "300 candles, read",
            path: path(format!("/candles?interval=1m&limit={CANDLES}&from={open}")),
            reference: Reference::Sql(candles(open, Timestamp::LAST)),
        },
        Kind {
            name: "300 candles, in memory",
            path: path(format!("/candles?interval=1m&limit={CANDLES}&from={closed}&to={open}")),
            reference: Reference::Sql(candles(closed, open)),
        },
        Kind {
            name: "page of 100 ticks",
            path: path(format!("/history?limit={TICKS}")),
            reference: Reference::Sql(fill(tick_list::DESCENDING, &history)),
        },
        price(Reference::Sql(latest)),
        price(Reference::BareHandler),
    ]
}

/// Puts values into the places of a statement.
fn fill(sql: &str, values: &[&str]) -> String {
    let places = (1..).zip(values);
    places.fold(sql.to_owned(), |sql, (number, value)| sql.replace(&format!("${number}"), value)) + ";\n"
}

/// Writes a time without colons, behind which pgbench looks for the names of variables.
fn time(time: Timestamp) -> String {
    format!("'{}'::timestamptz", time.to_string().replace(['-', ':'], ""))
}

async fn publish(nats: &str, first: Timestamp) -> anyhow::Result<()> {
    let settings = broker::Settings { url: nats.to_owned(), ..broker::Settings::default() };
    let check = Health::default().check("broker");
    let broker = Broker::connect_now(&settings, "reads", check, Shutdown::new()).await?;
    let (venue, symbol) = (Venue::parse("bench")?, Symbol::parse("BTC-USD")?);
    let mut pages = PageCollector::default();
    for number in 0..MINUTES * TICKS_PER_MINUTE {
        let at = Timestamp::from_micros(first.micros() + number * 60_000_000 / TICKS_PER_MINUTE)?;
        let cents = 680_491 + number * 7_919 % 10_007;
        let price = format!("{}.{:02}", cents / 100, cents % 100).parse()?;
        let size = Some(format!("0.{:08}", 1 + number * 104_729 % 99_999_999).parse()?);
        let (venue, symbol) = (venue.clone(), symbol.clone());
        let tick =
            Tick { venue, symbol, price, size, at, received_at: at, kind: TickKind::Trade, source: TickSource::File };
        pages.push(tick, (812_345_001 + number).to_string());
    }
    broker.publish(&pages.into_messages()).await?;
    Ok(())
}

async fn measure(options: &Options, system: &System, gateway: SocketAddr, kind: &Kind) -> anyhow::Result<()> {
    let time = Duration::from_secs(options.seconds);
    let answer = ask(gateway, &kind.path).await?;
    let script = system.folder().join("script.sql");
    let bare = match &kind.reference {
        Reference::Sql(sql) => {
            fs::write(&script, sql)?;
            None
        }
        Reference::BareHandler => Some(serve(answer.clone()).await?),
    };
    let mut rates = Vec::new();
    for _ in 0..options.rounds {
        let reference = match bare {
            Some(address) => load(address, &kind.path, options.connections, time).await?,
            None => pgbench(&script, &system.env["DATABASE_URL"], options).await?,
        };
        let rate = load(gateway, &kind.path, options.connections, time).await?;
        rates.push((rate, reference, rate / reference));
    }
    let median = |of: fn(&(f64, f64, f64)) -> f64| {
        let mut values: Vec<f64> = rates.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let (lower, upper) = ((values.len() - 1) / 2, values.len() / 2);
        f64::midpoint(values[lower], values[upper])
    };
    let ratios = rates.iter().map(|rates| rates.2);
    let (least, most) = (ratios.clone().fold(f64::MAX, f64::min), ratios.fold(0.0, f64::max));
    println!(
        "{:<23} {:>6} bytes {:>7.0}/s, {} {:>7.0}/s, ratio {:.2} ({least:.2} to {most:.2})",
        kind.name,
        answer.len(),
        median(|rates| rates.0),
        if bare.is_some() { "bare axum" } else { "pgbench  " },
        median(|rates| rates.1),
        median(|rates| rates.2),
    );
    Ok(())
}

/// Returns the transactions per second of pgbench.
async fn pgbench(script: &Path, url: &str, options: &Options) -> anyhow::Result<f64> {
    let (connections, seconds) = (options.connections.to_string(), options.seconds.to_string());
    let mut command = Command::new("pgbench");
    command.args(["--no-vacuum", "--protocol", "prepared", "--client", &connections, "--time", &seconds, "--file"]);
    let output =
        command.arg(script).arg(url).output().await.context("pgbench is needed: install postgresql-contrib")?;
    let text = String::from_utf8(output.stdout)?;
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(rate.split(' ').next().unwrap_or_default().parse()?)
}

/// Serves one JSON body at every address.
async fn serve(body: Vec<u8>) -> anyhow::Result<SocketAddr> {
    let body = axum::body::Bytes::from(body);
    let handler = move || {
        let body = body.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], body) }
    };
    let router = Router::new().route("/v1/prices/{symbol}", get(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

fn address(url: &str) -> anyhow::Result<SocketAddr> {
    Ok(url.strip_prefix("http://").context("an address")?.parse()?)
}

/// Returns the answers per second to clients that ask again as soon as they are answered.
async fn load(address: SocketAddr, path: &str, connections: usize, time: Duration) -> anyhow::Result<f64> {
    let request: Arc<[u8]> = request(path).into();
    let began = Instant::now();
    let clients = (0..connections).map(|_| {
        let request = Arc::clone(&request);
        tokio::spawn(async move {
            let mut client = Client::connect(address).await?;
            let mut answers = 0_u32;
            while began.elapsed() < time {
                client.ask(&request).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        })
    });
    let mut answers = 0;
    for client in try_join_all(clients).await? {
        answers += client?;
    }
    Ok(f64::from(answers) / began.elapsed().as_secs_f64())
}

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
}

/// Returns the body of one answer.
async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut client = Client::connect(address).await?;
    let body = client.ask(&request(path)).await?;
    Ok(client.buffer[body..].to_vec())
}

/// This is one connection. It reads HTTP/1.1 itself, because a library for it would need more of the processors than the gateway.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(128 * 1024) })
    }

    /// Asks once, and returns where the body begins in the buffer.
    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<usize> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server has closed the connection");
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break std::str::from_utf8(&self.buffer[..end])?;
            }
        };
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        let (body, length) = (head.len() + 4, length.context("a length")?.parse::<usize>()?);
        while self.buffer.len() < body + length {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server has closed the connection");
        }
        Ok(body)
    }
}
