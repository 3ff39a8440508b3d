//! Runs the audit of the ledger, on request and periodically.

use std::{collections::HashMap, time::Duration};

use events::{DepositRequested, Event, OrderPlaced};
use futures::StreamExt;
use ledger::{
    audit::{Audit, Findings, PostingRecord},
    hash_chain,
    rows::TransferRow,
};
use platform::{Broker, ServiceError, Shutdown, broker::stream_scan, clock, runtime::error::error_chain};
use store::{
    Store,
    trading::ledger_snapshot::{self, Snapshot},
};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use crate::SERVICE;

/// The number of postings or orders that are read at a time.
const PAGE_SIZE: i64 = 5_000;
/// The stream of orders and deposits.
const STREAM: &str = "ORDERS";
/// The settler's consumer of that stream.
const CONSUMER: &str = "trade-settler-orders";

/// The result of an audit.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of postings.
    pub postings: u64,
    /// The number of decided orders.
    pub orders: u64,
    /// The number of orders of the stream that were compared.
    pub streamed: u64,
    /// The number of deposits of the stream that were compared.
    pub deposits: u64,
    /// The hash of the last posting, in hexadecimal. Whoever notes it can tell later that no posting up to it was changed or
    /// removed.
    pub head: String,
    /// The wrong rows, in the order in which they were found.
    pub findings: Findings,
}

/// What the tables are compared with, besides each other.
#[derive(Default)]
pub struct VerifyOptions<'a> {
    /// The broker with the stream of orders; none leaves the stream out.
    pub broker: Option<&'a Broker>,
    /// A hash that the last posting had at some time, which some posting must still have.
    pub expected_hash: Option<Vec<u8>>,
}

/// Audits the tables as they are at this moment. `progress` gets the number of postings seen and that of all postings.
pub async fn verify(
    store: &Store,
    options: VerifyOptions<'_>,
    progress: impl Fn(u64, u64),
) -> Result<Report, ServiceError> {
    let VerifyOptions { broker, expected_hash } = options;
    let mut snapshot = ledger_snapshot::begin(store).await?;
    let accounts = snapshot.accounts().await?;
    let mut audit = Audit::new(&accounts, snapshot.assets().await?);
    expected_hash.into_iter().for_each(|hash| audit.expect_hash(hash));
    let all = snapshot.last_posting().await?.unsigned_abs();
    let (mut postings, mut after, mut head) = (0, 0, String::new());
    loop {
        let page = read_page(&mut snapshot, after).await?;
        let Some(last) = page.last() else { break };
        after = last.posting.id;
        head = hash_chain::hex(&last.posting.hash);
        postings += page.len() as u64;
        page.iter().for_each(|posted| audit.check_posting(posted));
        let first = page.first().map_or(last.posting.id, |first| first.posting.id);
        let unpriced = snapshot.trades_without_tick(first, last.posting.id).await?;
        unpriced.iter().for_each(|trade| audit.trade_without_tick(trade));
        progress(postings, all);
    }
    audit.require_up_to(snapshot.last_of_batches().await?);
    for transfer in snapshot.transfers(after.saturating_add(1), None).await? {
        audit.orphaned_transfer(&transfer);
    }
    snapshot.orphaned_trades().await?.into_iter().for_each(|order| audit.orphaned_trade(order));
    snapshot.trades_without_state().await?.into_iter().for_each(|order| audit.trade_without_state(order));
    let orders = check_order_states(&mut snapshot, &mut audit).await?;
    let (streamed, deposits) = match broker {
        Some(broker) => compare_stream(&mut snapshot, &mut audit, broker).await?,
        None => (0, 0),
    };
    Ok(Report { postings, orders, streamed, deposits, head, findings: audit.finish(&accounts) })
}

async fn read_page(snapshot: &mut Snapshot, after: i64) -> Result<Vec<PostingRecord>, ServiceError> {
    let postings = snapshot.postings(after, PAGE_SIZE).await?;
    let Some(last) = postings.last().map(|posting| posting.id) else { return Ok(Vec::new()) };
    let mut transfers: HashMap<i64, Vec<TransferRow>> = HashMap::new();
    for transfer in snapshot.transfers(after + 1, Some(last)).await? {
        transfers.entry(transfer.posting_id).or_default().push(transfer);
    }
    let orders = snapshot.orders(after + 1, last).await?;
    let orders: HashMap<Uuid, _> = orders.into_iter().collect();
    let trades = snapshot.trades(after + 1, last).await?;
    let mut trades: HashMap<Uuid, _> = trades.into_iter().map(|trade| (trade.order_id, trade)).collect();
    let deposits = snapshot.deposits(after + 1, last).await?;
    let mut deposits: HashMap<Uuid, _> = deposits.into_iter().map(|deposit| (deposit.id, deposit)).collect();
    let records = postings.into_iter().map(|posting| PostingRecord {
        transfers: transfers.remove(&posting.id).unwrap_or_default(),
        order: orders.get(&posting.cause).cloned(),
        // Only a fill has a trade: an order that was open also has a posting for its hold.
        trade: if posting.kind == "fill" { trades.remove(&posting.cause) } else { None },
        deposit: deposits.remove(&posting.cause),
        posting,
    });
    Ok(records.collect())
}

