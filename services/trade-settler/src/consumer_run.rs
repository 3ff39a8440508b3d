//! What the settler decides about orders, deposits, alerts and ticks, and how a batch is saved.

use std::{
    collections::{HashMap, HashSet},
    mem,
    ops::Range,
    time::Duration,
};

use events::{DepositRequested, OrderPlaced, OrderStatus, OutboundMessage, RejectReason, Timestamp, tick::page_of_one};
use futures::future::BoxFuture;
use ledger::{
    order_book::{OrderBook, OrderEvent, RestoreError},
    rows::{Changes, DepositRow},
};
use market_data::{MaxAhead, SkippedTicks, TickFilter};
use platform::{
    Broker, Check, Message, ServiceError, Shutdown,
    broker::publish::with_trace_context,
    clock,
    telemetry::{
        gauge::set_gauge,
        trace_context::{set_parent, traceparent},
    },
};
use store::{
    Error, Store,
    consumer::{
        missing_rows::{Row, count_without_row},
        position::ForgetSequences,
        runner::{ConsumerRun, lead},
        service::{BrokenConstraint, Commit, ConsumerService, Decided, Plan, Publish},
    },
    outbox::relay,
    trading::{
        assets,
        settlement::{self, SettlementConnection},
    },
};
use tracing::info_span;
use uuid::Uuid;

use crate::{
    SERVICE, Settings,
    input::{CONSUMERS, Input, InputError, decode},
    redelivery_window::RedeliveryWindow,
};

/// How long events are collected before they are published together. Nobody who waits for an order waits for its event,
/// because the tables already have the decision.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(200);
/// The number of pending messages from which the next batch is decided while the last one is committed. With fewer, waiting
/// for the commit makes the next batch larger, which saves more than the overlap.
const OVERLAP_FROM: u64 = 1_000;
/// The time for which prices and alerts are left with the broker while no order waits for one. An order that arrives ends it.
const GATHER: Duration = Duration::from_millis(100);
/// The index of the consumer of prices.
const TICKS: usize = 0;
/// The index of the consumer of alerts.
const ALERTS: usize = 1;
/// The index of the consumer of orders and deposits.
const ORDERS: usize = 2;

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
    max_ahead: MaxAhead,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let service = TradeSettler { store: store.clone(), settings: settings.clone(), max_ahead };
    let plan = Plan {
        gather: GATHER,
        leave: &[TICKS, ALERTS],
        decide_ahead_from: Some(OVERLAP_FROM),
        publish: Publish::ByRelay,
        on_broken_constraint: BrokenConstraint::Stop,
        ..Plan::new(SERVICE, &CONSUMERS, settings.batch)
    };
    let work = Box::pin(async {
        let run = ConsumerRun::open(&service, store, broker, plan).await?;
        check.ready();
        tokio::select! {
            ended = run.run(check) => ended.map(|never| match never {}),
            ended = relay::run(store, SERVICE, broker, PUBLISH_INTERVAL, shutdown) => ended,
        }
    });
    lead(store, broker, SERVICE, check, work).await
}

struct TradeSettler {
    store: Store,
    settings: Settings,
    max_ahead: MaxAhead,
}

struct State {
    book: OrderBook,
    /// Holds back from the book what is late or a repeat: it must price nothing and fill nothing.
    filter: TickFilter,
    connection: SettlementConnection,
    redelivery_window: RedeliveryWindow,
    /// The orders and deposits of the current messages that are settled already.
    settled: HashSet<Uuid>,
    /// The orders of the current messages that are not as their rows say, or have none, by their ids.
    without_row: HashMap<Uuid, Vec<OrderPlaced>>,
    /// The deposits of the current messages as operators requested them.
    deposits: HashMap<Uuid, DepositRow>,
}

/// The changes that one batch saves.
#[derive(Default)]
struct Effects {
    changes: Changes,
    /// The times at which the broker stored the orders, deposits and alerts of the batch for which somebody waits.
    requested_at: Vec<Timestamp>,
}

impl ConsumerService for TradeSettler {
    type Event = Input;
    type State = State;
    type Effects = Effects;
    /// The times at which the broker stored what is now decided.
    type Saved = Vec<Timestamp>;
    type Reject = InputError;

    fn forget_sequences(&self, consumer: &str) -> Option<ForgetSequences> {
        let forget: ForgetSequences = |tx| Box::pin(settlement::forget_sequences(tx));
        (consumer == CONSUMERS[TICKS]).then_some(forget)
    }

