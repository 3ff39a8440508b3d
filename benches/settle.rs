//! The number of market orders settled per second, from the stream to the commit, compared with bare SQL that writes the
//! same rows.
//!
//! Starts `tickbell up` in a folder of its own, funds accounts, and publishes orders while it holds the lease of the
//! trade-settler. The measured time begins when it releases the lease and ends when the position of the last order is
//! committed. The bare SQL writes the rows that the core of the settler decides for as many orders, decided beforehand,
//! into another database of the same server, with the same statements, tables and constraints: in batches, and in one
//! transaction per order on eight connections.
//!
//! Before that it measures the latency of `POST /v1/orders` with `Prefer: wait` at a steady rate. The latency counts from
//! the time when an order was due, so that a slow response does not delay the orders after it. The first seconds do not
//! count, because connections are opened and plans are made then.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints rates")]

mod system;

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use events::{
    Amount, Asset, DepositRequested, OrderPlaced, OrderRequest, OutboundMessage, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use ledger::{
    order_book::OrderBook,
    rows::{AssetRow, Changes, LedgerState},
};
use market_data::StoredTick;
use platform::{Broker, Health, Shutdown, broker, clock};
use serde_json::{Value, json};
use store::{
    Store,
    consumer::service::Commit,
    consumer::{lease, position},
    trading::{assets, settlement},
};
use tokio::sync::Mutex;
use trade_settler::{SERVICE, Settings};
use uuid::Uuid;

use crate::system::System;

/// The consumer of orders.
const ORDERS_CONSUMER: &str = "trade-settler-orders";
/// The number of seconds at the start that do not count.
const RAMP_UP_SECONDS: u32 = 5;
/// The longest wait for any step.
const STEP_TIMEOUT: Duration = Duration::from_secs(300);

/// Measures the trade-settler.
#[derive(Parser)]
struct Options {
    /// Number of orders to settle
    #[arg(long, default_value_t = 100_000)]
    orders: usize,
    /// Number of users who place them
    #[arg(long, default_value_t = 1_000)]
    users: usize,
    /// Orders per second over HTTP
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds of orders over HTTP
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Number of orders to settle in one transaction each
    #[arg(long, default_value_t = 5_000)]
    singly: usize,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let system = System::start(&options.program, &[])?;
    system.until("ready", Duration::from_secs(60), async || system.is_ready().await).await?;
    let url = &system.env["DATABASE_URL"];
    let (store, broker) = (connect(url).await?, broker(system.nats()).await?);
    let market = Market::new(&options)?;

    broker.publish(&[market.tick.to_message("1")]).await?;
    let mut latencies = latencies(&system, options.rate, options.seconds).await?;
    latencies.sort();
    let quantile =
        |percent: usize| latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)].as_secs_f64() * 1e3;
    println!("{} orders over HTTP, {} per second, latency until filled:", latencies.len(), options.rate);
    println!(
        "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        quantile(50),
        quantile(90),
        quantile(99),
        quantile(100)
    );

    println!("{} market orders of {} users", options.orders, options.users);
    let bare_before = batched(&market, url, "bare_before", usize::MAX).await?;
    println!("bare SQL, in batches of 5000:               {bare_before:>9.0} orders/s");
    let settled = settled(&system, &store, &broker, &market).await?;
    println!("stream to committed:                        {settled:>9.0} orders/s");
    let bare_after = batched(&market, url, "bare_after", usize::MAX).await?;
    println!("bare SQL, in batches of 5000, again:        {bare_after:>9.0} orders/s");
    let singly = one_by_one(&market, url, options.singly).await?;
    println!("one transaction per order, 8 connections:   {singly:>9.0} orders/s");
    println!("ratio to bare SQL in batches:               {:>9.2}", settled / ((bare_before + bare_after) / 2.0));
    println!("ratio to one transaction per order:         {:>9.2}", settled / singly);
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<Store> {
    let settings = store::Settings { url: url.to_owned(), ..store::Settings::default() };
    Ok(Store::connect_now(&settings, "settle").await?)
}

async fn broker(url: &str) -> anyhow::Result<Broker> {
    let settings = broker::Settings { url: url.to_owned(), ..broker::Settings::default() };
    Ok(Broker::connect_now(&settings, "settle", Health::default().check("broker"), Shutdown::new()).await?)
}

/// One price, users with balances, and their orders.
struct Market {
    tick: Tick,
    deposits: Vec<DepositRequested>,
    orders: Vec<OrderPlaced>,
}

