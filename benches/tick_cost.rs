//! What a tick costs: how often the consumers of ticks allocate for it, and the bytes of its row.
//!
//! The allocations are counted in this process, for pages of several lengths, in the code that the services call for each page: what
//! is done once for a batch, like saving it, does not count. The bytes are those that `tickbell up`, in a folder of its own, stores of a
//! recorded day.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints ratios")]

mod system;

use std::{hint::black_box, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use clap::Parser;
use events::{
    LateHandling, Notify, OutboundMessage, Period, Repeat, Rule, RuleChanged, RuleStatus, Symbol, Tick, Timestamp,
    Venue,
    rule::RuleChange,
    tick::{TickKind, TickSource},
};
use ledger::{order_book::OrderBook, rows::LedgerState};
use market_data::{MaxAhead, PageCollector, StoredPage, TickFilter, candles};
use rules::Engine;
use trade_settler::Settings;
use uuid::Uuid;

use crate::system::System;

/// The ticks of a page.
const LENGTHS: [u64; 3] = [1, 50, 500];
/// The pages before those that count, in which memory grows to the size that is then used again.
const PAGES_BEFORE: u64 = 100;
const PAGES: u64 = 100;
const RULES: u128 = 1_000;
const LIMIT: Duration = Duration::from_secs(120);

/// Measures what a tick costs.
#[derive(Parser)]
struct Options {
    /// Recorded day: CSV with time, symbol, price and size; may be gzipped
    #[arg(long, default_value = "../shared/data/spy-trades-2013-10-07.csv.gz")]
    file: PathBuf,
    /// Program to measure
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    allocations("reading a page", || Ok(|page: &StoredPage| _ = black_box(page.len())))?;
    allocations("alert-engine", || {
        let mut engine = Engine::default();
        (0..RULES).for_each(|number| engine.apply_change(rule(number), 0));
        Ok(move |page: &StoredPage| page.ticks().for_each(|tick| assert!(engine.evaluate(&tick).is_empty())))
    })?;
    allocations("trade-settler", || {
        let mut book = OrderBook::restore(LedgerState::default(), Settings::default().policy(), 0)?;
        let mut filter = TickFilter::default();
        Ok(move |page: &StoredPage| {
            page.ticks().filter(|tick| filter.admits(tick)).for_each(|tick| book.apply_tick(&tick, tick.at));
        })
    })?;
    allocations("history-writer, candles", || {
        let mut filter = TickFilter::default();
        Ok(move |page: &StoredPage| {
            page.ticks().for_each(|tick| _ = black_box(filter.admits(&tick)));
            black_box(candles::fold(page.ticks().map(|tick| (1, tick))));
        })
    })?;
    bytes(&options).await
}

/// Prints how often a consumer allocates for a page of each length, and for each further tick of a page.
fn allocations<C: FnMut(&StoredPage)>(name: &str, consumer: impl Fn() -> anyhow::Result<C>) -> anyhow::Result<()> {
    let mut per_page = Vec::new();
    for length in LENGTHS {
        let pages = (0..PAGES_BEFORE + PAGES).map(|number| page(number * length, length));
        let pages = pages.collect::<anyhow::Result<Vec<_>>>()?;
        let mut consumer = consumer()?;
        let mut consume = |page: &OutboundMessage, sequence: usize| -> anyhow::Result<()> {
            let read = StoredPage::read(&page.body, sequence as u64, Timestamp::LAST, MaxAhead::DEFAULT)?;
            consumer(&read);
            Ok(())
        };
        let (before, counted) = pages.split_at(PAGES_BEFORE as usize);
        before.iter().enumerate().try_for_each(|(sequence, page)| consume(page, sequence))?;
        let mut consumed = Ok(());
        let allocated = allocation_counter::measure(|| {
            consumed = counted.iter().zip(before.len()..).try_for_each(|(page, sequence)| consume(page, sequence));
        });
        consumed?;
        per_page.push(allocated.count_total as f64 / PAGES as f64);
    }
    let [of_one, .., of_most] = per_page[..] else { return Ok(()) };
    let further = (of_most - of_one) / (LENGTHS[LENGTHS.len() - 1] - LENGTHS[0]) as f64;
    let lengths = LENGTHS.iter().zip(&per_page).map(|(length, count)| format!("{length}: {count:.2}"));
    let lengths: Vec<_> = lengths.collect();
    println!("{name:<26} allocations for a page of {}; for each further tick {further:.4}", lengths.join(", "));
    Ok(())
}

/// Makes a page of ticks, each of which is 10 ms behind the one before.
fn page(first: u64, length: u64) -> anyhow::Result<OutboundMessage> {
    let (venue, symbol) = (Venue::parse("bench")?, Symbol::parse("SPY")?);
    let mut pages = PageCollector::default();
    for number in first..first + length {
        let at = Timestamp::from_micros(1_000_000_000_000_000 + number as i64 * 10_000)?;
        let tick = Tick {
            venue: venue.clone(),
            symbol: symbol.clone(),
            price: format!("167.{:02}", number * 7 % 100).parse()?,
            size: Some("100".parse()?),
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        };
        pages.push(tick, (812_345_001 + number).to_string());
    }
    let mut messages = pages.into_messages();
    ensure!(messages.len() == 1, "{length} ticks take {} pages", messages.len());
    messages.pop().context("a page")
}

/// Makes a rule that none of the ticks fires.
fn rule(number: u128) -> RuleChanged {
    let condition = match number % 4 {
        0 => format!(r#"{{"price": {{"above": "{}"}}}}"#, 1_000 + number),
        1 => r#"{"change": {"percent": "50"}}"#.to_owned(),
        2 => r#"{"change": {"percent": "50", "since": "previous"}}"#.to_owned(),
        _ => r#"{"change": {"percent": "50", "since": "5m"}}"#.to_owned(),
    };
    let rule = Rule {
        id: Uuid::from_u128(number),
        symbol: Symbol::parse("SPY").expect("a symbol"),
        venue: None,
        condition: serde_json::from_str(&condition).expect("a condition"),
        repeat: Repeat::Every,
        cooldown: Period::ZERO,
        expires_at: None,
        late: LateHandling::Tell,
        notify: Notify { email: "ada@example.com".into() },
        then: None,
    };
    RuleChanged { rule, revision: 1, happened: RuleChange::Created, status: RuleStatus::Active, at: Timestamp::EPOCH }
}

/// The bytes of the rows of ticks, of their indexes, and the number of rows.
const SIZES: &str = "
    SELECT sum(pg_relation_size(inhrelid)), sum(pg_indexes_size(inhrelid)), (SELECT count(*) FROM ticks)
    FROM pg_inherits WHERE inhparent = 'ticks'::regclass";

/// Stores a recorded day, and prints the bytes of a tick.
async fn bytes(options: &Options) -> anyhow::Result<()> {
    let system = System::start(&options.program, &[])?;
    system.until("ready", LIMIT, async || system.is_ready().await).await?;
    let mut ingestor = system.tickbell(&["price-ingestor", "--speed", "max", "--venue", "day", "--source"]);
    let source = format!("file:{}", options.file.display());
    ensure!(ingestor.arg(source).stderr(Stdio::null()).status()?.success(), "the ingestor failed");
    system.until("all stored", LIMIT, async || system.caught_up()).await?;
    let sizes = system.sql(SIZES)?;
    let sizes = sizes.split('|').map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    let [table, index, rows] = sizes[..] else { anyhow::bail!("three columns are expected: {sizes:?}") };
    println!(
        "a tick of the day takes {:.1} bytes: {:.1} in the table and {:.1} in the index, of {rows} ticks",
        (table + index) / rows,
        table / rows,
        index / rows,
    );
    Ok(())
}