    async fn restore(&self, positions: &[u64]) -> Result<State, ServiceError> {
        let mut saved = settlement::load(&self.store).await?;
        let filter = TickFilter::restore(mem::take(&mut saved.markets));
        let book =
            OrderBook::restore(saved, self.settings.policy(), positions[TICKS]).map_err(|error| match error {
                // The run succeeds once the row is restored. Without the order its funds would be held for ever.
                RestoreError::Missing(_) => ServiceError::transient("restore the open orders", error),
                _ => ServiceError::permanent("restore the ledger; run `tickbell ledger verify`", error),
            })?;
        let connection = settlement::connect(&self.store).await?;
        Ok(State {
            book,
            filter,
            connection,
            redelivery_window: RedeliveryWindow::new(0),
            settled: HashSet::new(),
            without_row: HashMap::new(),
            deposits: HashMap::new(),
        })
    }

    fn opened(&self, state: &mut State, pending: &[u64]) {
        state.redelivery_window = RedeliveryWindow::new(pending[ORDERS]);
    }

    fn decode(&self, consumer: usize, message: &Message) -> Result<Input, InputError> {
        decode(consumer, message, self.max_ahead)
    }

    fn items(&self, input: &Input) -> usize {
        if let Input::Page(page) = input { page.len() } else { 1 }
    }

    fn keep(&self, input: &mut Input, items: &Range<usize>) {
        if let Input::Page(page) = input {
            page.keep(items);
        }
    }

    fn item(&self, message: &Message, item: usize) -> Option<Vec<u8>> {
        page_of_one(message.body(), item)
    }

    fn event_time(&self, input: &Input) -> Option<Timestamp> {
        input.at()
    }

    /// Loads new assets that the events name, and finds out which of their orders and deposits are settled already, and
    /// which orders have no row.
    async fn prepare(&self, state: &mut State, inputs: &[&Input]) -> Result<(), ServiceError> {
        let State { book, redelivery_window, settled, without_row, deposits, .. } = state;
        let symbols = inputs.iter().filter_map(|input| input.symbol());
        let mut assets = symbols.flat_map(|symbol| [symbol.base(), symbol.quote()]);
        let mut deposited = inputs.iter().filter_map(|input| input.asset());
        if assets.any(|asset| !book.has_asset(&asset)) || deposited.any(|asset| !book.has_asset(asset)) {
            book.add_assets(assets::list(&self.store).await?);
        }
        let placed = || inputs.iter().filter_map(|input| input.placed());
        let orders = placed().map(|placed| placed.order_id);
        let lookups = redelivery_window.take_lookups(orders, inputs.iter().filter_map(|input| input.deposit()));
        let found = if lookups.is_empty() {
            Vec::new()
        } else {
            settlement::find_settled(&self.store, &lookups.orders, &lookups.deposits).await?
        };
        without_row.clear();
        if !lookups.orders.is_empty() {
            let looked_up: Vec<&OrderPlaced> = placed().take(lookups.orders.len()).collect();
            for placed in settlement::find_without_row(&self.store, &looked_up).await? {
                without_row.entry(placed.order_id).or_default().push(placed);
            }
        }
        *settled = redelivery_window.settled(found);
        deposits.clear();
        if !lookups.deposits.is_empty() {
            let found = settlement::find_deposits(&self.store, &lookups.deposits).await?;
            deposits.extend(found.into_iter().map(|deposit| (deposit.id, deposit)));
        }
        Ok(())
    }

    fn observe(&self, state: &mut State, consumer: usize, message: &Message) {
        if consumer == TICKS {
            state.book.advance_ticks(message.sequence);
        }
    }

