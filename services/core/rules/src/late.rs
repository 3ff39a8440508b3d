//! Late verdicts: what rules would have decided in a gap, once its ticks are known.
//!
//! A [`GapReview`] is taken from the engine when the ticks are known. It has the rules of the market as they are now. What they
//! were before the gap follows from their firings since: a firing holds the reference that it was measured from. So nothing has to be
//! stored when a gap opens, however many rules watch the market, and it does not matter whether the report about a gap comes before
//! or after the first tick behind it. [`LateJudge`] gives the ticks of the gap to an engine of its own, and compares what that one
//! fires with the firings that there were.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use events::{
    Channel, Condition, Direction, LateHandling, LateVerdict, Price, Repeat, Rule, RuleStatus, Target, Timestamp,
    rule::PriceThreshold,
    tick::{TickKind, TickSource},
};
use market_data::{StoredTick, TickPosition};
use uuid::Uuid;

use crate::{
    engine::{Engine, is_anchored},
    gaps::{GapStage, MarketGap},
    state::{EngineState, Firing, MarketState, Reference, RuleState, Sample},
};

/// Of one rule and gap, so many crossings are compared with firings; further ones are only counted.
const MAX_COMPARED: usize = 1_000;

/// A tick as the history has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTick {
    /// The id of the tick.
    pub id: String,
    /// The time of the tick.
    pub at: Timestamp,
    /// The price of the tick.
    pub price: Price,
    /// Its position in stream `TICKS`.
    pub position: TickPosition,
}

/// What is needed to judge a gap, as it was at one moment.
#[derive(Debug, Clone)]
pub struct GapReview {
    /// The gap to judge.
    pub gap: MarketGap,
    rules: Vec<(Arc<Rule>, RuleState)>,
    samples: Vec<Sample>,
    last: Reference,
}

/// A late verdict, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateDecision {
    /// The verdict as it is published.
    pub verdict: LateVerdict,
    /// The price that changes are measured from now on, where the rule asks for it.
    pub anchor: Option<Reference>,
}

/// Judges the ticks of a gap, one after the other.
#[derive(Debug)]
pub struct LateJudge {
    gap: MarketGap,
    last: Reference,
    /// The time and the position of the last tick before the gap.
    before: (Timestamp, TickPosition),
    engine: Engine,
    /// Ticks up to this time were filled in before the gap, and belong to another one. They only move what rules measure from.
    filled_before: Option<Timestamp>,
    /// The rules that became active in the gap, by that time.
    waiting: BTreeMap<(Timestamp, Uuid), (Arc<Rule>, RuleState)>,
    crossings: HashMap<Uuid, Crossings>,
    highest: Option<Reference>,
    lowest: Option<Reference>,
}

#[derive(Debug)]
struct Crossings {
    rule: Arc<Rule>,
    compared: Vec<Firing>,
    count: u64,
}

impl Engine {
    /// Returns what is needed to judge a gap; none when its market has never ticked or its end is not known.
    pub fn review(&self, gap: &MarketGap) -> Option<GapReview> {
        gap.to?;
        let (market, entries) = self.watched(&gap.symbol, &gap.venue)?;
        let rules = entries
            .into_iter()
            .filter(|entry| entry.rule.late != LateHandling::Ignore && was_active_in(gap, &entry.rule, &entry.state));
        Some(GapReview {
            gap: gap.clone(),
            rules: rules.map(|entry| (entry.rule.clone(), entry.state.clone())).collect(),
            samples: market.samples_until(gap.from),
            last: market.last(),
        })
    }
}

/// Returns whether a rule has judged ticks behind the beginning of a gap, or would have. A rule that its owner has paused or
/// deleted since is not judged.
fn was_active_in(gap: &MarketGap, rule: &Rule, state: &RuleState) -> bool {
    match state.status {
        RuleStatus::Active => true,
        RuleStatus::Done => state.last_fired_at.is_some_and(|at| at >= gap.from),
        RuleStatus::Expired => rule.expires_at.is_some_and(|at| at > gap.from),
        RuleStatus::Pending | RuleStatus::Paused | RuleStatus::Deleted => false,
    }
}

impl GapReview {
    /// Returns whether no rule is to be judged.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns the rules that have fired since the gap began: their firings are needed to know what they were before it.
    pub fn fired_since(&self) -> Vec<Uuid> {
        let has_fired = |state: &RuleState| state.last_fired_at.is_some_and(|at| at >= self.gap.from);
        self.rules.iter().filter(|(_, state)| has_fired(state)).map(|(rule, _)| rule.id).collect()
    }

