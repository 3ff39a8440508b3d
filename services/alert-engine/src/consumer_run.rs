//! What the engine decides about ticks and changes of rules, and how a batch is saved.
//!
//! All come from streams that are merged by the time at which the broker stored their messages: a rule is evaluated against the ticks
//! that were stored after its last change, however far behind the engine is. A report about a gap comes after the ticks that it says
//! were filled in.

use std::{collections::HashMap, mem, ops::Range, time::Duration};

use ::rules::{Changes, Engine, RuleFiring};
use events::{AlertFired, Event, FeedGap, OutboundMessage, RuleChanged, TickPage, Timestamp, tick::page_of_one};
use futures::future::BoxFuture;
use market_data::{MaxAhead, SkippedTicks, StoredPage};
use platform::{
    Broker, Check, DecodeError, Message, ServiceError,
    broker::publish::with_trace_context,
    clock,
    telemetry::trace_context::{set_parent, traceparent},
};
use store::{
    Error, Store,
    consumer::{
        missing_rows::{Row, count_without_row},
        position::ForgetSequences,
        runner::{ConsumerRun, lead},
        service::{Commit, ConsumerService, Decided, Plan, Publish},
    },
    rules::{
        engine_state::{self, EngineConnection},
        market_gaps,
    },
};
use tracing::{debug, info, info_span, warn};
use uuid::Uuid;

use crate::{
    SERVICE, Settings,
    late_verdicts::{self, LateVerdicts},
};

/// The durable consumers of streams `TICKS`, `RULES` and `FEEDS`. Of a tick and another message of the same microsecond the tick goes
/// first.
const CONSUMERS: [&str; 3] = [SERVICE, "alert-engine-rules", "alert-engine-feeds"];
/// The index of the consumer of ticks.
const TICKS: usize = 0;
/// The index of the consumer of changes of rules.
const RULES: usize = 1;
/// The time for which ticks that fire nothing are evaluated before they are committed together.
const GATHER: Duration = Duration::from_millis(50);
/// The number of rules that one log line names.
const MAX_NAMED: usize = 10;

pub(crate) async fn run(
    broker: &Broker,
    store: &Store,
    check: &Check,
    settings: &Settings,
    max_ahead: MaxAhead,
) -> Result<(), ServiceError> {
    let service = AlertEngine { store: store.clone(), max_ahead };
    let plan = Plan {
        gather: GATHER,
        publish: Publish::WhileDeciding,
        maintain_every: Some(late_verdicts::LOOK_EVERY),
        ..Plan::new(SERVICE, &CONSUMERS, settings.batch)
    };
    let work = Box::pin(async {
        let run = ConsumerRun::open(&service, store, broker, plan).await?;
        check.ready();
        run.run(check).await
    });
    lead(store, broker, SERVICE, check, work).await.map(|never| match never {})
}

struct AlertEngine {
    store: Store,
    max_ahead: MaxAhead,
}

struct State {
    engine: Engine,
    connection: EngineConnection,
    /// Whether the batch has a change of a rule, or a report about a gap.
    has_changes: bool,
    /// The sequence of the last evaluated page of ticks, which may not be committed yet.
    evaluated: u64,
    /// The number of ticks of the batch that the engine was given.
    ticks: u64,
    /// The revisions that were applied of those rules of the current messages that the engine does not have. A rule that was
    /// deleted would begin anew where stream `RULES` is read again.
    applied: HashMap<Uuid, i64>,
    /// The last change of each rule that the current messages change, as the database has it.
    saved_changes: HashMap<Uuid, RuleChanged>,
    /// The rules of the batch whose change is not in the database.
    without_row: Vec<Uuid>,
    late_verdicts: LateVerdicts,
}

enum Input {
    /// The ticks of a page. The history-writer gives up those that nobody may use.
    Page(StoredPage),
    RuleChanged(Box<RuleChanged>),
    Gap(Box<FeedGap>),
}

impl ConsumerService for AlertEngine {
    type Event = Input;
    type State = State;
    type Effects = Changes;
    /// The rows of the outbox with the events of the batch, where they are known.
    type Saved = Option<Vec<i64>>;
    type Reject = DecodeError;

