//! One consumer run of the settler: from the committed positions on, until something fails.

use std::{collections::HashSet, mem, pin::pin, time::Duration};

use events::{DeadLetter, OrderStatus, OutboundMessage, RejectReason, Timestamp};
use futures::future::OptionFuture;
use ledger::{
    order_book::{OrderBook, OrderEvent, RestoreError},
    rows::Changes,
};
use platform::{
    Broker, Check, Message, OrderedConsumer, ServiceError, Shutdown, StreamMerge,
    broker::with_trace_context,
    clock,
    telemetry::trace_context::{set_parent, traceparent},
};
use store::{
    Store,
    consumer::{
        leader_lock,
        position::{self, Advance},
    },
    outbox::relay,
    trading::settlement::{self, Batch, SettlementConnection},
};
use tokio::time::Instant;
use tracing::{info, info_span};
use uuid::Uuid;

use crate::{
    SERVICE, Settings,
    input::{Input, InputError, decode},
    redelivery_window::RedeliveryWindow,
};

/// The durable consumers, in the order in which messages that were stored in the same microsecond are applied.
pub(crate) const CONSUMERS: [&str; 3] = [SERVICE, "trade-settler-alerts", "trade-settler-orders"];
/// How long events are collected before they are published together. Nobody who waits for an order waits for its event,
/// because the tables already have the decision.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(200);
/// The number of pending messages from which the next batch is decided while the last one is committed. With fewer, waiting
/// for the commit makes the next batch larger, which saves more than the overlap.
const OVERLAP_FROM: u64 = 1_000;
/// The index of the consumer of prices.
const TICKS: usize = 0;
/// The index of the consumer of orders and deposits.
const ORDERS: usize = 2;

/// The streams, the order book, and the positions up to which it is saved.
struct ConsumerRun<'a> {
    store: &'a Store,
    connection: SettlementConnection,
    book: OrderBook,
    merge: StreamMerge,
    /// The positions after the last batch, which is committed or being committed.
    positions: [u64; CONSUMERS.len()],
    redelivery_window: RedeliveryWindow,
}

/// What one transaction saves.
struct Decided {
    changes: Changes,
    events: Vec<OutboundMessage>,
    dead_letters: Vec<DeadLetter>,
    to: [Option<u64>; CONSUMERS.len()],
    last_event_at: [Option<Timestamp>; CONSUMERS.len()],
    /// The times at which the broker stored the orders, deposits and alerts of the batch.
    requested_at: Vec<Timestamp>,
    began: Instant,
}

/// What is left to do when a batch is committed.
struct Committed {
    to: [Option<u64>; CONSUMERS.len()],
    requested_at: Vec<Timestamp>,
    began: Instant,
}

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut leader_lock = leader_lock::acquire(store, SERVICE, check).await?;
    let mut positions = [0; CONSUMERS.len()];
    let mut consumers = Vec::with_capacity(CONSUMERS.len());
    for (consumer, position) in CONSUMERS.into_iter().zip(&mut positions) {
        *position = position::read(store, consumer, OrderedConsumer::stream_created(broker, consumer).await?).await?;
        consumers.push(OrderedConsumer::open(broker, consumer, *position).await?);
    }
    if positions[TICKS] == 0 {
        settlement::reset_sequences(store).await?;
    }
    let saved = settlement::load(store).await?;
    let book = OrderBook::restore(saved, settings.policy(), positions[TICKS]).map_err(|error| match error {
        // The run succeeds once the row is restored. Without the order its funds would be held for ever.
        RestoreError::Missing(_) => ServiceError::transient("restore the open orders", error),
        _ => ServiceError::permanent("restore the ledger; run `tickbell ledger verify`", error),
    })?;
    info!(service = SERVICE, open_orders = book.open_orders(), ?positions, "state restored");
    let merge = StreamMerge::new(consumers);
    let redelivery_window = RedeliveryWindow::new(merge.lag(ORDERS));
    let connection = settlement::connect(store).await?;
    let mut run = ConsumerRun { store, connection, book, merge, positions, redelivery_window };
    check.ready();
    tokio::select! {
        fault = leader_lock.lost() => Err(fault),
        ended = run.settle(settings.batch) => ended,
        ended = relay::run(store, SERVICE, broker, PUBLISH_INTERVAL, shutdown) => ended,
    }
}

