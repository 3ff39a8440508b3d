//! The answers per second of an overloaded gateway, compared with the most that it can give.
//!
//! Starts `tickbell up` in a folder of its own, on one core with its database and its broker; the clients run on another. It
//! first finds the number of clients at which the gateway answers the most reads per second. Then it measures in turns: that
//! number of clients, and as many as five times the requests that the gateway handles at a time, each of which tries again
//! at once when it is refused. Orders are placed in both at the same steady rate.
//!
//! The clients write and read HTTP/1.1 themselves, because a library for it would need more of the core than the gateway.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints rates")]

mod system;

use std::{
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use events::{
    Symbol, Tick, Venue,
    tick::{TickKind, TickSource},
};
use futures::future::try_join_all;
use platform::{Broker, Health, Shutdown, broker, clock};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::system::System;

/// The cores of the clients and of everything else.
const CORES: (usize, usize) = (0, 1);
/// The numbers of clients that are tried to find the most answers per second.
const TRIED: [usize; 7] = [4, 8, 16, 32, 64, 128, 256];
/// The field of the gateway's lines in the log.
const LOG_TARGET: &str = "\"target\":\"gateway";
/// The time at the start of each measurement that does not count.
const RAMP_UP: Duration = Duration::from_secs(1);

/// Measures the gateway under overload.
#[derive(Parser)]
struct Options {
    /// Path that the clients read
    #[arg(long, default_value = "/v1/prices/BTC-USD")]
    path: String,
    /// Clients that overload the gateway; five times as many as it handles at a time by default
    #[arg(long)]
    clients: Option<usize>,
    /// Setting gateway.max_in_flight
    #[arg(long, default_value_t = 512)]
    max_in_flight: usize,
    /// Measurements of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Orders per second during overload
    #[arg(long, default_value_t = 20)]
    orders: u32,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-a", "-p", "-c", &CORES.0.to_string(), &own]).output();
    ensure!(pinned.context("taskset is needed: install util-linux")?.status.success(), "two cores are needed");
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(options))
}

async fn measure(options: Options) -> anyhow::Result<()> {
    let in_flight = options.max_in_flight.to_string();
    let settings = [("TICKBELL_GATEWAY__MAX_IN_FLIGHT", in_flight.as_str())];
    let system = System::start_on(&options.program, Some(CORES.1), &settings)?;
    system.until("ready", Duration::from_secs(60), async || system.is_ready().await).await?;
    publish_price(system.nats()).await?;
    let reader = Reader::new(&system, &options.path)?;
    system.until("price stored", Duration::from_secs(60), async || reader.answers().await).await?;
    let tokens = traders(&system).await?;

    let time = Duration::from_secs(options.seconds);
    let mut best = (0, 0.0);
    for clients in TRIED {
        let load = reader.load(clients, time).await?;
        println!("{clients:>5} clients: {:>6.0} answers/s, {:.0} refusals/s", load.answered(), load.refused());
        if load.answered() > best.1 {
            best = (clients, load.answered());
        }
    }
    let overload = options.clients.unwrap_or(5 * options.max_in_flight);
    println!("the most with {} clients; overload with {overload}, each of which tries again at once", best.0);

    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        // With the same orders, which take time of their own.
        let place = orders(&system, &tokens, options.orders, time + RAMP_UP);
        let (peak, _) = tokio::try_join!(reader.load(best.0, time), place)?;
        let lines = system.log_lines(LOG_TARGET)?;
        let place = orders(&system, &tokens, options.orders, time + RAMP_UP);
        let (load, orders) = tokio::try_join!(reader.load(overload, time), place)?;
        let lines = (system.log_lines(LOG_TARGET)? - lines) as f64 / (time + RAMP_UP).as_secs_f64();
        let round = Round { peak, load, orders, lines };
        println!("{round}");
        rounds.push(round);
    }
    let median = |of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let (lower, upper) = ((values.len() - 1) / 2, values.len() / 2);
        f64::midpoint(values[lower], values[upper])
    };
    println!("median of {} rounds:", rounds.len());
    println!("answers at the peak:           {:>9.0} /s", median(&|round| round.peak.answered()));
    println!("answers under overload:        {:>9.0} /s", median(&|round| round.load.answered()));
    println!("ratio:                         {:>9.2}", median(&|round| round.ratio()));
    println!(
        "requests under overload:       {:>9.0} /s",
        median(&|round| round.load.answered() + round.load.refused())
    );
    println!("refusal, 50th percentile:      {:>9.1} ms", median(&|round| round.load.refusal_ms(50)));
    println!("refusal, 99th percentile:      {:>9.1} ms", median(&|round| round.load.refusal_ms(99)));
    println!("answer, 50th percentile:       {:>9.1} ms", median(&|round| round.load.answer_ms(50)));
    let (accepted, sent) =
        rounds.iter().fold((0, 0), |(a, s), round| (a + round.orders.accepted, s + round.orders.sent));
    println!("orders accepted:               {accepted:>9} of {sent}");
    println!("order, 50th percentile:        {:>9.1} ms", median(&|round| percentile(&round.orders.times, 50)));
    println!("order, 99th percentile:        {:>9.1} ms", median(&|round| percentile(&round.orders.times, 99)));
    println!("lines of the gateway's log:    {:>9.1} /s", median(&|round| round.lines));
    Ok(())
}

