//! One session of the engine: from the committed positions on, until something fails.
//!
//! Rules and ticks come from two streams and are put into one order by the time the broker stored them: a rule judges
//! the ticks that were stored after it, however far behind the engine is.

use std::{collections::VecDeque, time::Duration};

use events::{AlertFired, Channel, DeadLetter, OutboundMessage, RuleChanged, Target, Tick, Timestamp};
use platform::{
    Batch, Broker, Check, Message, OrderedConsumer, ServiceError,
    broker::with_trace_context,
    clock,
    telemetry::trace_context::{set_parent, traceparent},
};
use store::{
    Store,
    consumer::{
        dead_letters, leader_lock,
        position::{self, Advance, advance},
    },
    outbox::{self, relay},
    rules::engine_state::{self, Changes},
};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, info_span};

use crate::{
    SERVICE, Settings,
    book::{Book, Fired},
};

/// The durable consumer of stream `RULES`.
const RULES: &str = "alert-engine-rules";
/// How many changes of rules are taken at once.
const RULES_BATCH: usize = 2_000;
/// Ticks that the broker announced and did not deliver (they were purged) hold rules back no longer than this.
const PATIENCE: Duration = Duration::from_millis(300);

/// Both feeds, and what is between them and the book.
struct Session<'a> {
    store: &'a Store,
    broker: &'a Broker,
    book: Book,
    ticks: OrderedConsumer,
    rules: OrderedConsumer,
    /// The last tick judged, perhaps not committed yet.
    judged: u64,
    /// What is committed.
    ticks_position: u64,
    rules_position: u64,
    /// Changes of rules that were received and are not followed yet.
    waiting: VecDeque<Message>,
    rules_batch: Option<Batch>,
    patience: Instant,
}

/// What one transaction is to hold.
#[derive(Default)]
struct Decided {
    fired: Vec<OutboundMessage>,
    dead: Vec<DeadLetter>,
    last_tick_at: Option<Timestamp>,
    last_rule_at: Option<Timestamp>,
    rules_to: Option<u64>,
}

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
) -> Result<(), ServiceError> {
    let mut leader_lock = leader_lock::acquire(&store, SERVICE, check).await?;
    relay::publish_pending(&store, SERVICE, broker).await?;
    let ticks_position =
        position::read(&store, SERVICE, OrderedConsumer::stream_created(broker, SERVICE).await?).await?;
    let rules_position = position::read(&store, RULES, OrderedConsumer::stream_created(broker, RULES).await?).await?;
    if ticks_position == 0 {
        engine_state::reset_sequences(&store).await?;
    }
    let book = Book::recall(engine_state::load(&store).await?);
    info!(service = SERVICE, rules = book.active_rules(), ticks_position, rules_position, "recalled");
    let mut session = Session {
        store,
        broker,
        book,
        ticks: OrderedConsumer::open(broker, SERVICE, ticks_position).await?,
        rules: OrderedConsumer::open(broker, RULES, rules_position).await?,
        judged: ticks_position,
        ticks_position,
        rules_position,
        waiting: VecDeque::new(),
        rules_batch: None,
        patience: Instant::now(),
    };
    check.ready();
    let lost = leader_lock.lost();
    tokio::pin!(lost);
    loop {
        tokio::select! {
            fault = &mut lost => return Err(fault),
            ended = session.step(settings.batch) => ended?,
        }
    }
}

