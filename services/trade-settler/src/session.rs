//! One session of the settler: from the committed positions on, until something fails.

mod input;

use std::collections::HashSet;

use events::{DeadLetter, OrderStatus, Outgoing, Timestamp};
use platform::{
    Broker, Check, Fault, Feed, Merge, Message, Shutdown,
    broker::traced,
    clock,
    trace::{follow, traceparent},
};
use store::{Store, dead_letters, outbox, positions::advance, settlement};
use tokio::time::Instant;
use tracing::{info, info_span};
use uuid::Uuid;

use crate::{
    SERVICE, Settings,
    book::{Book, Fact},
    session::input::{Input, read},
};

/// The durable consumers, in the order in which what was stored in one microsecond is applied.
const CONSUMERS: [&str; 3] = [SERVICE, "trade-settler-alerts", "trade-settler-orders"];
/// Which of them reads the prices.
const TICKS: usize = 0;

/// The streams, the book, and how far it is saved.
struct Session<'a> {
    store: &'a Store,
    book: Book,
    merge: Merge,
    positions: [u64; CONSUMERS.len()],
}

/// What one transaction is to hold.
#[derive(Default)]
struct Decided {
    facts: Vec<Outgoing>,
    dead: Vec<DeadLetter>,
    to: [Option<u64>; CONSUMERS.len()],
    last_event_at: [Option<Timestamp>; CONSUMERS.len()],
}

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Result<(), Fault> {
    let mut ownership = store.own(SERVICE, check).await?;
    let mut positions = [0; CONSUMERS.len()];
    let mut feeds = Vec::with_capacity(CONSUMERS.len());
    for (consumer, position) in CONSUMERS.into_iter().zip(&mut positions) {
        *position = store.position(consumer, Feed::stream_created(broker, consumer).await?).await?;
        feeds.push(Feed::open(broker, consumer, *position).await?);
    }
    if positions[TICKS] == 0 {
        store.forget_settled_sequences().await?;
    }
    let memory = store.settlement_memory().await?;
    let book = Book::recall(memory, settings.policy(), positions[TICKS])
        .map_err(|error| Fault::fatal("recall the ledger; run `tickbell ledger verify`", error))?;
    info!(service = SERVICE, open_orders = book.open_orders(), ?positions, "recalled");
    let mut session = Session { store, book, merge: Merge::new(feeds), positions };
    check.ready();
    tokio::select! {
        fault = ownership.lost() => Err(fault),
        ended = session.settle(settings.batch) => ended,
        ended = store.relay_outbox(SERVICE, broker, shutdown) => ended,
    }
}