async fn publish_price(nats: &str) -> anyhow::Result<()> {
    let settings = broker::Settings { url: nats.to_owned(), ..broker::Settings::default() };
    let check = Health::default().check("broker");
    let broker = Broker::connect_now(&settings, "overload", check, Shutdown::new()).await?;
    let at = clock::now();
    let tick = Tick {
        venue: Venue::parse("bench")?,
        symbol: Symbol::parse("BTC-USD")?,
        price: "6804.91".parse()?,
        size: None,
        at,
        received_at: at,
        kind: TickKind::Trade,
        source: TickSource::File,
    };
    broker.publish(&[tick.to_message("1")]).await?;
    Ok(())
}

/// Returns the tokens of users with money.
async fn traders(system: &System) -> anyhow::Result<Vec<String>> {
    let mut client = Client::new(address(system)?);
    let mut tokens = Vec::new();
    for number in 0..4 {
        let email = format!("u{number}@example.com");
        let who = json!({ "email": email, "password": "a password of a bench" }).to_string();
        let response = client.ask(&post("/v1/users", "", &who)).await?;
        ensure!(response.status < 300, "{}", response.body);
        let response = client.ask(&post("/v1/sessions", "", &who)).await?;
        let session: Value = serde_json::from_str(&response.body)?;
        tokens.push(session["token"].as_str().context("a token")?.to_owned());
        let deposit = system.tickbell(&["accounts", "deposit", &email, "1000000", "USD"]).output()?;
        ensure!(deposit.status.success(), "{}", String::from_utf8_lossy(&deposit.stderr));
    }
    Ok(tokens)
}

fn address(system: &System) -> anyhow::Result<String> {
    Ok(system.env["HTTP_URL"].strip_prefix("http://").context("an address")?.to_owned())
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n");
    format!("{head}content-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

/// What became of the orders of one measurement.
struct Orders {
    sent: usize,
    accepted: usize,
    /// The time of each order that was accepted, in order.
    times: Vec<Duration>,
}

/// Places orders at a steady rate, every second one with a wait for its decision.
async fn orders(system: &System, tokens: &[String], rate: u32, time: Duration) -> anyhow::Result<Orders> {
    let address = address(system)?;
    let sent = rate * u32::try_from(time.as_secs())?;
    let body = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "0.001" }).to_string();
    let began = tokio::time::Instant::now();
    let place = async |number: u32| {
        let due = began + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due).await;
        let wait = if number.is_multiple_of(2) { "prefer: wait=3\r\n" } else { "" };
        let token = &tokens[number as usize % tokens.len()];
        let request = post("/v1/orders", &format!("authorization: Bearer {token}\r\n{wait}"), &body);
        let response = Client::new(address.clone()).ask(&request).await?;
        anyhow::Ok((response.status, due.elapsed()))
    };
    let answers = try_join_all((0..sent).map(place)).await?;
    let accepted = answers.iter().filter(|(status, _)| *status < 300);
    let mut times: Vec<Duration> = accepted.map(|(_, time)| *time).collect();
    times.sort();
    Ok(Orders { sent: answers.len(), accepted: times.len(), times })
}

/// What became of the reads of one measurement.
struct Load {
    time: Duration,
    /// The times of the answers and of the refusals, each in order.
    answers: Vec<Duration>,
    refusals: Vec<Duration>,
}

impl Load {
    fn answered(&self) -> f64 {
        self.answers.len() as f64 / self.time.as_secs_f64()
    }

