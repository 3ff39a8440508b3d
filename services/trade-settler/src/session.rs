//! One session of the settler: from the committed positions on, until something fails.

mod input;

use std::{collections::HashSet, mem, pin::pin, time::Duration};

use events::{DeadLetter, OrderStatus, OutboundMessage, RejectReason, Timestamp};
use futures::future::OptionFuture;
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
    trading::settlement::{self, Batch, Changes, SettlementConnection},
};
use tokio::time::Instant;
use tracing::{info, info_span};
use uuid::Uuid;

use crate::{
    SERVICE, Settings,
    book::{Book, Fact, RecallError},
    session::input::{Input, read},
};

/// The durable consumers, in the order in which what was stored in one microsecond is applied.
const CONSUMERS: [&str; 3] = [SERVICE, "trade-settler-alerts", "trade-settler-orders"];
/// What becomes of orders within this time is told together: who waits for an order looks at the tables.
const PACE: Duration = Duration::from_millis(200);
/// With so many messages waiting, more are decided while a batch is saved. With fewer a larger batch costs less than that
/// gains.
const MANY: u64 = 1_000;
/// Which of them reads the prices.
const TICKS: usize = 0;
/// Which of them reads orders and deposits.
const ORDERS: usize = 2;

/// The streams, the book, and how far it is saved.
struct Session<'a> {
    store: &'a Store,
    settling: SettlementConnection,
    book: Book,
    merge: StreamMerge,
    /// Where the last batch ends, which is committed or about to be.
    positions: [u64; CONSUMERS.len()],
    /// Orders and deposits of a batch that is not committed yet.
    unsaved: HashSet<Uuid>,
    /// How many of the orders to come may have been decided before this session: those that waited when it began. One that
    /// is stored later and was decided long ago, which the broker no longer knows, is refused by the database, and is one of
    /// those that wait when the next session begins.
    doubtful: u64,
}

/// What one transaction is to hold.
struct Decided {
    changes: Changes,
    facts: Vec<OutboundMessage>,
    dead: Vec<DeadLetter>,
    to: [Option<u64>; CONSUMERS.len()],
    last_event_at: [Option<Timestamp>; CONSUMERS.len()],
    /// When what asked for something was stored.
    commands: Vec<Timestamp>,
    began: Instant,
}

/// What is left to do when it is committed.
struct Saved {
    to: [Option<u64>; CONSUMERS.len()],
    commands: Vec<Timestamp>,
    began: Instant,
}

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut leader_lock = leader_lock::acquire(&store, SERVICE, check).await?;
    let mut positions = [0; CONSUMERS.len()];
    let mut feeds = Vec::with_capacity(CONSUMERS.len());
    for (consumer, position) in CONSUMERS.into_iter().zip(&mut positions) {
        *position = position::read(&store, consumer, OrderedConsumer::stream_created(broker, consumer).await?).await?;
        feeds.push(OrderedConsumer::open(broker, consumer, *position).await?);
    }
    if positions[TICKS] == 0 {
        settlement::reset_sequences(&store).await?;
    }
    let memory = settlement::load(&store).await?;
    let book = Book::recall(memory, settings.policy(), positions[TICKS]).map_err(|error| match error {
        // It goes on by itself once the row is there; to leave the order out would hold its funds for ever.
        RecallError::Missing(_) => ServiceError::transient("recall the open orders", error),
        _ => ServiceError::permanent("recall the ledger; run `tickbell ledger verify`", error),
    })?;
    info!(service = SERVICE, open_orders = book.open_orders(), ?positions, "recalled");
    let merge = StreamMerge::new(feeds);
    let doubtful = merge.lag(ORDERS);
    let settling = settlement::connect(&store).await?;
    let mut session = Session { store, settling, book, merge, positions, unsaved: HashSet::new(), doubtful };
    check.ready();
    tokio::select! {
        fault = leader_lock.lost() => Err(fault),
        ended = session.settle(settings.batch) => ended,
        ended = relay::run(&store, SERVICE, broker, PACE, shutdown) => ended,
    }
}