impl Session<'_> {
    /// Takes batch after batch through to its acknowledgement.
    async fn settle(&mut self, most: usize) -> Result<(), Fault> {
        loop {
            let messages = self.merge.next(most).await?;
            let began = Instant::now();
            let inputs: Vec<_> =
                messages.iter().map(|(feed, message)| (*feed, message, read(*feed, message))).collect();
            let known = self.prepare(inputs.iter().filter_map(|(.., input)| input.as_ref().ok())).await?;
            let mut decided = Decided::default();
            for (feed, message, input) in inputs {
                decided.to[feed] = Some(message.sequence);
                match input.and_then(|input| self.apply(input, message, &known, &mut decided.last_event_at[feed])) {
                    Ok(()) => decided.facts.extend(self.book.take_facts().iter().map(|fact| tell(fact, message))),
                    Err(reason) => decided.dead.push(message.dead_letter(SERVICE, self.merge.stream(feed), &reason)),
                }
            }
            self.commit(decided).await?;
            self.measure(&messages, began);
        }
    }

    /// Learns of assets that are new, and which orders and deposits are settled already.
    async fn prepare(&mut self, inputs: impl Iterator<Item = &Input> + Clone) -> Result<HashSet<Uuid>, Fault> {
        let symbols = inputs.clone().filter_map(Input::symbol);
        let unknown = symbols.filter(|symbol| !self.book.knows(&symbol.base()) || !self.book.knows(&symbol.quote()));
        if unknown.count() > 0 || inputs.clone().filter_map(Input::asset).any(|asset| !self.book.knows(asset)) {
            self.book.learn(self.store.assets().await?);
        }
        let orders: Vec<Uuid> = inputs.clone().filter_map(Input::order).collect();
        let deposits: Vec<Uuid> = inputs.filter_map(Input::deposit).collect();
        if orders.is_empty() && deposits.is_empty() {
            return Ok(HashSet::new());
        }
        Ok(self.store.settled_among(&orders, &deposits).await?.into_iter().collect())
    }

    fn apply(
        &mut self,
        input: Input,
        message: &Message,
        known: &HashSet<Uuid>,
        last_event_at: &mut Option<Timestamp>,
    ) -> Result<(), input::Unusable> {
        *last_event_at = input.at().or(*last_event_at);
        match input {
            Input::Tick(tick) => self.book.tick(&tick, message.sequence, message.stored_at),
            Input::Passed => {}
            Input::Alert(alert) => self.book.fire(&alert),
            Input::Placed(placed) if known.contains(&placed.order_id) => {}
            Input::Placed(placed) => self.book.place(*placed),
            Input::Cancel(request) => self.book.cancel(&request),
            Input::Deposit(request) if known.contains(&request.deposit_id) => {}
            Input::Deposit(request) => self.book.deposit(&request)?,
        }
        Ok(())
    }

    async fn commit(&mut self, decided: Decided) -> Result<(), Fault> {
        let Decided { facts, dead, to, last_event_at } = decided;
        let changes = self.book.take_changes();
        count(&changes);
        let settled = !changes.orders.is_empty() || !changes.postings.is_empty();
        let from = self.positions;
        self.store
            .transaction(move |tx| {
                Box::pin(async move {
                    for (feed, consumer) in CONSUMERS.into_iter().enumerate() {
                        if let Some(to) = to[feed] {
                            advance(tx, consumer, from[feed], to, last_event_at[feed]).await?;
                        }
                    }
                    settlement::save(tx, &changes).await?;
                    dead_letters::give_up(tx, SERVICE, &dead).await?;
                    if settled {
                        tx.notify(settlement::SETTLED);
                    }
                    outbox::add(tx, SERVICE, &facts).await
                })
            })
            .await?;
        for (feed, to) in to.into_iter().enumerate() {
            if let Some(to) = to {
                self.positions[feed] = to;
                self.merge.acknowledge(feed, to).await;
            }
        }
        Ok(())
    }

    fn measure(&self, messages: &[(usize, Message)], began: Instant) {
        let now = clock::now();
        for (feed, consumer) in CONSUMERS.into_iter().enumerate() {
            metrics::gauge!("tickbell_consumer_lag", "consumer" => consumer).set(self.merge.lag(feed) as f64); // float: a gauge is one
        }
        let latency = metrics::histogram!("tickbell_order_latency_seconds");
        for (_, message) in messages.iter().filter(|(feed, _)| *feed != TICKS) {
            let micros = now.micros().saturating_sub(message.stored_at.micros());
            latency.record(std::time::Duration::from_micros(micros.max(0).unsigned_abs()));
        }
        metrics::gauge!("tickbell_open_orders").set(self.book.open_orders() as f64); // float: a gauge is one
        metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => SERVICE).record(began.elapsed());
    }
}

/// The message that tells a fact, and follows what caused it.
fn tell(fact: &Fact, cause: &Message) -> Outgoing {
    let span = match fact {
        Fact::Trade(trade) => {
            info_span!("settle", order = %trade.order_id, symbol = %trade.symbol, posting = trade.posting_id)
        }
        Fact::Update(update) => {
            info_span!("settle", order = %update.order_id, symbol = %update.symbol, status = update.status.as_str())
        }
    };
    follow(&span, cause.traceparent());
    traced(fact.outgoing(), traceparent(&span, cause.traceparent()))
}

const FINAL: [OrderStatus; 4] =
    [OrderStatus::Filled, OrderStatus::Cancelled, OrderStatus::Expired, OrderStatus::Rejected];

/// Makes the counters appear at nought, so that a first count is a step.
pub(crate) fn count_from_nought() {
    for status in FINAL {
        metrics::counter!("tickbell_orders_settled_total", "status" => status.as_str()).increment(0);
    }
    metrics::counter!("tickbell_trades_settled_total").increment(0);
}

fn count(changes: &settlement::Changes) {
    for order in changes.orders.iter().filter(|order| order.status.is_final()) {
        metrics::counter!("tickbell_orders_settled_total", "status" => order.status.as_str()).increment(1);
    }
    metrics::counter!("tickbell_trades_settled_total").increment(changes.trades.len() as u64);
}