impl ConsumerRun<'_> {
    /// Decides, commits and acknowledges batch after batch. The messages that arrive during a commit make the next batch; only
    /// when many messages are pending is the next batch decided during the commit.
    async fn settle(&mut self, max_messages: usize) -> Result<(), ServiceError> {
        let mut commit = pin!(OptionFuture::from(None));
        loop {
            if self.pending() < OVERLAP_FROM
                && let Some(committed) = commit.as_mut().await
            {
                self.finish(committed?).await;
                commit.set(None.into());
            }
            let messages = tokio::select! {
                Some(committed) = &mut commit => {
                    self.finish(committed?).await;
                    commit.set(None.into());
                    continue;
                }
                messages = self.merge.next(max_messages) => messages?,
            };
            let decided = self.decide(messages).await?;
            if let Some(committed) = commit.as_mut().await {
                self.finish(committed?).await;
            }
            commit.set(Some(self.save(decided)).into());
        }
    }

    /// Returns the number of stored messages that are not taken yet, as far as the broker has announced them.
    fn pending(&self) -> u64 {
        (0..CONSUMERS.len()).map(|consumer| self.merge.lag(consumer)).sum()
    }

    /// Applies the messages of a batch to the order book. A message that can never be applied becomes a dead letter.
    async fn decide(&mut self, messages: Vec<(usize, Message)>) -> Result<Decided, ServiceError> {
        let inputs: Vec<_> =
            messages.iter().map(|(consumer, message)| (*consumer, message, decode(*consumer, message))).collect();
        let settled = self.prepare(inputs.iter().filter_map(|(.., input)| input.as_ref().ok())).await?;
        let mut decided = Decided {
            changes: Changes::default(),
            events: Vec::new(),
            dead_letters: Vec::new(),
            to: [None; CONSUMERS.len()],
            last_event_at: [None; CONSUMERS.len()],
            requested_at: Vec::new(),
            began: Instant::now(),
        };
        for (consumer, message, input) in inputs {
            decided.to[consumer] = Some(message.sequence);
            if consumer == TICKS {
                self.book.advance_ticks(message.sequence);
            } else {
                decided.requested_at.push(message.stored_at);
            }
            match input.and_then(|input| self.apply(input, message, &settled, &mut decided.last_event_at[consumer])) {
                Ok(()) => decided.events.extend(self.book.take_events().iter().map(|event| outbound(event, message))),
                Err(reason) => {
                    decided.dead_letters.push(message.dead_letter(SERVICE, self.merge.stream(consumer), &reason));
                }
            }
        }
        decided.changes = self.book.take_changes();
        Ok(decided)
    }

    /// Loads new assets that a batch names, and returns the orders and deposits of the batch that are settled already.
    async fn prepare(&mut self, inputs: impl Iterator<Item = &Input> + Clone) -> Result<HashSet<Uuid>, ServiceError> {
        let symbols = inputs.clone().filter_map(Input::symbol);
        let unknown =
            symbols.filter(|symbol| !self.book.has_asset(&symbol.base()) || !self.book.has_asset(&symbol.quote()));
        if unknown.count() > 0 || inputs.clone().filter_map(Input::asset).any(|asset| !self.book.has_asset(asset)) {
            self.book.add_assets(settlement::all_assets(self.store).await?);
        }
        let (orders, deposits) = (inputs.clone().filter_map(Input::order), inputs.filter_map(Input::deposit));
        let lookups = self.redelivery_window.take_lookups(orders, deposits);
        let found = if lookups.is_empty() {
            Vec::new()
        } else {
            settlement::find_settled(self.store, &lookups.orders, &lookups.deposits).await?
        };
        Ok(self.redelivery_window.settled(found))
    }

    /// Applies one event, unless its order or deposit is settled already.
    fn apply(
        &mut self,
        input: Input,
        message: &Message,
        settled: &HashSet<Uuid>,
        last_event_at: &mut Option<Timestamp>,
    ) -> Result<(), InputError> {
        *last_event_at = input.at().or(*last_event_at);
        match input {
            Input::Tick(tick) => self.book.apply_tick(&tick, message.sequence, message.stored_at),
            Input::Ignored => {}
            Input::Alert(alert) => self.book.apply_alert(&alert),
            Input::Placed(placed) if settled.contains(&placed.order_id) => {}
            Input::Placed(placed) => self.book.place(*placed),
            Input::Cancel(request) => self.book.cancel(&request),
            Input::Deposit(request) if settled.contains(&request.deposit_id) => {}
            Input::Deposit(request) => self.book.apply_deposit(&request)?,
        }
        Ok(())
    }

    /// Begins to commit a batch. From here on the next batch may be decided.
    fn save(&mut self, decided: Decided) -> impl Future<Output = Result<Committed, store::Error>> + use<> {
        let Decided { events, dead_letters, to, last_event_at, requested_at, changes, began } = decided;
        let orders = changes.orders.iter().map(|order| order.order_id);
        self.redelivery_window.begin_commit(orders.chain(changes.postings.iter().map(|posting| posting.cause)));
        let mut advances = Vec::with_capacity(CONSUMERS.len());
        for (index, consumer) in CONSUMERS.into_iter().enumerate() {
            if let Some(to) = to[index] {
                let from = mem::replace(&mut self.positions[index], to);
                advances.push(Advance { consumer, from, to, last_event_at: last_event_at[index] });
            }
        }
        count_changes(&changes);
        let committed = Committed { to, requested_at, began };
        let commit = self.connection.settle(SERVICE, Batch { advances, changes, events, dead_letters });
        async move { commit.await.map(|()| committed) }
    }

    /// Acknowledges a committed batch and records its metrics.
    async fn finish(&mut self, committed: Committed) {
        self.redelivery_window.end_commit();
        let now = clock::now();
        for (index, consumer) in CONSUMERS.into_iter().enumerate() {
            if let Some(to) = committed.to[index] {
                self.merge.acknowledge(index, to).await;
            }
            metrics::gauge!("tickbell_consumer_lag", "consumer" => consumer).set(self.merge.lag(index) as f64); // float: a gauge is one
        }
        let latency = metrics::histogram!("tickbell_order_latency_seconds");
        for stored_at in committed.requested_at {
            let micros = now.micros().saturating_sub(stored_at.micros());
            latency.record(Duration::from_micros(micros.max(0).unsigned_abs()));
        }
        metrics::gauge!("tickbell_open_orders").set(self.book.open_orders() as f64); // float: a gauge is one
        metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => SERVICE).record(committed.began.elapsed());
    }
}

