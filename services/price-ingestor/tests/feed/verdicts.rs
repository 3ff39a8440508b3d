//! Late verdicts about what a feed has missed, beside those of a naive judge: somebody who sees the trades that were filled in, one
//! after the other, and knows what was reported at once.

use std::collections::{BTreeMap, HashMap};

use events::{
    FeedGap, LateHandling, Notify, Period, Price, Repeat, Rule, RuleChanged, RuleStatus, Symbol, Tick, Timestamp,
    Venue, feed::GapBounds, rule::RuleChange, tick::TickSource,
};
use market_data::{StoredTick, TickPosition};
use price_ingestor::sources::exchange::continuity::GapReport;
use rules::{Engine, Firing, GapStage, MarketGap, PastTick, RuleFiring};
use uuid::Uuid;

/// What a feed publishes about a symbol.
#[derive(Debug)]
pub(crate) enum Published {
    Tick(Tick, String),
    Gap(GapReport),
}

/// The condition of a rule, and whether a price meets it.
type Condition = (&'static str, fn(Price) -> bool);

/// The conditions, a rule each. The market's prices are from 100 to 107.
const CONDITIONS: [Condition; 2] = [
    (r#"{"price": {"above": "105.5"}}"#, |price| price >= "105.5".parse().expect("a price")),
    (r#"{"price": {"below": "101.5"}}"#, |price| price <= "101.5".parse().expect("a price")),
];

/// A tick as the history has it.
struct HistoryTick {
    past: PastTick,
    is_filled_in: bool,
}

impl HistoryTick {
    /// The place of the tick in the order of the history.
    fn place(&self) -> (Timestamp, TickPosition) {
        (self.past.at, self.past.position)
    }
}

/// The gaps that were judged, with their last revisions, as the store has them.
#[derive(Default)]
struct JudgedGaps(HashMap<String, u32>);

impl JudgedGaps {
    /// Applies a report as the alert-engine does, each in a batch of its own.
    fn apply(&mut self, engine: &mut Engine, report: &FeedGap, sequence: u64) {
        engine.note_judged_gaps(
            self.0.get_key_value(&report.gap_id).map(|(id, at)| (id.clone(), *at)).into_iter().collect(),
        );
        engine.apply_gap(report, sequence);
        for gap in engine.take_changes().gaps {
            if gap.stage == GapStage::Judged {
                self.0.insert(gap.gap_id, gap.revision);
            }
        }
    }

    fn add(&mut self, engine: &mut Engine, gap: &MarketGap) {
        engine.forget_gap(gap);
        self.0.insert(gap.gap_id.clone(), gap.revision);
    }
}

/// Asserts that each gap of which trades were filled in gets the verdicts of the naive judge, and that firings say since when trades
/// are missing. Returns how many verdicts there are.
pub(crate) fn judge(seed: u64, (venue, symbol): (&Venue, &Symbol), published: &[Published]) -> usize {
    let mut engine = Engine::default();
    for (number, (condition, _)) in CONDITIONS.iter().enumerate() {
        engine.apply_change(created(symbol, number, condition), 0);
    }
    let (mut history, mut firings, mut revisions) = (Vec::new(), Vec::new(), BTreeMap::new());
    let (mut found, mut judged, mut open) = (0, JudgedGaps::default(), BTreeMap::new());
    for (event, sequence) in published.iter().zip(1..) {
        match event {
            Published::Tick(tick, id) => {
                let fired = engine.evaluate(&StoredTick::of(tick, id, sequence, 0));
                for RuleFiring { firing, .. } in fired {
                    let since = open.values().min().copied();
                    assert_eq!(firing.incomplete_since, since, "seed {seed}: {symbol} {firing:?} {open:?}");
                    firings.push(firing);
                }
                let position = TickPosition { sequence, index: 0 };
                let past = PastTick { id: id.clone(), at: tick.at, price: tick.price, position };
                history.push(HistoryTick { past, is_filled_in: tick.source == TickSource::Backfill });
            }
            Published::Gap(report) => {
                let revision = revisions.entry(report.lower_bound).or_default();
                *revision += 1;
                let report = feed_gap(venue, symbol, report, *revision);
                judged.apply(&mut engine, &report, sequence);
                if report.state.is_final() {
                    open.remove(&report.gap_id);
                } else {
                    open.insert(report.gap_id.clone(), report.from);
                }
                let waits = engine.gap_to_judge().map(|gap| (gap.gap_id.as_str(), gap.revision));
                let is_to_judge = report.state.is_final() && report.filled > 0;
                let expected = is_to_judge.then_some((report.gap_id.as_str(), report.revision));
                assert_eq!(waits, expected, "seed {seed}: {symbol} {report:?}");
            }
        }
        while let Some(gap) = engine.gap_to_judge().cloned() {
            let decided = decided(&engine, &gap, &history, &firings);
            assert_eq!(decided, naive(&gap, &history, &firings), "seed {seed}: {symbol} {gap:?}");
            found += decided.len();
            judged.add(&mut engine, &gap);
        }
    }
    found
}

fn created(symbol: &Symbol, number: usize, condition: &str) -> RuleChanged {
    let rule = Rule {
        id: Uuid::from_u128(number as u128),
        symbol: symbol.clone(),
        venue: None,
        condition: serde_json::from_str(condition).expect("a condition"),
        repeat: Repeat::Every,
        cooldown: Period::ZERO,
        expires_at: None,
        late: LateHandling::Tell,
        notify: Notify { email: "ada@example.com".into() },
        then: None,
    };
    let (happened, status) = (RuleChange::Created, RuleStatus::Active);
    RuleChanged { rule, revision: 1, happened, status, at: Timestamp::EPOCH }
}

fn feed_gap(venue: &Venue, symbol: &Symbol, report: &GapReport, revision: u32) -> FeedGap {
    let GapReport { lower_bound, from, to, first_missing_id, last_missing_id, reason, state, filled } = *report;
    FeedGap {
        venue: venue.clone(),
        symbol: symbol.clone(),
        gap_id: FeedGap::id(venue, symbol, lower_bound),
        revision,
        bounds: GapBounds::Ids,
        from,
        to,
        first_missing_id,
        last_missing_id,
        reason,
        state,
        filled,
    }
}

/// Returns the ticks around a gap and those that were filled in between, as the store finds them.
fn around<'a>(
    gap: &MarketGap,
    history: &'a [HistoryTick],
) -> Option<(&'a PastTick, Option<&'a PastTick>, Vec<&'a PastTick>)> {
    let to = gap.to.expect("a gap that is judged has an end");
    let live = || history.iter().filter(|tick| !tick.is_filled_in);
    let before = live().filter(|tick| tick.past.at <= gap.from).max_by_key(|tick| tick.place())?;
    let after = live().filter(|tick| tick.past.at >= to).min_by_key(|tick| tick.place());
    let is_between = |tick: &&HistoryTick| tick.is_filled_in && tick.past.at <= to && tick.place() > before.place();
    let mut filled: Vec<&HistoryTick> = history.iter().filter(is_between).collect();
    filled.sort_by_key(|tick| tick.place());
    let filled = filled.into_iter().map(|tick| &tick.past).collect();
    Some((&before.past, after.map(|after| &after.past), filled))
}

/// Returns the verdicts of the alert-engine: of each rule the first crossing and the number of crossings.
fn decided(
    engine: &Engine,
    gap: &MarketGap,
    history: &[HistoryTick],
    firings: &[Firing],
) -> BTreeMap<Uuid, (String, u64)> {
    let (Some(review), Some((before, after, filled))) = (engine.review(gap), around(gap, history)) else {
        return BTreeMap::new();
    };
    let place = |firing: &Firing| (firing.fired_at, firing.position);
    let mut around_before = Vec::new();
    for id in review.fired_since() {
        let of_rule = || firings.iter().filter(|firing| firing.rule_id == id);
        let is_before = |firing: &&Firing| place(firing) <= (before.at, before.position);
        around_before.extend(of_rule().rfind(is_before).into_iter().chain(of_rule().find(|firing| !is_before(firing))));
    }
    let around_before: Vec<Firing> = around_before.into_iter().cloned().collect();
    let mut judge = review.judge(before, after, &around_before);
    filled.iter().for_each(|tick| judge.evaluate(tick));
    let verdicts = judge.decide(after, firings).into_iter().map(|decision| decision.verdict);
    verdicts.map(|verdict| (verdict.rule_id, (verdict.trade_id, verdict.crossings))).collect()
}

/// Returns the same for somebody who looks at one price after the other.
fn naive(gap: &MarketGap, history: &[HistoryTick], firings: &[Firing]) -> BTreeMap<Uuid, (String, u64)> {
    let Some((before, after, filled)) = around(gap, history) else { return BTreeMap::new() };
    let mut verdicts = BTreeMap::new();
    for (number, (_, is_met)) in CONDITIONS.iter().enumerate() {
        let (id, mut was_met, mut crossings) = (Uuid::from_u128(number as u128), is_met(before.price), Vec::new());
        for tick in &filled {
            // What was filled in of an earlier gap only moves the price that the next one is compared with.
            let is_of_gap = before.at == gap.from || tick.at > gap.from;
            if is_met(tick.price) && !was_met && is_of_gap {
                crossings.push(*tick);
            }
            was_met = is_met(tick.price);
        }
        // The first price behind the gap would have fired on its own where the last one in it did not meet the condition.
        let after_fires = after.is_some_and(|after| is_met(after.price) && !was_met);
        let until = after.map(|after| (after.at, after.position));
        for firing in firings.iter().filter(|firing| firing.rule_id == id) {
            let place = (firing.fired_at, firing.position);
            let is_own = after_fires && after.is_some_and(|after| after.id == firing.trade_id);
            if place > (before.at, before.position) && until.is_none_or(|until| place <= until) && !is_own {
                // It has reported the last crossing that had happened by then.
                if let Some(reported) = crossings.iter().rposition(|crossing| crossing.at <= firing.fired_at) {
                    crossings.remove(reported);
                }
            }
        }
        if let Some(first) = crossings.first() {
            verdicts.insert(id, (first.id.clone(), crossings.len() as u64));
        }
    }
    verdicts
}