impl Session<'_> {
    /// Takes batch after batch through to its acknowledgement. What comes while one is committed is the next one; only where
    /// many wait is the next one decided meanwhile.
    async fn settle(&mut self, most: usize) -> Result<(), ServiceError> {
        let mut saving = pin!(OptionFuture::from(None));
        loop {
            if self.waiting() < MANY
                && let Some(saved) = saving.as_mut().await
            {
                self.saved(saved?).await;
                saving.set(None.into());
            }
            let messages = tokio::select! {
                Some(saved) = &mut saving => {
                    self.saved(saved?).await;
                    saving.set(None.into());
                    continue;
                }
                messages = self.merge.next(most) => messages?,
            };
            let decided = self.decide(messages).await?;
            if let Some(saved) = saving.as_mut().await {
                self.saved(saved?).await;
            }
            saving.set(Some(self.save(decided)).into());
        }
    }

    /// How many messages are stored and not taken, as far as that is known.
    fn waiting(&self) -> u64 {
        (0..CONSUMERS.len()).map(|feed| self.merge.lag(feed)).sum()
    }

    async fn decide(&mut self, messages: Vec<(usize, Message)>) -> Result<Decided, ServiceError> {
        let inputs: Vec<_> = messages.iter().map(|(feed, message)| (*feed, message, read(*feed, message))).collect();
        let known = self.prepare(inputs.iter().filter_map(|(.., input)| input.as_ref().ok())).await?;
        let mut decided = Decided {
            changes: Changes::default(),
            facts: Vec::new(),
            dead: Vec::new(),
            to: [None; CONSUMERS.len()],
            last_event_at: [None; CONSUMERS.len()],
            commands: Vec::new(),
            began: Instant::now(),
        };
        for (feed, message, input) in inputs {
            decided.to[feed] = Some(message.sequence);
            if feed == TICKS {
                self.book.follow(message.sequence);
            } else {
                decided.commands.push(message.stored_at);
            }
            match input.and_then(|input| self.apply(input, message, &known, &mut decided.last_event_at[feed])) {
                Ok(()) => decided.facts.extend(self.book.take_facts().iter().map(|fact| tell(fact, message))),
                Err(reason) => decided.dead.push(message.dead_letter(SERVICE, self.merge.stream(feed), &reason)),
            }
        }
        decided.changes = self.book.take_changes();
        Ok(decided)
    }

    /// Learns of assets that are new, and which orders and deposits are settled already.
    async fn prepare(&mut self, inputs: impl Iterator<Item = &Input> + Clone) -> Result<HashSet<Uuid>, ServiceError> {
        let symbols = inputs.clone().filter_map(Input::symbol);
        let unknown = symbols.filter(|symbol| !self.book.knows(&symbol.base()) || !self.book.knows(&symbol.quote()));
        if unknown.count() > 0 || inputs.clone().filter_map(Input::asset).any(|asset| !self.book.knows(asset)) {
            self.book.learn(settlement::all_assets(&self.store).await?);
        }
        let doubtful = usize::try_from(self.doubtful).unwrap_or(usize::MAX);
        let orders: Vec<Uuid> = inputs.clone().filter_map(Input::order).take(doubtful).collect();
        self.doubtful -= orders.len() as u64;
        let deposits: Vec<Uuid> = inputs.filter_map(Input::deposit).collect();
        let mut known = self.unsaved.clone();
        if !orders.is_empty() || !deposits.is_empty() {
            known.extend(settlement::find_settled(&self.store, &orders, &deposits).await?);
        }
        Ok(known)
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

    /// Begins to commit what was decided; from here on the next batch may be decided by it.
    fn save(&mut self, decided: Decided) -> impl Future<Output = Result<Saved, store::Error>> + use<> {
        let Decided { facts, dead, to, last_event_at, commands, changes, began } = decided;
        self.unsaved = changes.orders.iter().map(|order| order.order_id).collect();
        self.unsaved.extend(changes.postings.iter().map(|posting| posting.cause));
        let mut advances = Vec::with_capacity(CONSUMERS.len());
        for (feed, consumer) in CONSUMERS.into_iter().enumerate() {
            if let Some(to) = to[feed] {
                let from = mem::replace(&mut self.positions[feed], to);
                advances.push(Advance { consumer, from, to, last_event_at: last_event_at[feed] });
            }
        }
        count(&changes);
        let saved = Saved { to, commands, began };
        let settled = self.settling.settle(SERVICE, Batch { advances, changes, facts, dead });
        async move { settled.await.map(|()| saved) }
    }

    async fn saved(&mut self, saved: Saved) {
        self.unsaved.clear();
        let now = clock::now();
        for (feed, consumer) in CONSUMERS.into_iter().enumerate() {
            if let Some(to) = saved.to[feed] {
                self.merge.acknowledge(feed, to).await;
            }
            metrics::gauge!("tickbell_consumer_lag", "consumer" => consumer).set(self.merge.lag(feed) as f64); // float: a gauge is one
        }
        let latency = metrics::histogram!("tickbell_order_latency_seconds");
        for stored_at in saved.commands {
            let micros = now.micros().saturating_sub(stored_at.micros());
            latency.record(Duration::from_micros(micros.max(0).unsigned_abs()));
        }
        metrics::gauge!("tickbell_open_orders").set(self.book.open_orders() as f64); // float: a gauge is one
        metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => SERVICE).record(saved.began.elapsed());
    }
}

/// The message that tells a fact, and follows what caused it.
fn tell(fact: &Fact, cause: &Message) -> OutboundMessage {
    let span = match fact {
        Fact::Trade(trade) => {
            info_span!("settle", order = %trade.order_id, symbol = %trade.symbol, posting = trade.posting_id)
        }
        Fact::Update(update) => {
            info_span!("settle", order = %update.order_id, symbol = %update.symbol, status = update.status.as_str())
        }
    };
    set_parent(&span, cause.traceparent());
    with_trace_context(fact.to_message(), traceparent(&span, cause.traceparent()))
}

const FINAL: [OrderStatus; 3] = [OrderStatus::Filled, OrderStatus::Cancelled, OrderStatus::Expired];

/// Makes the counters appear at nought, so that a first count is a step.
pub(crate) fn register_metrics() {
    for status in FINAL {
        count_settled(status, None, 0);
    }
    for reason in RejectReason::ALL {
        count_settled(OrderStatus::Rejected, Some(reason), 0);
    }
    metrics::counter!("tickbell_trades_settled_total").increment(0);
}

fn count(changes: &Changes) {
    for order in changes.orders.iter().filter(|order| order.status.is_final()) {
        count_settled(order.status, order.reason, 1);
    }
    metrics::counter!("tickbell_trades_settled_total").increment(changes.trades.len() as u64);
}

fn count_settled(status: OrderStatus, reason: Option<RejectReason>, by: u64) {
    let reason = reason.map_or("", RejectReason::as_str);
    metrics::counter!("tickbell_orders_settled_total", "status" => status.as_str(), "reason" => reason).increment(by);
}