    fn forget_sequences(&self, consumer: &str) -> Option<ForgetSequences> {
        let forget: ForgetSequences = |tx| Box::pin(engine_state::forget_sequences(tx));
        (consumer == CONSUMERS[TICKS]).then_some(forget)
    }

    async fn restore(&self, positions: &[u64]) -> Result<State, ServiceError> {
        let engine = Engine::restore(engine_state::load(&self.store).await?);
        let connection = engine_state::connect(&self.store).await?;
        let (evaluated, applied) = (positions[TICKS], HashMap::new());
        let (saved_changes, without_row) = (HashMap::new(), Vec::new());
        let late_verdicts = LateVerdicts::default();
        Ok(State {
            engine,
            connection,
            has_changes: false,
            evaluated,
            ticks: 0,
            applied,
            saved_changes,
            without_row,
            late_verdicts,
        })
    }

    fn decode(&self, consumer: usize, message: &Message) -> Result<Input, DecodeError> {
        match consumer {
            TICKS => {}
            RULES => return message.event().map(|change| Input::RuleChanged(Box::new(change))),
            _ => return message.event().map(|gap| Input::Gap(Box::new(gap))),
        }
        let (sequence, stored_at) = (message.sequence, message.stored_at);
        message
            .read(TickPage::TYPE, |body| StoredPage::read(body, sequence, stored_at, self.max_ahead))
            .map(Input::Page)
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
        match input {
            Input::Page(page) => page.last_at(),
            Input::RuleChanged(change) => Some(change.ce_time()),
            Input::Gap(gap) => Some(gap.ce_time()),
        }
    }

    /// Reads the rows of the rules that the messages change, and which of the gaps are judged. A change is saved before it is
    /// published.
    async fn prepare(&self, state: &mut State, inputs: &[&Input]) -> Result<(), ServiceError> {
        let changed = inputs.iter().filter_map(|input| match input {
            Input::RuleChanged(change) => Some(change.rule.id),
            Input::Page(_) | Input::Gap(_) => None,
        });
        let gaps: Vec<&str> = inputs
            .iter()
            .filter_map(|input| if let Input::Gap(gap) = input { Some(gap.gap_id.as_str()) } else { None })
            .collect();
        if !gaps.is_empty() {
            state.engine.note_judged_gaps(market_gaps::list_judged(&self.store, &gaps).await?);
        }
        let changed: Vec<Uuid> = changed.collect();
        if changed.is_empty() {
            return Ok(());
        }
        state.saved_changes = engine_state::last_changes(&self.store, &changed).await?;
        let unknown: Vec<Uuid> = changed.into_iter().filter(|rule| !state.engine.has_rule(*rule)).collect();
        state.applied = match unknown.as_slice() {
            [] => HashMap::new(),
            unknown => engine_state::list_revisions(&self.store, unknown).await?,
        };
        Ok(())
    }

    fn observe(&self, state: &mut State, consumer: usize, message: &Message) {
        if consumer == TICKS {
            state.evaluated = message.sequence;
        }
    }

    fn decide(
        &self,
        state: &mut State,
        input: Input,
        message: &Message,
        decided: &mut Decided<Changes>,
    ) -> Result<(), DecodeError> {
        state.has_changes |= !matches!(input, Input::Page(_));
        match input {
            Input::Page(page) => {
                state.ticks += page.ticks().len() as u64;
                for tick in page.ticks() {
                    let firings = state.engine.evaluate(&tick);
                    decided.events.extend(firings.into_iter().filter_map(|firing| alert(firing, message)));
                }
                page.refused().iter().for_each(|refused| count_skipped(refused.refusal.as_str(), 1));
            }
            Input::Gap(gap) => state.engine.apply_gap(&gap, state.evaluated),
            Input::RuleChanged(change) if state.applied.get(&change.rule.id) >= Some(&change.revision) => {}
            Input::RuleChanged(change) => {
                let (rule, status) = (change.rule.id, change.status.as_str());
                debug!(%rule, revision = change.revision, status, "applying a rule change");
                if let Some(change) = state.confirm(*change) {
                    state.engine.apply_change(change, state.evaluated);
                }
            }
        }
        Ok(())
    }