    /// Begins to judge. `before` is the last tick before the gap and `after` the first one behind it. `firings` are, of each rule
    /// of [`GapReview::fired_since`], the last one up to `before` that was not suppressed and the first one after it.
    pub fn judge(self, before: &PastTick, after: Option<&PastTick>, firings: &[Firing]) -> LateJudge {
        let Self { gap, rules, samples, last } = self;
        let to = gap.to.unwrap_or(Timestamp::LAST);
        let (mut at_start, mut waiting) = (Vec::new(), BTreeMap::new());
        for (rule, mut state) in rules {
            // A rule that became active behind the gap has seen none of it.
            if after.is_some_and(|after| state.active_after >= after.position.sequence) {
                continue;
            }
            let of_rule = firings.iter().filter(|firing| firing.rule_id == rule.id);
            if !rewind(&rule, &mut state, before, of_rule) {
                continue;
            }
            // Times that do not follow the clock, like those of a recording, say nothing about when the rule became active.
            if gap.from < state.active_since && state.active_since < to {
                waiting.insert((state.active_since, rule.id), (rule, state));
            } else {
                at_start.push((rule, state));
            }
        }
        let market = MarketState {
            symbol: gap.symbol.clone(),
            venue: gap.venue.clone(),
            is_primary: true,
            last_sequence: before.position.sequence,
            last_at: before.at,
            last_price: before.price,
            newest_ids: vec![before.id.clone()],
        };
        let samples = with_sample_of(samples, &gap, before);
        // Whether a rule has seen a tick is known by sequences, which stand for nothing in a stream that was created anew.
        for (_, state) in &mut at_start {
            state.active_after = state.active_after.min(before.position.sequence);
        }
        let rules = at_start.into_iter().map(|(rule, state)| (Rule::clone(&rule), state)).collect();
        let engine = Engine::restore(EngineState { markets: vec![market], samples, rules, gaps: Vec::new() });
        let filled_before = (before.at < gap.from).then_some(gap.from);
        let crossings = HashMap::new();
        let before = (before.at, before.position);
        LateJudge { gap, last, before, engine, filled_before, waiting, crossings, highest: None, lowest: None }
    }
}

/// Makes the state of a rule what it was after the tick `before`. Returns false for a rule that was done by then.
fn rewind<'a>(
    rule: &Rule,
    state: &mut RuleState,
    before: &PastTick,
    firings: impl Iterator<Item = &'a Firing>,
) -> bool {
    let key = (before.at, before.position);
    let (mut last, mut first): (Option<&Firing>, Option<&Firing>) = (None, None);
    let mut has_fired = false;
    for firing in firings {
        has_fired = true;
        if (firing.fired_at, firing.position) > key {
            first = Some(first.map_or(firing, |first| if firing.number < first.number { firing } else { first }));
        } else if firing.suppressed.is_none() {
            last = Some(last.map_or(firing, |last| if firing.number > last.number { firing } else { last }));
        }
    }
    state.status = RuleStatus::Active;
    if has_fired {
        state.last_fired_at = last.map(|firing| firing.fired_at);
    }
    if let Some(first) = first {
        state.reference = first.reference.filter(|_| state.reference.is_some());
    }
    rule.repeat == Repeat::Every || last.is_none()
}

/// Adds the sample of the last tick before a gap. A tick behind the gap has replaced it where both are in one slot.
fn with_sample_of(mut samples: Vec<Sample>, gap: &MarketGap, before: &PastTick) -> Vec<Sample> {
    for grain_seconds in [1, 60] {
        let grain = i64::from(grain_seconds) * 1_000_000;
        let slot = (before.at.micros() + grain - 1).div_euclid(grain);
        samples.retain(|sample| sample.grain_seconds != grain_seconds || sample.slot < slot);
        let (symbol, venue) = (gap.symbol.clone(), gap.venue.clone());
        samples.push(Sample { symbol, venue, grain_seconds, slot, at: before.at, price: before.price });
    }
    samples
}

impl LateJudge {
    /// Judges the next tick of the gap, in the order of their times.
    pub fn evaluate(&mut self, tick: &PastTick) {
        while let Some(entry) = self.waiting.first_entry()
            && entry.key().0 < tick.at
        {
            let (rule, state) = entry.remove();
            self.engine.add_active(rule, state);
        }
        if self.filled_before.is_some_and(|until| tick.at <= until) {
            self.engine.evaluate(&stored(&self.gap, tick));
            return;
        }
        let price = (tick.price, tick.at);
        self.highest = self.highest.filter(|highest| tick.price <= highest.0).or(Some(price));
        self.lowest = self.lowest.filter(|lowest| tick.price >= lowest.0).or(Some(price));
        for fired in self.engine.evaluate(&stored(&self.gap, tick)) {
            if fired.firing.suppressed.is_some() {
                continue;
            }
            let rule = fired.rule;
            let of_rule = self.crossings.entry(rule.id);
            let of_rule = of_rule.or_insert_with(|| Crossings { rule, compared: Vec::new(), count: 0 });
            of_rule.count += 1;
            if of_rule.compared.len() < MAX_COMPARED {
                of_rule.compared.push(fired.firing);
            }
        }
    }

