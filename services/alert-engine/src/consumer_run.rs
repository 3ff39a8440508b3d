//! One consumer run of the engine: from the committed positions on, until something fails.
//!
//! Rules and ticks come from two streams and are merged by the time at which the broker stored them: a rule is evaluated
//! against the ticks that were stored after it, however far behind the engine is.

use std::{collections::VecDeque, time::Duration};

use ::rules::{Changes, Engine, RuleFiring};
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
    rules::engine_state,
};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, info_span};

use crate::{SERVICE, Settings};

/// The durable consumer of stream `RULES`.
const RULES: &str = "alert-engine-rules";
/// The maximum number of rule changes per batch.
const RULES_BATCH: usize = 2_000;
/// How long rule changes wait for ticks that the broker announced; ticks that were purged never come.
const MAX_TICK_WAIT: Duration = Duration::from_millis(300);

/// Both consumers, the engine, and what was received and is not applied yet.
struct ConsumerRun<'a> {
    store: &'a Store,
    broker: &'a Broker,
    engine: Engine,
    ticks: OrderedConsumer,
    rules: OrderedConsumer,
    /// The sequence of the last evaluated tick, which may not be committed yet.
    evaluated: u64,
    /// The committed positions.
    ticks_position: u64,
    rules_position: u64,
    /// The rule changes that were received and are not applied yet.
    pending_rules: VecDeque<Message>,
    rules_batch: Option<Batch>,
    /// The time until which pending rule changes wait for ticks.
    tick_wait_deadline: Instant,
}

/// What one transaction saves.
#[derive(Default)]
struct Decided {
    alerts: Vec<OutboundMessage>,
    dead_letters: Vec<DeadLetter>,
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
    let mut leader_lock = leader_lock::acquire(store, SERVICE, check).await?;
    relay::publish_pending(store, SERVICE, broker).await?;
    let ticks_position =
        position::read(store, SERVICE, OrderedConsumer::stream_created(broker, SERVICE).await?).await?;
    let rules_position = position::read(store, RULES, OrderedConsumer::stream_created(broker, RULES).await?).await?;
    if ticks_position == 0 {
        engine_state::reset_sequences(store).await?;
    }
    let engine = Engine::restore(engine_state::load(store).await?);
    info!(service = SERVICE, rules = engine.active_rules(), ticks_position, rules_position, "state restored");
    let mut run = ConsumerRun {
        store,
        broker,
        engine,
        ticks: OrderedConsumer::open(broker, SERVICE, ticks_position).await?,
        rules: OrderedConsumer::open(broker, RULES, rules_position).await?,
        evaluated: ticks_position,
        ticks_position,
        rules_position,
        pending_rules: VecDeque::new(),
        rules_batch: None,
        tick_wait_deadline: Instant::now(),
    };
    check.ready();
    let lost = leader_lock.lost();
    tokio::pin!(lost);
    loop {
        tokio::select! {
            fault = &mut lost => return Err(fault),
            ended = run.step(settings.batch) => ended?,
        }
    }
}