    fn finish(&self, state: &mut State, decided: &mut Decided<Changes>) {
        state.has_changes = false;
        decided.effects = state.engine.take_changes();
        count_firings(&decided.effects);
        report_without_row(&mem::take(&mut state.without_row));
        let skipped = state.engine.take_skipped();
        skipped.by_reason().into_iter().for_each(|(reason, ticks)| count_skipped(reason, ticks));
        let judged = mem::take(&mut state.ticks) - skipped.total();
        metrics::counter!("tickbell_ticks_judged_total").increment(judged);
    }

    /// Judges gaps whose ticks are known, one after the other.
    async fn maintain(&self, state: &mut State) -> Result<bool, ServiceError> {
        let State { engine, late_verdicts, .. } = state;
        late_verdicts.go_on(&self.store, engine).await
    }

    /// Somebody waits for a firing, and whoever has changed a rule for that it is followed.
    fn is_waited_for(&self, state: &State, decided: &Decided<Changes>) -> bool {
        state.has_changes || !decided.events.is_empty()
    }

    fn commit(
        &self,
        state: &mut State,
        commit: Commit<Changes>,
    ) -> BoxFuture<'static, Result<Option<Vec<i64>>, Error>> {
        Box::pin(state.connection.commit(commit))
    }

    fn outbox_rows(&self, saved: &Option<Vec<i64>>) -> Option<Vec<i64>> {
        saved.clone()
    }
}

impl State {
    /// Returns a change as the database has it. A change that is newer than the row of its rule was lost with the database
    /// that had it: a backup is older than the stream. The row is then what holds, and without a row nothing does.
    fn confirm(&mut self, change: RuleChanged) -> Option<RuleChanged> {
        let saved = self.saved_changes.get(&change.rule.id);
        if saved.is_some_and(|saved| saved.revision >= change.revision) {
            return Some(change);
        }
        self.without_row.push(change.rule.id);
        saved.cloned()
    }
}

/// Counts the rules whose change is not in the database, and names the first of them in one line.
fn report_without_row(rules: &[Uuid]) {
    if rules.is_empty() {
        return;
    }
    let named: Vec<String> = rules.iter().take(MAX_NAMED).map(Uuid::to_string).collect();
    warn!(
        rules = rules.len(),
        named = named.join(" "),
        "passed over changes of rules that the database does not have: it was restored from a backup that is older"
    );
    count_without_row(SERVICE, Row::Rule, rules.len() as u64);
}

/// Returns the message to publish for a firing; none for a suppressed one.
fn alert(firing: RuleFiring, cause: &Message) -> Option<OutboundMessage> {
    let alert = firing.event()?;
    let AlertFired { id, symbol, price, .. } = &alert;
    let span = info_span!("evaluate", alert = id, %symbol, sequence = alert.stream_sequence);
    set_parent(&span, cause.traceparent());
    info!(parent: &span, alert = id, %symbol, %price, "rule fired");
    let age = clock::now().micros().saturating_sub(cause.stored_at.micros()).max(0) as u64;
    metrics::histogram!("tickbell_alert_decision_latency_seconds").record(Duration::from_micros(age));
    Some(with_trace_context(alert.to_message(), traceparent(&span, cause.traceparent())))
}

fn count_firings(changes: &Changes) {
    let suppressed = changes.firings.iter().filter(|firing| firing.suppressed.is_some()).count() as u64;
    metrics::counter!("tickbell_alerts_fired_total").increment(changes.firings.len() as u64 - suppressed);
    metrics::counter!("tickbell_alerts_suppressed_total", "reason" => "cooldown").increment(suppressed);
}

/// Registers the counters at zero, so that their first count is a step.
pub(crate) fn register_metrics() {
    metrics::counter!("tickbell_alerts_fired_total").increment(0);
    SkippedTicks::REASONS.into_iter().for_each(|reason| count_skipped(reason, 0));
    count_without_row(SERVICE, Row::Rule, 0);
    late_verdicts::register_metrics();
}

fn count_skipped(reason: &'static str, ticks: u64) {
    metrics::counter!("tickbell_ticks_skipped_total", "service" => SERVICE, "reason" => reason).increment(ticks);
}