impl Market {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let at = clock::now();
        let user = |n: usize| Uuid::from_u128(0x7000_0000_0000_0000_0000_0000_0000_0000 + n as u128);
        let symbol = Symbol::parse("BTC-USD")?;
        let tick = Tick {
            venue: Venue::parse("bench")?,
            symbol,
            price: "6804.91".parse()?,
            size: None,
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        };
        let deposit = |n: usize, asset: &str, amount: &str| {
            let (deposit_id, asset, amount) = (Uuid::now_v7(), Asset::parse(asset)?, amount.parse::<Amount>()?);
            anyhow::Ok(DepositRequested { deposit_id, user_id: user(n), asset, amount, requested_at: at })
        };
        let deposits = (0..options.users)
            .flat_map(|n| [deposit(n, "USD", "10000000.00"), deposit(n, "BTC", "1000.00000000")])
            .collect::<Result<_, _>>()?;
        let order = |n: usize| {
            let side = if n.is_multiple_of(2) { "buy" } else { "sell" };
            let size = format!("0.{:04}", n % 9_000 + 100);
            let terms = json!({ "symbol": "BTC-USD", "side": side, "type": "market", "size": size });
            let terms: OrderRequest = serde_json::from_value(terms)?;
            let (order_id, user_id) = (Uuid::now_v7(), user(n % options.users));
            anyhow::Ok(OrderPlaced { order_id, user_id, terms, after_alert: None, placed_at: at })
        };
        let orders = (0..options.orders).map(order).collect::<Result<_, _>>()?;
        Ok(Self { tick, deposits, orders })
    }

    /// Adds the rows of the orders and deposits to a database. The settler decides nothing that the gateway has not saved.
    fn add_rows(&self, url: &str) -> anyhow::Result<()> {
        let mut rows = "COPY orders (id, user_id, terms, fingerprint, placed_at) FROM STDIN;\n".to_owned();
        for OrderPlaced { order_id, user_id, terms, placed_at, .. } in &self.orders {
            let terms = serde_json::to_string(terms)?;
            writeln!(rows, "{order_id}\t{user_id}\t{terms}\t\\\\x00\t{placed_at}")?;
        }
        rows += "\\.\nCOPY deposits (id, user_id, asset, amount, requested_by, requested_at) FROM STDIN;\n";
        for DepositRequested { deposit_id, user_id, asset, amount, requested_at } in &self.deposits {
            writeln!(rows, "{deposit_id}\t{user_id}\t{asset}\t{}\tbench\t{requested_at}", amount.decimal())?;
        }
        rows += "\\.\n";
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", url]).stdin(Stdio::piped());
        let mut psql = psql.spawn().context("psql is needed: install postgresql-client")?;
        psql.stdin.take().context("a pipe")?.write_all(rows.as_bytes())?;
        ensure!(psql.wait()?.success(), "psql has not added the rows");
        Ok(())
    }

    /// The settler's core with the price and the money, and what that wrote.
    fn book(&self, assets: Vec<AssetRow>) -> anyhow::Result<(OrderBook, Changes)> {
        let saved = LedgerState { assets, ..Default::default() };
        let mut book = OrderBook::restore(saved, Settings::default().policy(), 0)?;
        book.apply_tick(&StoredTick::of(&self.tick, "1", 1, 0), Timestamp::LAST);
        for deposit in &self.deposits {
            book.apply_deposit(deposit)?;
        }
        let changes = book.take_changes();
        Ok((book, changes))
    }
}

/// Returns the latency of each order, from when it was due until the response says that it is filled.
async fn latencies(system: &System, rate: u32, seconds: u32) -> anyhow::Result<Vec<Duration>> {
    let client = reqwest::Client::new();
    let api = |path: &str| format!("{}{path}", system.env["HTTP_URL"]);
    let post = async |path: &str, body: Value| {
        let request = client.post(api(path)).header("content-type", "application/json").body(body.to_string());
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        anyhow::Ok(serde_json::from_slice::<Value>(&answer)?)
    };
    let mut tokens = Vec::new();
    for number in 0..16 {
        let who = json!({ "email": format!("u{number}@example.com"), "password": "a password of a bench" });
        post("/v1/users", who.clone()).await?;
        tokens.push(post("/v1/sessions", who.clone()).await?["token"].as_str().context("a token")?.to_owned());
        let email = who["email"].as_str().unwrap_or_default();
        let deposit = system.tickbell(&["accounts", "deposit", email, "1000000", "USD"]).output()?;
        ensure!(deposit.status.success(), "{}", String::from_utf8_lossy(&deposit.stderr));
    }
    let began = tokio::time::Instant::now();
    let order = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "0.001" }).to_string();
    let place = async |number: u32| {
        let due = began + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due).await;
        let request = client.post(api("/v1/orders")).bearer_auth(&tokens[number as usize % tokens.len()]);
        let request = request.header("content-type", "application/json").header("prefer", "wait=5").body(order.clone());
        let answer = request.send().await?.error_for_status()?.text().await?;
        ensure!(answer.contains("\"status\":\"filled\""), "{answer}");
        Ok(due.elapsed())
    };
    let mut latencies = futures::future::try_join_all((0..rate * (RAMP_UP_SECONDS + seconds)).map(place)).await?;
    Ok(latencies.split_off((rate * RAMP_UP_SECONDS) as usize))
}