impl Session<'_> {
    /// Waits for the next input and takes it through to its acknowledgement.
    async fn step(&mut self, most: usize) -> Result<(), ServiceError> {
        let batch = tokio::select! {
            batch = self.ticks.next(most) => Some(batch),
            batch = self.rules.next(RULES_BATCH), if self.waiting.len() < RULES_BATCH => {
                self.patience = Instant::now() + PATIENCE;
                self.waiting.extend(batch.messages.iter().cloned());
                self.rules_batch = Some(batch);
                None
            }
            () = sleep_until(self.patience), if !self.waiting.is_empty() => None,
        };
        let began = Instant::now();
        let mut decided = Decided::default();
        for message in batch.iter().flat_map(|batch| &batch.messages) {
            self.follow_rules(Some(message.stored_at), &mut decided);
            self.judge(message, &mut decided);
        }
        if self.ticks.pending() == 0 || Instant::now() >= self.patience {
            self.follow_rules(None, &mut decided);
        }
        self.commit(batch.as_ref(), decided).await?;
        if let Some(batch) = &batch {
            self.ticks.acknowledge(batch).await;
            metrics::counter!("tickbell_ticks_judged_total").increment(batch.messages.len() as u64);
            metrics::gauge!("tickbell_consumer_lag", "consumer" => SERVICE).set(self.ticks.pending() as f64); // float: a gauge is one
        }
        metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => SERVICE).record(began.elapsed());
        Ok(())
    }

    /// Follows the changes of rules that were stored before `until`, or all that are waiting.
    fn follow_rules(&mut self, until: Option<Timestamp>, decided: &mut Decided) {
        while let Some(message) = self.waiting.front()
            && until.is_none_or(|until| message.stored_at < until)
        {
            match message.event::<RuleChanged>() {
                Ok(change) => {
                    debug!(rule = %change.rule.id, revision = change.revision, status = change.status.as_str(), "follow");
                    decided.last_rule_at = Some(change.at);
                    self.book.follow(change, self.judged);
                }
                Err(reason) => decided.dead.push(message.dead_letter(SERVICE, self.rules.stream(), &reason)),
            }
            decided.rules_to = Some(message.sequence);
            self.waiting.pop_front();
        }
    }

    fn judge(&mut self, message: &Message, decided: &mut Decided) {
        match message.event::<Tick>() {
            Ok(tick) => {
                decided.last_tick_at = Some(tick.at);
                for fired in self.book.judge(&tick, message.sequence) {
                    decided.fired.extend(alert(fired, message));
                }
            }
            Err(reason) => decided.dead.push(message.dead_letter(SERVICE, self.ticks.stream(), &reason)),
        }
        self.judged = message.sequence;
    }

    /// Commits, then publishes; the caller acknowledges.
    async fn commit(&mut self, ticks: Option<&Batch>, decided: Decided) -> Result<(), ServiceError> {
        let Decided { fired, dead, last_tick_at, last_rule_at, rules_to } = decided;
        if ticks.is_none() && rules_to.is_none() {
            return Ok(());
        }
        let changes = self.book.take_changes();
        count(&changes);
        let publish = !fired.is_empty() || !dead.is_empty();
        let ticks_to = ticks.map(|batch| batch.last);
        let (rules_from, ticks_from) = (self.rules_position, self.ticks_position);
        let ticks_done =
            ticks_to.map(|to| Advance { consumer: SERVICE, from: ticks_from, to, last_event_at: last_tick_at });
        let rules_done =
            rules_to.map(|to| Advance { consumer: RULES, from: rules_from, to, last_event_at: last_rule_at });
        let done: Vec<Advance> = ticks_done.into_iter().chain(rules_done).collect();
        self.store
            .transaction(move |tx| {
                Box::pin(async move {
                    advance(tx, &done).await?;
                    engine_state::save(tx, &changes).await?;
                    dead_letters::add(tx, SERVICE, &dead).await?;
                    outbox::add(tx, SERVICE, &fired).await
                })
            })
            .await?;
        self.ticks_position = ticks_to.unwrap_or(ticks_from);
        self.rules_position = rules_to.unwrap_or(rules_from);
        if publish {
            relay::publish_pending(&self.store, SERVICE, self.broker).await?;
        }
        if self.waiting.is_empty()
            && let Some(batch) = self.rules_batch.take()
        {
            self.rules.acknowledge(&batch).await;
        }
        Ok(())
    }
}

/// What to publish for a firing: nothing when it is suppressed.
fn alert(fired: Fired, cause: &Message) -> Option<OutboundMessage> {
    let Fired { rule, firing } = fired;
    if firing.suppressed.is_some() {
        return None;
    }
    let id = AlertFired::id_of(rule.id, firing.number);
    let span = info_span!("judge", alert = id, symbol = %rule.symbol, sequence = firing.sequence);
    set_parent(&span, cause.traceparent());
    info!(parent: &span, alert = id, symbol = %rule.symbol, price = %firing.price, "fired");
    let age = clock::now().micros().saturating_sub(cause.stored_at.micros()).max(0) as u64;
    metrics::histogram!("tickbell_alert_decision_latency_seconds").record(Duration::from_micros(age));
    let alert = AlertFired {
        id,
        rule_id: rule.id,
        number: firing.number,
        symbol: firing.symbol,
        venue: firing.venue,
        condition: rule.condition,
        fired_at: firing.fired_at,
        price: firing.price,
        reference_price: firing.reference.map(|(price, _)| price),
        reference_at: firing.reference.map(|(_, at)| at),
        change_percent: firing.change_percent,
        stream_sequence: firing.sequence,
        targets: vec![Target { channel: Channel::Email, address: rule.notify.email.clone() }],
    };
    Some(with_trace_context(alert.to_message(), traceparent(&span, cause.traceparent())))
}

fn count(changes: &Changes) {
    let suppressed = changes.firings.iter().filter(|firing| firing.suppressed.is_some()).count() as u64;
    metrics::counter!("tickbell_alerts_fired_total").increment(changes.firings.len() as u64 - suppressed);
    metrics::counter!("tickbell_alerts_suppressed_total", "reason" => "cooldown").increment(suppressed);
}