    /// Returns the rules that would have fired.
    pub fn crossed(&self) -> Vec<Uuid> {
        self.crossings.keys().copied().collect()
    }

    /// Returns the decisions, in the order of rules. `after` is the first tick behind the gap, and `firings` are those of the rules
    /// that crossed from the gap's beginning to `after`, in the order of their numbers.
    pub fn decide(mut self, after: Option<&PastTick>, firings: &[Firing]) -> Vec<LateDecision> {
        let fires_after = match after {
            Some(after) => self.engine.evaluate(&stored(&self.gap, after)),
            None => Vec::new(),
        };
        let mut decisions = Vec::new();
        for (id, mut crossings) in std::mem::take(&mut self.crossings) {
            // Of ticks of one time, only those between the two around the gap count.
            let until = after.map_or((Timestamp::LAST, TickPosition::default()), |after| (after.at, after.position));
            let is_between = |firing: &&Firing| {
                let at = (firing.fired_at, firing.position);
                firing.rule_id == id && firing.suppressed.is_none() && at > self.before && at <= until
            };
            for firing in firings.iter().filter(is_between) {
                let is_its_own = after.is_some_and(|after| after.id == firing.trade_id)
                    && fires_after.iter().any(|late| late.rule.id == id && late.firing.suppressed.is_none());
                if !is_its_own && crossings.remove_reported_by(firing) {
                    crossings.count -= 1;
                }
            }
            decisions.extend(self.decision(&crossings));
        }
        decisions.sort_unstable_by_key(|decision| decision.verdict.rule_id);
        decisions
    }

    fn decision(&self, crossings: &Crossings) -> Option<LateDecision> {
        let (rule, first, last) = (&crossings.rule, crossings.compared.first()?, crossings.compared.last()?);
        let (extreme_price, extreme_at) = self.extreme(rule.condition, first)?;
        let GapStage::Known { is_complete, .. } = self.gap.stage else { return None };
        let verdict = LateVerdict {
            id: LateVerdict::id_of(rule.id, &self.gap.gap_id),
            rule_id: rule.id,
            gap_id: self.gap.gap_id.clone(),
            symbol: self.gap.symbol.clone(),
            venue: self.gap.venue.clone(),
            condition: rule.condition,
            blind_from: self.gap.from,
            blind_to: self.gap.to?,
            is_complete,
            crossed_at: first.fired_at,
            price: first.price,
            reference_price: first.reference.map(|(price, _)| price),
            reference_at: first.reference.map(|(_, at)| at),
            change_percent: first.change_percent,
            trade_id: first.trade_id.clone(),
            crossings: crossings.count,
            extreme_price,
            extreme_at,
            last_price: self.last.0,
            last_at: self.last.1,
            targets: vec![Target { channel: Channel::Email, address: rule.notify.email.clone() }],
        };
        let re_anchors = rule.late == LateHandling::ReAnchor && is_anchored(rule.condition);
        Some(LateDecision { verdict, anchor: re_anchors.then_some((last.price, last.fired_at)) })
    }

    /// Returns the price of the gap that went farthest in the direction of a crossing.
    fn extreme(&self, condition: Condition, crossing: &Firing) -> Option<Reference> {
        if is_upwards(condition, crossing) { self.highest } else { self.lowest }
    }
}

impl Crossings {
    /// Removes the crossing that a firing has reported: that of its own tick, or else the last one before it in its direction, which
    /// the engine had to see at the first tick that it got.
    fn remove_reported_by(&mut self, firing: &Firing) -> bool {
        let own = self.compared.iter().position(|crossing| crossing.trade_id == firing.trade_id);
        let is_upwards = |firing: &Firing| is_upwards(self.rule.condition, firing);
        let reported = own.or_else(|| {
            self.compared.iter().rposition(|crossing| {
                crossing.fired_at <= firing.fired_at && is_upwards(crossing) == is_upwards(firing)
            })
        });
        reported.map(|index| self.compared.remove(index)).is_some()
    }
}

fn stored<'tick>(gap: &'tick MarketGap, tick: &'tick PastTick) -> StoredTick<'tick> {
    StoredTick {
        venue: &gap.venue,
        symbol: &gap.symbol,
        kind: TickKind::Trade,
        source: TickSource::Backfill,
        received_at: tick.at,
        id: &tick.id,
        at: tick.at,
        price: tick.price,
        size: None,
        position: tick.position,
    }
}

fn is_upwards(condition: Condition, firing: &Firing) -> bool {
    match condition {
        Condition::Price(PriceThreshold::Above(_)) => true,
        Condition::Price(PriceThreshold::Below(_)) => false,
        Condition::Change(change) => match change.direction {
            Direction::Up => true,
            Direction::Down => false,
            Direction::Any => firing.change_percent.is_none_or(|percent| !percent.is_sign_negative()),
        },
    }
}
