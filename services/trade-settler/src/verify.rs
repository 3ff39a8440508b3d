//! Reads the ledger for [`crate::audit`]: when somebody asks, and regularly.

use std::{collections::HashMap, time::Duration};

use events::{DepositRequested, Event, OrderPlaced};
use futures::StreamExt;
use platform::{Broker, ServiceError, Shutdown, broker::stream_scan, clock, runtime::error::error_chain};
use store::{
    Store,
    trading::{
        ledger_snapshot::{self, Snapshot},
        settlement::TransferRow,
    },
};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use crate::{
    SERVICE,
    audit::{Audit, Findings, Posted},
    seal,
};

/// How many postings or orders are read at a time.
const PAGE: i64 = 5_000;
/// The stream of orders, and who reads it.
const STREAM: &str = "ORDERS";
const CONSUMER: &str = "trade-settler-orders";

/// What was verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// How many postings there are.
    pub postings: u64,
    /// How many orders were decided.
    pub orders: u64,
    /// How many orders of the stream were compared.
    pub streamed: u64,
    /// How many deposits of the stream were compared.
    pub deposits: u64,
    /// The last posting's hash, in hexadecimal: whoever notes it can tell later that no posting up to it was changed or cut
    /// off.
    pub head: String,
    /// What is wrong, in the order in which it was found.
    pub findings: Findings,
}

/// What the tables are compared with besides each other.
#[derive(Default)]
pub struct Against<'a> {
    /// The stream of orders, where there is a broker.
    pub broker: Option<&'a Broker>,
    /// The hash that the last posting had once.
    pub head: Option<Vec<u8>>,
}

/// Verifies the tables as they are at this moment.
///
/// `progress` is told how many postings were seen, and of how many.
pub async fn verify(store: &Store, against: Against<'_>, progress: impl Fn(u64, u64)) -> Result<Report, ServiceError> {
    let Against { broker, head: noted } = against;
    let mut snapshot = ledger_snapshot::begin(&store).await?;
    let accounts = snapshot.accounts().await?;
    let mut audit = Audit::new(&accounts, snapshot.assets().await?);
    noted.into_iter().for_each(|noted| audit.look_for(noted));
    let all = snapshot.last_posting().await?.unsigned_abs();
    let (mut postings, mut after, mut head) = (0, 0, String::new());
    loop {
        let page = page(&mut snapshot, after).await?;
        let Some(last) = page.last() else { break };
        after = last.posting.id;
        head = seal::hex(&last.posting.hash);
        postings += page.len() as u64;
        page.iter().for_each(|posted| audit.posting(posted));
        progress(postings, all);
    }
    audit.is_there(snapshot.last_of_batches().await?);
    for stray in snapshot.transfers(after.saturating_add(1), None).await? {
        audit.stray_transfer(&stray);
    }
    snapshot.strayed_trades().await?.into_iter().for_each(|order| audit.strayed_trade(order));
    snapshot.trades_without_state().await?.into_iter().for_each(|order| audit.trade_without_state(order));
    let orders = states(&mut snapshot, &mut audit).await?;
    let (streamed, deposits) = match broker {
        Some(broker) => streamed(&mut snapshot, &mut audit, broker).await?,
        None => (0, 0),
    };
    Ok(Report { postings, orders, streamed, deposits, head, findings: audit.finish(&accounts) })
}

async fn page(snapshot: &mut Snapshot, after: i64) -> Result<Vec<Posted>, ServiceError> {
    let postings = snapshot.postings(after, PAGE).await?;
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
    let whole = postings.into_iter().map(|posting| Posted {
        transfers: transfers.remove(&posting.id).unwrap_or_default(),
        order: orders.get(&posting.cause).cloned(),
        // An order that waited has a posting for its hold too.
        trade: if posting.kind == "fill" { trades.remove(&posting.cause) } else { None },
        deposit: deposits.remove(&posting.cause),
        posting,
    });
    Ok(whole.collect())
}

async fn states(snapshot: &mut Snapshot, audit: &mut Audit) -> Result<u64, ServiceError> {
    let (mut seen, mut after) = (0, Uuid::nil());
    loop {
        let page = snapshot.order_states(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(seen) };
        after = last.order_id;
        seen += page.len() as u64;
        page.iter().for_each(|state| audit.order(state));
    }
}

/// What the settler has applied of the stream must be in the tables as it was asked for. Says how many orders and how many
/// deposits that are.
async fn streamed(snapshot: &mut Snapshot, audit: &mut Audit, broker: &Broker) -> Result<(u64, u64), ServiceError> {
    let applied = snapshot.position(CONSUMER).await?;
    let mut messages = stream_scan::messages(broker, STREAM, Some(applied)).await?.ready_chunks(PAGE as usize);
    let mut seen = (0, 0);
    while let Some(page) = messages.next().await {
        let (mut orders, mut deposits): (Vec<OrderPlaced>, Vec<(u64, DepositRequested)>) = (Vec::new(), Vec::new());
        for message in page {
            let message = message?;
            // One that cannot be read is among the dead letters.
            match message.class() {
                OrderPlaced::TYPE => orders.extend(message.event().ok()),
                DepositRequested::TYPE => deposits.extend(message.event().ok().map(|event| (message.sequence, event))),
                _ => {}
            }
        }
        seen = (seen.0 + orders.len() as u64, seen.1 + deposits.len() as u64);
        snapshot.orders_amiss(&orders).await?.into_iter().for_each(|order| audit.order_amiss(order));
        let amiss = snapshot.deposits_amiss(STREAM, &deposits).await?;
        amiss.into_iter().for_each(|deposit| audit.deposit_amiss(deposit));
    }
    Ok(seen)
}

/// Makes the metrics of verifications appear at nought.
pub(crate) fn register_metrics() {
    for outcome in ["right", "wrong", "failed"] {
        metrics::counter!("tickbell_ledger_verifications_total", "outcome" => outcome).increment(0);
    }
}

/// Verifies now and every so often, until shutdown. What is wrong is logged and measured; nothing is stopped for it.
pub(crate) async fn regularly(store: &Store, every: Duration, shutdown: &Shutdown) {
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        let outcome = match verify(store, Against::default(), |_, _| {}).await {
            Ok(report) => {
                metrics::gauge!("tickbell_ledger_wrong_rows").set(report.findings.count() as f64); // float: a gauge is one
                let now = clock::now().micros() / 1_000_000;
                metrics::gauge!("tickbell_ledger_verified_timestamp_seconds").set(now as f64); // float: a gauge is one
                say(&report, began);
                if report.findings.count() == 0 { "right" } else { "wrong" }
            }
            Err(fault) => {
                error!(service = SERVICE, error = error_chain(&fault), "the ledger could not be verified");
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

fn say(report: &Report, began: Instant) {
    let (postings, ms) = (report.postings, began.elapsed().as_millis() as u64);
    match report.findings.named.first() {
        None => info!(service = SERVICE, postings, head = report.head, ms, "the ledger is right"),
        Some(first) => {
            let (row, wrong, rows) = (&first.row, &first.wrong, report.findings.count());
            error!(service = SERVICE, row, wrong, rows, "the ledger is wrong; see `tickbell ledger verify`");
        }
    }
}