/// Returns the message of an event, in the trace of the message that caused it.
fn outbound(event: &OrderEvent, cause: &Message) -> OutboundMessage {
    let span = match event {
        OrderEvent::Traded(trade) => {
            info_span!("settle", order = %trade.order_id, symbol = %trade.symbol, posting = trade.posting_id)
        }
        OrderEvent::Updated(update) => {
            info_span!("settle", order = %update.order_id, symbol = %update.symbol, status = update.status.as_str())
        }
    };
    set_parent(&span, cause.traceparent());
    with_trace_context(event.to_message(), traceparent(&span, cause.traceparent()))
}

const FINAL: [OrderStatus; 3] = [OrderStatus::Filled, OrderStatus::Cancelled, OrderStatus::Expired];

/// Registers the counters at zero, so that their first count is a step.
pub(crate) fn register_metrics() {
    for status in FINAL {
        count_settled(status, None, 0);
    }
    for reason in RejectReason::ALL {
        count_settled(OrderStatus::Rejected, Some(reason), 0);
    }
    metrics::counter!("tickbell_trades_settled_total").increment(0);
}

fn count_changes(changes: &Changes) {
    for order in changes.orders.iter().filter(|order| order.status.is_final()) {
        count_settled(order.status, order.reason, 1);
    }
    metrics::counter!("tickbell_trades_settled_total").increment(changes.trades.len() as u64);
}

fn count_settled(status: OrderStatus, reason: Option<RejectReason>, by: u64) {
    let reason = reason.map_or("", RejectReason::as_str);
    metrics::counter!("tickbell_orders_settled_total", "status" => status.as_str(), "reason" => reason).increment(by);
}
