//! Live prices to many clients: how long a price takes from its publication to the client, beside a bare broadcaster.
//!
//! Starts `tickbell up` in a folder of its own, and this program once more as a bare axum broadcaster: it passes on what the broker
//! delivers to server-sent events by `tokio::sync::broadcast`, without cursors, bounds in bytes, or a replay. Both are measured in
//! turns, with the same clients and the same ticks. Then one more client connects that never reads, and the others are measured
//! again.
//!
//! The clients read HTTP/1.1 themselves. Every one counts its events; of each hundredth the latencies are taken.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints latencies")]

mod system;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use axum::{
    Router,
    extract::State,
    response::{Sse, sse},
    routing::get,
};
use clap::Parser;
use events::{
    Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use futures::{StreamExt, future::try_join_all, stream};
use platform::{Broker, Health, Shutdown, broker, clock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{broadcast, watch},
    time::{Instant, interval, timeout},
};

use crate::system::System;

/// The time before latencies count.
const RAMP_UP: Duration = Duration::from_secs(2);
/// Of so many clients one takes latencies.
const SAMPLED: usize = 100;
/// The time that all clients may take to connect.
const CONNECT: Duration = Duration::from_secs(120);

/// Measures the fan-out of live prices.
#[derive(Parser)]
struct Options {
    /// Clients that get every price
    #[arg(long, default_value_t = 500)]
    clients: usize,
    /// Clients that are connected beside them, each to a symbol without prices
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Prices per second
    #[arg(long, default_value_t = 50)]
    rate: u64,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measurements of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
    /// Only broadcast the ticks of this broker, at the address of --address
    #[arg(long, hide = true)]
    broadcast: Option<String>,
    #[arg(long, hide = true, default_value = "127.0.0.1:0")]
    address: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(nats) = &options.broadcast {
        return broadcast(nats, options.address).await;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let most = (options.clients + options.idle + 10).to_string();
    let settings =
        [("TICKBELL_GATEWAY__STREAM__MAX_CLIENTS", &*most), ("TICKBELL_GATEWAY__STREAM__MAX_CLIENTS_EACH", &*most)];
    let system = System::start(&options.program, &settings)?;
    system.until("ready", Duration::from_secs(60), async || system.is_ready().await).await?;
    let bare = Bare::start(system.nats()).await?;
    let settings = broker::Settings { url: system.nats().to_owned(), ..broker::Settings::default() };
    let broker = Broker::connect_now(&settings, "fanout", Health::default().check("broker"), Shutdown::new()).await?;
    let gateway: SocketAddr = system.env["HTTP_URL"].trim_start_matches("http://").parse()?;
    let (idle, _stop_idle) = connect(gateway, "/v1/stream?symbols=IDLE-USD", options.idle).await?;

    println!("{} clients × {} prices/s, {} idle clients", options.clients, options.rate, options.idle);
    println!("ms from published to received: p50, p99, and the longest; the part that was received; memory");
    let every = "/v1/stream?symbols=BTC-USD&conflate=none";
    let mut ratios = Vec::new();
    for round in 0..options.rounds {
        let ours = measure(&options, &broker, gateway, every).await?;
        println!("round {round}  gateway      {ours}  {} MiB", resident_mib(&system)?);
        let bare = measure(&options, &broker, bare.address, "/").await?;
        println!("round {round}  bare         {bare}");
        ratios.push(bare.p50 as f64 / ours.p50.max(1) as f64);
        let frozen = Frozen::connect(gateway, every).await?;
        let beside = measure(&options, &broker, gateway, every).await?;
        println!("round {round}  one frozen   {beside}  {} MiB", resident_mib(&system)?);
        drop(frozen);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "p50 of bare to gateway: {:.2} ({:.2} to {:.2})",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1]
    );
    drop(idle);
    Ok(())
}

/// The bare broadcaster, a program of its own.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    async fn start(nats: &str) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.args(["--broadcast", nats, "--address", &address.to_string()]).spawn()?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).await.is_err() {
            ensure!(Instant::now() < deadline, "the bare broadcaster does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { child, address })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            println!("the bare broadcaster was not stopped: {error}");
        }
    }
}

/// Passes on what the broker delivers.
async fn broadcast(nats: &str, address: SocketAddr) -> anyhow::Result<()> {
    let client = async_nats::connect(nats).await?;
    let mut ticks = client.subscribe("ticks.>").await?;
    let (sender, _) = broadcast::channel::<Arc<str>>(1_024);
    let publisher = sender.clone();
    tokio::spawn(async move {
        while let Some(message) = ticks.next().await {
            // Nobody listens between two measurements.
            _ = publisher.send(String::from_utf8_lossy(&message.payload).into());
        }
    });
    let events = |State(sender): State<broadcast::Sender<Arc<str>>>| async move {
        let events = stream::unfold(sender.subscribe(), |mut receiver| async {
            let data = receiver.recv().await.ok()?;
            Some((Ok::<_, Infallible>(sse::Event::default().event("prices").data(data)), receiver))
        });
        Sse::new(events)
    };
    let router = Router::new().route("/", get(events)).with_state(sender);
    axum::serve(TcpListener::bind(address).await?, router).await?;
    Ok(())
}