    fn refused(&self) -> f64 {
        self.refusals.len() as f64 / self.time.as_secs_f64()
    }

    fn answer_ms(&self, percent: usize) -> f64 {
        percentile(&self.answers, percent)
    }

    fn refusal_ms(&self, percent: usize) -> f64 {
        percentile(&self.refusals, percent)
    }
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// One measurement of each kind.
struct Round {
    peak: Load,
    load: Load,
    /// The orders during overload.
    orders: Orders,
    /// The lines that the gateway logged per second meanwhile.
    lines: f64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.load.answered() / self.peak.answered()
    }
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { peak, load, orders, lines } = self;
        let (good, most, ratio) = (load.answered(), peak.answered(), self.ratio());
        write!(f, "peak {most:.0}/s, overload {good:.0}/s ({ratio:.2}), refusals {:.0}/s", load.refused())?;
        write!(f, " in {:.1} and {:.1} ms (p50, p99)", load.refusal_ms(50), load.refusal_ms(99))?;
        let Orders { accepted, sent, times } = orders;
        write!(f, ", orders {accepted} of {sent} in {:.0} and {:.0} ms", percentile(times, 50), percentile(times, 99))?;
        write!(f, ", {lines:.1} lines/s")
    }
}

/// Clients that read one path as fast as they are answered.
struct Reader {
    address: String,
    request: Arc<[u8]>,
}

impl Reader {
    fn new(system: &System, path: &str) -> anyhow::Result<Self> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes().into();
        Ok(Self { address: address(system)?, request })
    }

    async fn answers(&self) -> bool {
        Client::new(self.address.clone()).ask(&self.request).await.is_ok_and(|response| response.status == 200)
    }

    async fn load(&self, clients: usize, time: Duration) -> anyhow::Result<Load> {
        let begin = Instant::now() + RAMP_UP;
        let end = begin + time;
        let tasks = (0..clients).map(|_| {
            let (mut client, request) = (Client::new(self.address.clone()), Arc::clone(&self.request));
            tokio::spawn(async move {
                let (mut answers, mut refusals) = (Vec::new(), Vec::new());
                while Instant::now() < end {
                    let sent = Instant::now();
                    let response = client.ask(&request).await?;
                    let now = Instant::now();
                    let counts = now > begin && now < end;
                    match response.status {
                        200 if counts => answers.push(now - sent),
                        503 if counts => {
                            ensure!(response.has_retry_after, "a refusal without Retry-After");
                            refusals.push(now - sent);
                        }
                        200 | 503 => {}
                        other => bail!("status {other}: {}", response.body),
                    }
                }
                anyhow::Ok((answers, refusals))
            })
        });
        let (mut answers, mut refusals) = (Vec::new(), Vec::new());
        for task in tasks.collect::<Vec<_>>() {
            let (answered, refused) = task.await??;
            answers.extend(answered);
            refusals.extend(refused);
        }
        answers.sort();
        refusals.sort();
        Ok(Load { time, answers, refusals })
    }
}

/// One connection, which is opened again when it was closed.
struct Client {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

struct Response {
    status: u16,
    has_retry_after: bool,
    body: String,
}

impl Client {
    fn new(address: String) -> Self {
        Self { address, stream: None, buffer: Vec::with_capacity(4_096) }
    }

    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Response> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                self.stream.insert(stream)
            }
        };
        stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            ensure!(stream.read_buf(&mut self.buffer).await? > 0, "the server has closed the connection");
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head])?;
        let status = text.get(9..12).context("a status line")?.parse()?;
        let (mut length, mut has_retry_after, mut closes) = (0, false, false);
        for (name, value) in text.split("\r\n").filter_map(|line| line.split_once(": ")) {
            match name {
                "content-length" => length = value.parse()?,
                "retry-after" => has_retry_after = true,
                "connection" => closes = value == "close",
                _ => {}
            }
        }
        let body = head + 4;
        while self.buffer.len() < body + length {
            ensure!(stream.read_buf(&mut self.buffer).await? > 0, "the server has closed the connection");
        }
        if closes {
            self.stream = None;
        }
        // The body of an answer that is as expected is of no interest.
        let body =
            if status == 503 { String::new() } else { String::from_utf8_lossy(&self.buffer[body..]).into_owned() };
        Ok(Response { status, has_retry_after, body })
    }
}