/// Returns the orders settled per second, from the stream to the commit.
async fn settled(system: &System, store: &Store, broker: &Broker, market: &Market) -> anyhow::Result<f64> {
    let before = position(store).await;
    market.add_rows(&system.env["DATABASE_URL"])?;
    let deposits: Vec<OutboundMessage> = market.deposits.iter().map(DepositRequested::to_message).collect();
    broker.publish(&deposits).await?;
    system.until("funded", STEP_TIMEOUT, async || position(store).await == before + deposits.len() as u64).await?;
    let held = lease::seize(store, SERVICE).await?;
    let orders: Vec<OutboundMessage> = market.orders.iter().map(OrderPlaced::to_message).collect();
    broker.publish(&orders).await?;
    let last = before + (deposits.len() + orders.len()) as u64;
    let began = Instant::now();
    drop(held);
    system.until("settled", STEP_TIMEOUT, async || position(store).await == last).await?;
    let rate = orders.len() as f64 / began.elapsed().as_secs_f64();
    // Their mails are still being sent; that must not disturb the next measurement.
    system.until("notified", STEP_TIMEOUT, async || system.caught_up()).await?;
    Ok(rate)
}

async fn position(store: &Store) -> u64 {
    position::progress(store, ORDERS_CONSUMER).await.map(|progress| progress.position).unwrap_or_default()
}

/// Creates a database beside the system's with the same tables and the balances, and returns it with the batches to write.
async fn prepare(
    market: &Market,
    url: &str,
    name: &str,
    size: usize,
    most: usize,
) -> anyhow::Result<(Store, Vec<Commit<Changes>>)> {
    let (server, _) = url.rsplit_once('/').context("a database URL")?;
    let url = format!("{server}/{name}");
    Store::create_database(&url).await?;
    let store = connect(&url).await?;
    store.migrate().await?;
    market.add_rows(&url)?;
    let (mut book, changes) = market.book(assets::list(&store).await?)?;
    settlement::connect(&store).await?.settle(commit(changes, Vec::new())).await?;
    let orders = &market.orders[..market.orders.len().min(most)];
    let decide = |orders: &[OrderPlaced]| {
        orders.iter().for_each(|order| book.place(order.clone(), order.placed_at));
        let events = book.take_events().iter().map(|event| event.to_message()).collect();
        commit(book.take_changes(), events)
    };
    Ok((store, orders.chunks(size).map(decide).collect()))
}

fn commit(changes: Changes, events: Vec<OutboundMessage>) -> Commit<Changes> {
    Commit { service: SERVICE, advances: Vec::new(), effects: changes, events, dead_letters: Vec::new() }
}

async fn batched(market: &Market, url: &str, name: &str, most: usize) -> anyhow::Result<f64> {
    let (store, batches) = prepare(market, url, name, Settings::default().batch, most).await?;
    let settling = settlement::connect(&store).await?;
    let began = Instant::now();
    for batch in batches {
        settling.settle(batch).await?;
    }
    Ok(market.orders.len().min(most) as f64 / began.elapsed().as_secs_f64())
}

/// Returns the orders per second of eight connections. The hash chain of postings allows one writer at a time, so the
/// connections take turns.
async fn one_by_one(market: &Market, url: &str, most: usize) -> anyhow::Result<f64> {
    let (store, batches) = prepare(market, url, "bare_singly", 1, most).await?;
    let count = batches.len() as f64;
    let turns = Arc::new(Mutex::new(batches.into_iter()));
    let began = Instant::now();
    let worker = async || {
        let settling = settlement::connect(&store).await?;
        loop {
            let mut turn = turns.lock().await;
            let Some(batch) = turn.next() else { return anyhow::Ok(()) };
            settling.settle(batch).await?;
        }
    };
    futures::future::try_join_all((0..8).map(|_| worker())).await?;
    Ok(count / began.elapsed().as_secs_f64())
}