/// A client that never reads.
struct Frozen {
    _stream: TcpStream,
}

impl Frozen {
    async fn connect(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        Ok(Self { _stream: open(address, path).await? })
    }
}

/// The latencies of what clients have received.
struct Measured {
    p50: i64,
    p99: i64,
    longest: i64,
    part: f64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, longest] = [self.p50, self.p99, self.longest].map(|micros| micros as f64 / 1_000.0);
        write!(f, "{p50:>8.1} {p99:>8.1} {longest:>8.1}  {:>5.1} %", self.part * 100.0)
    }
}

async fn measure(options: &Options, broker: &Broker, address: SocketAddr, path: &str) -> anyhow::Result<Measured> {
    let (clients, stop) = connect(address, path, options.clients).await?;
    let counts_from = clock::now().micros() + RAMP_UP.as_micros() as i64;
    let published = publish(broker, options.rate, RAMP_UP + Duration::from_secs(options.seconds)).await?;
    // What is under way still comes.
    let received = async || clients.count.load(Ordering::Relaxed) >= published * options.clients as u64;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !received().await && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(true)?;
    let count = clients.count.load(Ordering::Relaxed);
    let mut latencies = Vec::new();
    for client in clients.tasks {
        latencies.extend(client.await?.into_iter().filter(|(at, _)| *at >= counts_from).map(|(_, latency)| latency));
    }
    ensure!(!latencies.is_empty(), "nothing was received");
    latencies.sort_unstable();
    let quantile = |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
    let part = count as f64 / (published * options.clients as u64) as f64;
    Ok(Measured { p50: quantile(50), p99: quantile(99), longest: quantile(100), part })
}

/// Clients that read.
struct Clients {
    count: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<Vec<(i64, i64)>>>,
}

async fn connect(address: SocketAddr, path: &str, number: usize) -> anyhow::Result<(Clients, watch::Sender<bool>)> {
    let (stop, stopped) = watch::channel(false);
    let count = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::with_capacity(number);
    let connected = async {
        let numbers: Vec<usize> = (0..number).collect();
        for part in numbers.chunks(64) {
            let streams = try_join_all(part.iter().map(|_| open(address, path))).await?;
            for (index, stream) in part.iter().zip(streams) {
                let (count, stopped) = (Arc::clone(&count), stopped.clone());
                tasks.push(tokio::spawn(read(stream, count, stopped, index.is_multiple_of(SAMPLED))));
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    timeout(CONNECT, connected).await.context("the clients did not connect in time")??;
    Ok((Clients { count, tasks }, stop))
}

/// Opens a stream and reads the head of its answer.
async fn open(address: SocketAddr, path: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    ensure!(head.ends_with(b" 200"), "the answer begins with {:?}", String::from_utf8_lossy(&head));
    Ok(stream)
}

/// Counts the events of a stream, and returns the publication and the latency of each, in microseconds, where they are taken.
async fn read(
    mut stream: TcpStream,
    count: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
    takes_latencies: bool,
) -> Vec<(i64, i64)> {
    const MARK: &[u8] = b"\"at\":\"";
    let (mut latencies, mut bytes, mut buffer) = (Vec::new(), Vec::new(), vec![0; 16 * 1024]);
    loop {
        let read = tokio::select! {
            read = stream.read(&mut buffer) => read.unwrap_or(0),
            _ = stopped.changed() => 0,
        };
        if read == 0 {
            return latencies;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let now = clock::now().micros();
        let mut rest = 0;
        while let Some(found) = bytes[rest..].windows(MARK.len()).position(|window| window == MARK) {
            let begin = rest + found + MARK.len();
            let Some(time) = bytes.get(begin..begin + 27) else { break };
            rest = begin + 27;
            count.fetch_add(1, Ordering::Relaxed);
            if takes_latencies {
                let at = std::str::from_utf8(time).ok().and_then(|text| text.parse::<Timestamp>().ok());
                latencies.extend(at.map(|at| (at.micros(), now - at.micros())));
            }
        }
        // A mark may be cut by the end of what was read.
        let keep = bytes.len().saturating_sub(rest).min(MARK.len() + 27);
        bytes.drain(..bytes.len() - keep);
    }
}

/// Publishes ticks, each with the time of its publication, and returns how many.
async fn publish(broker: &Broker, rate: u64, time: Duration) -> anyhow::Result<u64> {
    let mut due = interval(Duration::from_secs(1) / u32::try_from(rate)?);
    let end = Instant::now() + time;
    let mut published = 0;
    while Instant::now() < end {
        due.tick().await;
        let at = clock::now();
        let tick = Tick {
            venue: Venue::parse("bench")?,
            symbol: Symbol::parse("BTC-USD")?,
            price: "100".parse()?,
            size: None,
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::Live,
        };
        broker.publish(&[tick.to_message(&tick.derived_trade_id())]).await?;
        published += 1;
    }
    Ok(published)
}

/// Returns the resident memory of the program.
fn resident_mib(system: &System) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(system.id().to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024)
}