impl ConsumerRun<'_> {
    /// Waits for the next batch, decides and saves it, publishes and acknowledges.
    async fn step(&mut self, most: usize) -> Result<(), ServiceError> {
        let batch = tokio::select! {
            batch = self.ticks.next(most) => Some(batch),
            batch = self.rules.next(RULES_BATCH), if self.pending_rules.len() < RULES_BATCH => {
                self.tick_wait_deadline = Instant::now() + MAX_TICK_WAIT;
                self.pending_rules.extend(batch.messages.iter().cloned());
                self.rules_batch = Some(batch);
                None
            }
            () = sleep_until(self.tick_wait_deadline), if !self.pending_rules.is_empty() => None,
        };
        let began = Instant::now();
        let decided = self.decide(batch.as_ref());
        self.commit(batch.as_ref(), decided).await?;
        if let Some(batch) = &batch {
            self.ticks.acknowledge(batch).await;
            metrics::counter!("tickbell_ticks_judged_total").increment(batch.messages.len() as u64);
            metrics::gauge!("tickbell_consumer_lag", "consumer" => SERVICE).set(self.ticks.pending() as f64); // float: a gauge is one
        }
        metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => SERVICE).record(began.elapsed());
        Ok(())
    }

    /// Applies the ticks of a batch, each after the rule changes that were stored before it.
    fn decide(&mut self, ticks: Option<&Batch>) -> Decided {
        let mut decided = Decided::default();
        for message in ticks.iter().flat_map(|batch| &batch.messages) {
            self.apply_rules(Some(message.stored_at), &mut decided);
            self.evaluate(message, &mut decided);
        }
        if self.ticks.pending() == 0 || Instant::now() >= self.tick_wait_deadline {
            self.apply_rules(None, &mut decided);
        }
        decided
    }

    /// Applies the pending rule changes that were stored before `until`, or all of them.
    fn apply_rules(&mut self, until: Option<Timestamp>, decided: &mut Decided) {
        while let Some(message) = self.pending_rules.front()
            && until.is_none_or(|until| message.stored_at < until)
        {
            match message.event::<RuleChanged>() {
                Ok(change) => {
                    debug!(rule = %change.rule.id, revision = change.revision, status = change.status.as_str(), "applying rule change");
                    decided.last_rule_at = Some(change.at);
                    self.engine.apply_change(change, self.evaluated);
                }
                Err(reason) => decided.dead_letters.push(message.dead_letter(SERVICE, self.rules.stream(), &reason)),
            }
            decided.rules_to = Some(message.sequence);
            self.pending_rules.pop_front();
        }
    }

    fn evaluate(&mut self, message: &Message, decided: &mut Decided) {
        match message.event::<Tick>() {
            Ok(tick) => {
                decided.last_tick_at = Some(tick.at);
                for firing in self.engine.evaluate(&tick, message.sequence) {
                    decided.alerts.extend(alert(firing, message));
                }
            }
            Err(reason) => decided.dead_letters.push(message.dead_letter(SERVICE, self.ticks.stream(), &reason)),
        }
        self.evaluated = message.sequence;
    }

    /// Saves a batch in one transaction, then publishes. The caller acknowledges.
    async fn commit(&mut self, ticks: Option<&Batch>, decided: Decided) -> Result<(), ServiceError> {
        let Decided { alerts, dead_letters, last_tick_at, last_rule_at, rules_to } = decided;
        if ticks.is_none() && rules_to.is_none() {
            return Ok(());
        }
        let changes = self.engine.take_changes();
        count_firings(&changes);
        let publish = !alerts.is_empty() || !dead_letters.is_empty();
        let ticks_to = ticks.map(|batch| batch.last);
        let (rules_from, ticks_from) = (self.rules_position, self.ticks_position);
        let ticks_moved =
            ticks_to.map(|to| Advance { consumer: SERVICE, from: ticks_from, to, last_event_at: last_tick_at });
        let rules_moved =
            rules_to.map(|to| Advance { consumer: RULES, from: rules_from, to, last_event_at: last_rule_at });
        let moved: Vec<Advance> = ticks_moved.into_iter().chain(rules_moved).collect();
        self.store
            .transaction(move |tx| {
                Box::pin(async move {
                    advance(tx, &moved).await?;
                    engine_state::save(tx, &changes).await?;
                    dead_letters::add(tx, SERVICE, &dead_letters).await?;
                    outbox::add(tx, SERVICE, &alerts).await
                })
            })
            .await?;
        self.ticks_position = ticks_to.unwrap_or(ticks_from);
        self.rules_position = rules_to.unwrap_or(rules_from);
        if publish {
            relay::publish_pending(self.store, SERVICE, self.broker).await?;
        }
        if self.pending_rules.is_empty()
            && let Some(batch) = self.rules_batch.take()
        {
            self.rules.acknowledge(&batch).await;
        }
        Ok(())
    }
}

/// Returns the message to publish for a firing; none for a suppressed one.
fn alert(firing: RuleFiring, cause: &Message) -> Option<OutboundMessage> {
    let RuleFiring { rule, firing } = firing;
    if firing.suppressed.is_some() {
        return None;
    }
    let id = AlertFired::id_of(rule.id, firing.number);
    let span = info_span!("evaluate", alert = id, symbol = %rule.symbol, sequence = firing.sequence);
    set_parent(&span, cause.traceparent());
    info!(parent: &span, alert = id, symbol = %rule.symbol, price = %firing.price, "rule fired");
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

fn count_firings(changes: &Changes) {
    let suppressed = changes.firings.iter().filter(|firing| firing.suppressed.is_some()).count() as u64;
    metrics::counter!("tickbell_alerts_fired_total").increment(changes.firings.len() as u64 - suppressed);
    metrics::counter!("tickbell_alerts_suppressed_total", "reason" => "cooldown").increment(suppressed);
}