    fn decide(
        &self,
        state: &mut State,
        input: Input,
        message: &Message,
        decided: &mut Decided<Effects>,
    ) -> Result<(), InputError> {
        let State { book, filter, settled, without_row, deposits, .. } = state;
        let is_waited_for = match &input {
            Input::Page(_) | Input::Ignored => false,
            Input::Alert(alert) => book.awaits_alert(alert.rule_id),
            Input::Placed(_) | Input::Cancel(_) | Input::Deposit(_) => true,
        };
        if is_waited_for {
            decided.effects.requested_at.push(message.stored_at);
        }
        match input {
            Input::Page(page) => {
                for tick in page.ticks() {
                    if filter.admits(&tick) {
                        book.apply_tick(&tick, message.stored_at);
                    }
                }
                page.refused().iter().for_each(|refused| count_skipped(refused.refusal.as_str(), 1));
            }
            Input::Ignored => {}
            Input::Alert(alert) => book.apply_alert(&alert, message.stored_at),
            Input::Placed(placed) if without_row.get(&placed.order_id).is_some_and(|found| found.contains(&placed)) => {
                count_without_row(SERVICE, Row::Order, 1);
                return Err(InputError::NotPlaced(placed.order_id));
            }
            Input::Placed(placed) if settled.contains(&placed.order_id) => {}
            Input::Placed(placed) => book.place(*placed, message.stored_at),
            Input::Cancel(request) => book.cancel(&request),
            Input::Deposit(request) if !is_requested(&request, deposits.get(&request.deposit_id)) => {
                count_without_row(SERVICE, Row::Deposit, 1);
                return Err(InputError::NotRequested(request.deposit_id));
            }
            Input::Deposit(request) if settled.contains(&request.deposit_id) => {}
            Input::Deposit(request) => book.apply_deposit(&request)?,
        }
        decided.events.extend(book.take_events().iter().map(|event| outbound(event, message)));
        Ok(())
    }

    fn finish(&self, state: &mut State, decided: &mut Decided<Effects>) {
        let markets = state.filter.take_changes();
        decided.effects.changes = Changes { markets, ..state.book.take_changes() };
        state.filter.take_skipped().by_reason().into_iter().for_each(|(reason, ticks)| count_skipped(reason, ticks));
    }

    /// Orders wait, those that have just arrived and those that are open.
    fn is_waited_for(&self, state: &State, decided: &Decided<Effects>) -> bool {
        !decided.effects.requested_at.is_empty() || state.book.open_orders() > 0
    }

    fn commit(&self, state: &mut State, commit: Commit<Effects>) -> BoxFuture<'static, Result<Vec<Timestamp>, Error>> {
        let Commit { service, advances, effects: Effects { changes, requested_at }, events, dead_letters } = commit;
        let orders = changes.orders.iter().map(|order| order.order_id);
        state.redelivery_window.begin_commit(orders.chain(changes.postings.iter().map(|posting| posting.cause)));
        count_changes(&changes);
        let commit = Commit { service, advances, effects: changes, events, dead_letters };
        let settled = state.connection.settle(commit);
        Box::pin(async move { settled.await.map(|()| requested_at) })
    }

    fn committed(&self, state: &mut State, requested_at: Vec<Timestamp>) {
        state.redelivery_window.end_commit();
        let now = clock::now();
        let latency = metrics::histogram!("tickbell_order_latency_seconds");
        for stored_at in requested_at {
            let micros = now.micros().saturating_sub(stored_at.micros());
            latency.record(Duration::from_micros(micros.max(0).unsigned_abs()));
        }
        set_gauge(&metrics::gauge!("tickbell_open_orders"), state.book.open_orders() as u64);
    }
}

/// Returns true when the event of a deposit says what its row says. The row is saved with the event, so it is there first.
fn is_requested(request: &DepositRequested, row: Option<&DepositRow>) -> bool {
    row.is_some_and(|row| {
        (row.user_id, row.asset.as_str(), row.amount)
            == (request.user_id, request.asset.as_str(), request.amount.decimal())
    })
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
    metrics::gauge!("tickbell_settlement_stopped").set(0);
    SkippedTicks::REASONS.into_iter().for_each(|reason| count_skipped(reason, 0));
    [Row::Order, Row::Deposit].into_iter().for_each(|row| count_without_row(SERVICE, row, 0));
}

fn count_skipped(reason: &'static str, ticks: u64) {
    metrics::counter!("tickbell_ticks_skipped_total", "service" => SERVICE, "reason" => reason).increment(ticks);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deposit_is_requested_only_as_its_row_says() {
        let request = DepositRequested {
            deposit_id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            asset: "USD".parse().expect("an asset"),
            amount: "10.00".parse().expect("an amount"),
            requested_at: Timestamp::EPOCH,
        };
        let row =
            DepositRow { id: request.deposit_id, user_id: request.user_id, asset: "USD".into(), amount: 10.into() };
        assert!(is_requested(&request, Some(&row)));
        for other in [
            None,
            Some(DepositRow { user_id: Uuid::from_u128(3), ..row.clone() }),
            Some(DepositRow { asset: "EUR".into(), ..row.clone() }),
            Some(DepositRow { amount: 11.into(), ..row.clone() }),
        ] {
            assert!(!is_requested(&request, other.as_ref()), "{other:?}");
        }
    }
}