async fn check_order_states(snapshot: &mut Snapshot, audit: &mut Audit) -> Result<u64, ServiceError> {
    let (mut seen, mut after) = (0, Uuid::nil());
    loop {
        let page = snapshot.order_states(after, PAGE_SIZE).await?;
        let Some(last) = page.last() else { return Ok(seen) };
        after = last.order_id;
        seen += page.len() as u64;
        page.iter().for_each(|state| audit.check_order(state));
    }
}

/// Compares the part of the stream that the settler has applied with the tables. Returns the numbers of orders and deposits.
async fn compare_stream(
    snapshot: &mut Snapshot,
    audit: &mut Audit,
    broker: &Broker,
) -> Result<(u64, u64), ServiceError> {
    let applied = snapshot.position(CONSUMER).await?;
    let mut messages = stream_scan::messages(broker, STREAM, ..=applied).await?.ready_chunks(PAGE_SIZE as usize);
    let mut seen = (0, 0);
    while let Some(page) = messages.next().await {
        let (mut orders, mut deposits) = (Vec::<(u64, OrderPlaced)>::new(), Vec::<(u64, DepositRequested)>::new());
        for message in page {
            let message = message?;
            // A message that cannot be decoded was dead-lettered.
            match message.class() {
                OrderPlaced::TYPE => orders.extend(message.event().ok().map(|event| (message.sequence, event))),
                DepositRequested::TYPE => deposits.extend(message.event().ok().map(|event| (message.sequence, event))),
                _ => {}
            }
        }
        seen = (seen.0 + orders.len() as u64, seen.1 + deposits.len() as u64);
        let mismatched = snapshot.mismatched_orders(STREAM, &orders).await?;
        mismatched.into_iter().for_each(|order| audit.mismatched_order(order));
        let mismatched = snapshot.mismatched_deposits(STREAM, &deposits).await?;
        mismatched.into_iter().for_each(|deposit| audit.mismatched_deposit(deposit));
    }
    Ok(seen)
}

/// Registers the metrics at zero, so that their first count is a step.
pub(crate) fn register_metrics() {
    for outcome in ["right", "wrong", "failed"] {
        metrics::counter!("tickbell_ledger_verifications_total", "outcome" => outcome).increment(0);
    }
}

/// Audits now and then periodically, until shutdown. Findings are logged and measured; they stop nothing.
pub(crate) async fn run_periodically(store: &Store, every: Duration, shutdown: &Shutdown) {
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        let outcome = match verify(store, VerifyOptions::default(), |_, _| {}).await {
            Ok(report) => {
                metrics::gauge!("tickbell_ledger_wrong_rows").set(report.findings.count() as f64); // float: a gauge is one
                let now = clock::now().micros() / 1_000_000;
                metrics::gauge!("tickbell_ledger_verified_timestamp_seconds").set(now as f64); // float: a gauge is one
                log_report(&report, began);
                if report.findings.count() == 0 { "right" } else { "wrong" }
            }
            Err(fault) => {
                error!(service = SERVICE, error = error_chain(&fault), "ledger audit failed");
                "failed"
            }
        };
        metrics::counter!("tickbell_ledger_verifications_total", "outcome" => outcome).increment(1);
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

fn log_report(report: &Report, began: Instant) {
    let (postings, ms) = (report.postings, began.elapsed().as_millis() as u64);
    match report.findings.named.first() {
        None if postings == 0 => {} // An empty ledger proves nothing.
        None => info!(service = SERVICE, postings, head = report.head, ms, "ledger is consistent"),
        Some(first) => {
            let (row, wrong, rows) = (&first.row, &first.wrong, report.findings.count());
            error!(service = SERVICE, row, wrong, rows, "ledger is inconsistent; run `tickbell ledger verify`");
        }
    }
}
