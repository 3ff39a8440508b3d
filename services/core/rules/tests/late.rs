//! Late verdicts are what an engine would have decided that had missed nothing, less what the engine that was blind has reported.

use std::collections::{BTreeMap, HashMap};

use events::{
    FeedGap, LateHandling, LateVerdict, Notify, Period, Repeat, Rule, RuleChanged, RuleStatus, Symbol, Tick, Timestamp,
    Venue,
    feed::{GapBounds, GapReason, GapState},
    rule::RuleChange,
    tick::{TickKind, TickSource},
};
use market_data::{StoredTick, TickPosition};
use proptest::prelude::*;
use rules::{Engine, EngineState, Firing, LateDecision, MarketGap, MarketState, PastTick, RuleState, Sample};
use uuid::Uuid;

fn symbol() -> Symbol {
    Symbol::parse("BTC-USD").expect("a symbol")
}

fn venue() -> Venue {
    Venue::parse("coinbase").expect("a venue")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_700_000_000 + seconds) * 1_000_000).expect("a time")
}

fn rule(number: u128, condition: &str) -> Rule {
    Rule {
        id: Uuid::from_u128(number),
        symbol: symbol(),
        venue: None,
        condition: serde_json::from_str(condition).expect("a condition"),
        repeat: Repeat::Every,
        cooldown: Period::ZERO,
        expires_at: None,
        late: LateHandling::Tell,
        notify: Notify { email: "ada@example.com".into() },
        then: None,
    }
}

/// A tick of the market, with the sequence under which the stream has it.
#[derive(Debug, Clone)]
struct Sent {
    tick: Tick,
    id: String,
    sequence: u64,
}

impl Sent {
    fn stored(&self) -> StoredTick<'_> {
        StoredTick::of(&self.tick, &self.id, self.sequence, 0)
    }

    fn past(&self) -> PastTick {
        let position = TickPosition { sequence: self.sequence, index: 0 };
        PastTick { id: self.id.clone(), at: self.tick.at, price: self.tick.price, position }
    }
}

/// What is saved of an engine, as the database has it.
#[derive(Default)]
struct Saved {
    markets: BTreeMap<Symbol, MarketState>,
    samples: BTreeMap<(i32, i64), Sample>,
    rules: BTreeMap<Uuid, (Rule, RuleState)>,
    firings: Vec<Firing>,
    gaps: BTreeMap<String, MarketGap>,
}

impl Saved {
    fn save(&mut self, engine: &mut Engine, rules: &[Rule]) {
        let changes = engine.take_changes();
        self.markets.extend(changes.markets.into_iter().map(|market| (market.symbol.clone(), market)));
        self.samples.extend(changes.samples.into_iter().map(|sample| ((sample.grain_seconds, sample.slot), sample)));
        for state in changes.rules {
            let rule = rules.iter().find(|rule| rule.id == state.rule_id).expect("a rule").clone();
            self.rules.insert(state.rule_id, (rule, state));
        }
        self.firings.extend(changes.firings);
        self.gaps.extend(changes.gaps.into_iter().map(|gap| (gap.gap_id.clone(), gap)));
    }

    fn judged(&self) -> HashMap<String, u32> {
        let judged = self.gaps.values().filter(|gap| gap.stage == rules::GapStage::Judged);
        judged.map(|gap| (gap.gap_id.clone(), gap.revision)).collect()
    }

    fn restore(&self) -> Engine {
        Engine::restore(EngineState {
            markets: self.markets.values().cloned().collect(),
            samples: self.samples.values().cloned().collect(),
            rules: self.rules.values().cloned().collect(),
            gaps: self.gaps.values().filter(|gap| gap.stage != rules::GapStage::Judged).cloned().collect(),
        })
    }
}

/// A market whose ticks from `hole.0` on and before `hole.1` are missed at first.
struct Blind {
    rules: Vec<Rule>,
    ticks: Vec<Sent>,
    hole: (usize, usize),
}

impl Blind {
    /// `ticks` are the seconds and the prices in cents.
    fn new(rules: Vec<Rule>, ticks: &[(i64, i64)], hole: (usize, usize)) -> Self {
        let tick = |(number, (seconds, cents)): (usize, &(i64, i64))| {
            // What was missed has its place in the stream behind all others.
            let is_missed = (hole.0..hole.1).contains(&number);
            let sequence = number as u64 + 1 + if is_missed { 1_000 } else { 0 };
            let tick = Tick {
                venue: venue(),
                symbol: symbol(),
                price: format!("{}.{:02}", cents / 100, cents % 100).parse().expect("a price"),
                size: None,
                at: at(*seconds),
                received_at: at(*seconds),
                kind: TickKind::Trade,
                source: if is_missed { TickSource::Backfill } else { TickSource::Live },
            };
            Sent { tick, id: number.to_string(), sequence }
        };
        Self { rules, ticks: ticks.iter().enumerate().map(tick).collect(), hole }
    }

    fn engine(&self) -> Engine {
        let mut engine = Engine::default();
        for rule in &self.rules {
            engine.apply_change(created(rule, at(-100)), 0);
        }
        engine
    }

    fn report(&self, state: GapState) -> FeedGap {
        let (from, to) = (self.ticks[self.hole.0 - 1].tick.at, self.ticks[self.hole.1].tick.at);
        FeedGap {
            venue: venue(),
            symbol: symbol(),
            gap_id: FeedGap::id(&venue(), &symbol(), self.hole.0 as u64),
            revision: if state == GapState::Open { 1 } else { 2 },
            bounds: GapBounds::Ids,
            from,
            to: state.is_final().then_some(to),
            first_missing_id: None,
            last_missing_id: None,
            reason: GapReason::Disconnected,
            state,
            filled: if state.is_final() { (self.hole.1 - self.hole.0) as u64 } else { 0 },
        }
    }

    /// Evaluates what was not missed, with a restart before each of these ticks, and judges the gap with its report at the end.
    fn decide(&self, restarts: &[usize]) -> (Vec<LateDecision>, Saved, Engine) {
        let (mut engine, mut saved) = (self.engine(), Saved::default());
        for (number, sent) in self.ticks.iter().enumerate() {
            if restarts.contains(&number) {
                saved.save(&mut engine, &self.rules);
                engine = saved.restore();
            }
            if number == self.hole.0 {
                engine.apply_gap(&self.report(GapState::Open), sent.sequence);
            }
            if !(self.hole.0..self.hole.1).contains(&number) {
                engine.evaluate(&sent.stored());
            }
        }
        for sent in &self.ticks[self.hole.0..self.hole.1] {
            assert!(engine.evaluate(&sent.stored()).is_empty(), "a late tick fires nothing");
        }
        engine.apply_gap(&self.report(GapState::Filled), 2_000);
        saved.save(&mut engine, &self.rules);
        if restarts.contains(&self.ticks.len()) {
            engine = saved.restore();
        }
        (self.judge(&engine, &saved.firings), saved, engine)
    }

    fn judge(&self, engine: &Engine, firings: &[Firing]) -> Vec<LateDecision> {
        let gap = engine.gap_to_judge().expect("a gap").clone();
        let review = engine.review(&gap).expect("a market");
        let (before, after) = (self.ticks[self.hole.0 - 1].past(), self.ticks[self.hole.1].past());
        let fired = review.fired_since();
        let key = |firing: &Firing| (firing.fired_at, firing.position);
        let mut around = Vec::new();
        for id in fired {
            let of_rule = || firings.iter().filter(|firing| firing.rule_id == id);
            let (last, first) = (
                of_rule().rfind(|firing| key(firing) <= (before.at, before.position) && firing.suppressed.is_none()),
                of_rule().find(|firing| key(firing) > (before.at, before.position)),
            );
            around.extend(last.into_iter().chain(first).cloned());
        }
        let mut judge = review.judge(&before, Some(&after), &around);
        self.ticks[self.hole.0..self.hole.1].iter().for_each(|sent| judge.evaluate(&sent.past()));
        let between: Vec<Firing> = firings
            .iter()
            .filter(|firing| firing.fired_at >= gap.from && firing.fired_at <= after.at)
            .cloned()
            .collect();
        judge.decide(Some(&after), &between)
    }

    /// The verdicts of somebody who has seen everything: of each rule the first crossing and the number of crossings.
    fn expected(&self, blind: &[Firing]) -> BTreeMap<Uuid, (String, u64)> {
        let mut engine = self.engine();
        let mut seen: BTreeMap<Uuid, Vec<Firing>> = BTreeMap::new();
        let mut seen_after = Vec::new();
        for (number, sent) in self.ticks.iter().enumerate().take(self.hole.1 + 1) {
            for fired in engine.evaluate(&sent.stored()) {
                if fired.firing.suppressed.is_some() {
                    continue;
                }
                if number == self.hole.1 {
                    seen_after.push(fired.rule.id);
                } else if number >= self.hole.0 {
                    seen.entry(fired.rule.id).or_default().push(fired.firing);
                }
            }
        }
        let after = &self.ticks[self.hole.1];
        for firing in blind.iter().filter(|firing| firing.trade_id == after.id && firing.suppressed.is_none()) {
            let Some(crossings) = seen.get_mut(&firing.rule_id) else { continue };
            let is_up = |firing: &Firing| firing.change_percent.is_none_or(|percent| !percent.is_sign_negative());
            if !seen_after.contains(&firing.rule_id)
                && let Some(index) = crossings.iter().rposition(|crossing| is_up(crossing) == is_up(firing))
            {
                crossings.remove(index);
            }
        }
        seen.retain(|_, crossings| !crossings.is_empty());
        seen.into_iter().map(|(id, seen)| (id, (seen[0].trade_id.clone(), seen.len() as u64))).collect()
    }
}

fn created(rule: &Rule, at: Timestamp) -> RuleChanged {
    let (happened, status) = (RuleChange::Created, RuleStatus::Active);
    RuleChanged { rule: rule.clone(), revision: 1, happened, status, at }
}

fn found(decisions: &[LateDecision]) -> BTreeMap<Uuid, (String, u64)> {
    let verdicts = decisions.iter().map(|decision| &decision.verdict);
    verdicts.map(|verdict| (verdict.rule_id, (verdict.trade_id.clone(), verdict.crossings))).collect()
}

fn verdict(rule: Rule, ticks: &[(i64, i64)], hole: (usize, usize)) -> Option<LateVerdict> {
    let (decisions, ..) = Blind::new(vec![rule], ticks, hole).decide(&[]);
    decisions.into_iter().next().map(|decision| decision.verdict)
}

const FIVE_PERCENT: &str = r#"{"change": {"percent": "5"}}"#;
const ABOVE_105: &str = r#"{"price": {"above": "105"}}"#;

#[test]
fn a_crossing_that_nobody_saw_is_found_with_its_reference_and_the_extreme() {
    let ticks = [(0, 10_000), (60, 10_100), (180, 10_600), (200, 10_800), (240, 10_200), (300, 10_100), (310, 10_050)];
    let verdict = verdict(rule(7, FIVE_PERCENT), &ticks, (2, 5)).expect("a verdict");
    assert_eq!(verdict.id, "00000000-0000-0000-0000-000000000007/coinbase:BTC-USD:2");
    assert_eq!((verdict.blind_from, verdict.blind_to), (at(60), at(300)));
    assert_eq!(
        (verdict.crossed_at, verdict.price.decimal().normalize().to_string(), verdict.trade_id.as_str()),
        (at(180), "106".into(), "2")
    );
    assert_eq!(verdict.reference_price.map(|price| price.decimal().normalize().to_string()).as_deref(), Some("100"));
    assert_eq!(verdict.change_percent.map(|change| change.normalize().to_string()).as_deref(), Some("6"));
    assert_eq!((verdict.extreme_price.decimal().normalize().to_string(), verdict.extreme_at), ("108".into(), at(200)));
    assert_eq!((verdict.last_price.decimal().normalize().to_string(), verdict.last_at), ("100.5".into(), at(310)));
    assert!(verdict.is_complete);
}

#[test]
fn what_a_firing_has_reported_is_not_said_again() {
    for (condition, ticks, expected) in [
        // It stayed above: the first tick behind the gap has fired.
        (ABOVE_105, [(0, 10_000), (60, 10_600), (120, 10_700), (180, 10_700)], None),
        (FIVE_PERCENT, [(0, 10_000), (60, 10_600), (120, 10_700), (180, 10_700)], None),
        // It came back in between: that firing is another one.
        (ABOVE_105, [(0, 10_000), (60, 10_600), (120, 10_000), (180, 10_700)], Some(1)),
        // It is back: nothing has fired.
        (ABOVE_105, [(0, 10_000), (60, 10_600), (120, 10_400), (180, 10_300)], Some(1)),
        // The firing says that it fell, and not that it rose before that.
        (
            r#"{"change": {"percent": "5", "since": "2m"}}"#,
            [(0, 10_000), (121, 10_600), (122, 10_700), (123, 9_000)],
            Some(1),
        ),
        (ABOVE_105, [(0, 10_000), (60, 10_400), (120, 10_400), (180, 10_700)], None),
    ] {
        let verdict = verdict(rule(1, condition), &ticks, (1, 3));
        assert_eq!(verdict.map(|verdict| verdict.crossings), expected, "{condition} {ticks:?}");
    }
}

#[test]
fn what_the_owner_wants_of_late_verdicts_is_done() {
    let ticks = [(0, 10_000), (60, 10_600), (120, 10_200), (180, 10_100)];
    let decide = |late| Blind::new(vec![Rule { late, ..rule(1, FIVE_PERCENT) }], &ticks, (1, 3)).decide(&[]);
    assert!(decide(LateHandling::Ignore).0.is_empty());
    assert_eq!(decide(LateHandling::Tell).0[0].anchor, None);
    let (decisions, _, mut engine) = decide(LateHandling::ReAnchor);
    let anchor = decisions[0].anchor.expect("an anchor");
    assert_eq!((anchor.0.decimal().normalize().to_string(), anchor.1), ("106".into(), at(60)));
    engine.re_anchor(Uuid::from_u128(1), anchor);
    let blind = Blind::new(Vec::new(), &[(240, 10_060), (250, 10_200)], (9, 9));
    let fired = engine.evaluate(&blind.ticks[0].stored());
    assert_eq!(fired.len(), 1, "100.60 is 5 % below 106");
    engine.re_anchor(Uuid::from_u128(1), anchor);
    assert!(engine.evaluate(&blind.ticks[1].stored()).is_empty(), "the newer anchor stays");
}

#[test]
fn a_rule_sees_of_a_gap_what_came_after_it_became_active() {
    let ticks = [(0, 10_000), (60, 10_600), (90, 10_000), (150, 10_650), (160, 10_000), (180, 10_000)];
    for (became_active, expected) in [
        (at(-5), Some(at(60))),
        (at(100), Some(at(150))),
        (at(170), None),
        // By a clock that the ticks do not follow, like those of a recording.
        (at(99_999), Some(at(60))),
    ] {
        let blind = Blind::new(Vec::new(), &ticks, (1, 5));
        let (mut engine, watched) = (Engine::default(), rule(1, r#"{"change": {"percent": "5", "direction": "up"}}"#));
        engine.evaluate(&blind.ticks[0].stored());
        engine.apply_gap(&blind.report(GapState::Open), 1);
        engine.apply_change(created(&watched, became_active), 1);
        engine.evaluate(&blind.ticks[5].stored());
        engine.apply_gap(&blind.report(GapState::Filled), 2_000);
        let decisions = blind.judge(&engine, &[]);
        let found = decisions.first().map(|decision| decision.verdict.crossed_at);
        assert_eq!(found, expected, "{became_active}");
    }
    // One that became active behind the gap has seen none of it, and one that is paused by now is not asked.
    for (after, status) in [(6, RuleStatus::Active), (1, RuleStatus::Paused)] {
        let blind = Blind::new(Vec::new(), &ticks, (1, 5));
        let mut engine = Engine::default();
        engine.evaluate(&blind.ticks[0].stored());
        engine.apply_change(created(&rule(1, ABOVE_105), at(-5)), after);
        engine.evaluate(&blind.ticks[5].stored());
        let paused =
            RuleChanged { revision: 2, status, happened: RuleChange::Paused, ..created(&rule(1, ABOVE_105), at(190)) };
        if status == RuleStatus::Paused {
            engine.apply_change(paused, 6);
        }
        engine.apply_gap(&blind.report(GapState::Filled), 2_000);
        assert!(blind.judge(&engine, &[]).is_empty(), "{after} {status:?}");
    }
}

#[test]
fn what_was_filled_in_before_a_gap_belongs_to_another_one() {
    // The ticks of 60 and 90 were filled in, then another gap began behind them.
    let ticks = [(0, 10_000), (60, 10_600), (90, 10_600), (120, 10_600), (150, 10_000), (180, 10_000)];
    let blind = Blind::new(vec![rule(1, ABOVE_105)], &ticks, (1, 5));
    let mut engine = blind.engine();
    engine.evaluate(&blind.ticks[0].stored());
    engine.evaluate(&blind.ticks[5].stored());
    engine.apply_gap(&FeedGap { from: at(90), ..blind.report(GapState::Filled) }, 2_000);
    assert!(blind.judge(&engine, &[]).is_empty(), "the crossing at 60 is not in the gap");
    let (decisions, ..) = blind.decide(&[]);
    assert_eq!(found(&decisions).len(), 1);
}

#[test]
fn a_firing_says_since_when_ticks_are_missing() {
    let blind = Blind::new(
        vec![rule(1, ABOVE_105)],
        &[(0, 10_000), (60, 10_000), (90, 10_600), (120, 10_000), (150, 10_600)],
        (1, 2),
    );
    let mut engine = blind.engine();
    engine.evaluate(&blind.ticks[0].stored());
    engine.apply_gap(&blind.report(GapState::Open), 1);
    let fired = engine.evaluate(&blind.ticks[2].stored());
    assert_eq!(fired[0].firing.incomplete_since, Some(at(0)));
    assert_eq!(fired[0].clone().event().expect("an event").incomplete_since, Some(at(0)));
    engine.apply_gap(&blind.report(GapState::Filled), 3);
    // A report that is read again changes nothing.
    engine.apply_gap(&blind.report(GapState::Open), 3);
    engine.evaluate(&blind.ticks[3].stored());
    assert_eq!(engine.evaluate(&blind.ticks[4].stored())[0].firing.incomplete_since, None);
}

#[test]
fn a_gap_that_is_judged_is_followed_again_under_its_id_and_its_older_reports_change_nothing() {
    let ticks = [(0, 10_000), (60, 10_600), (90, 10_000), (120, 10_000), (150, 10_600)];
    let blind = Blind::new(vec![rule(1, ABOVE_105)], &ticks, (1, 3));
    let (mut engine, mut saved) = (blind.engine(), Saved::default());
    let report = |revision, state| FeedGap { revision, ..blind.report(state) };
    let nothing = FeedGap { to: Some(at(0)), filled: 0, ..report(2, GapState::Filled) };
    let reports = [report(1, GapState::Open), nothing, report(3, GapState::Open), report(4, GapState::Filled)];
    // A batch for each report, and one batch for all of them.
    for is_saved in [true, false] {
        engine.evaluate(&blind.ticks[0].stored());
        let mut waits = Vec::new();
        for (number, report) in reports.iter().enumerate() {
            // The report itself, and what is read again after it.
            for again in reports[..=number].iter().rev() {
                engine.note_judged_gaps(saved.judged());
                engine.apply_gap(again, 2_000);
                if is_saved {
                    saved.save(&mut engine, &blind.rules);
                    engine = saved.restore();
                }
            }
            let to_judge = engine.gap_to_judge().cloned();
            waits.push(to_judge.as_ref().map(|gap| gap.revision));
            if let Some(gap) = to_judge {
                assert_eq!(found(&blind.judge(&engine, &[])).len(), 1, "the tick of 60 would have fired");
                // A later report that comes meanwhile is not forgotten with the gap.
                engine.apply_gap(&FeedGap { revision: 5, ..report.clone() }, 2_000);
                engine.forget_gap(&gap);
                assert_eq!(engine.gap_to_judge().map(|gap| gap.revision), Some(5));
            }
        }
        assert_eq!(waits, [None, None, None, Some(4)]);
        (engine, saved) = (blind.engine(), Saved::default());
    }
    // While it is open for the second time, firings say so.
    engine.evaluate(&blind.ticks[0].stored());
    for report in &reports[..3] {
        engine.note_judged_gaps(saved.judged());
        engine.apply_gap(report, 2_000);
        saved.save(&mut engine, &blind.rules);
    }
    assert_eq!(engine.evaluate(&blind.ticks[4].stored())[0].firing.incomplete_since, Some(at(0)));
}

#[test]
fn only_gaps_that_can_be_judged_wait_for_it() {
    let report = |change: &dyn Fn(&mut FeedGap)| {
        let mut report = Blind::new(Vec::new(), &[(0, 1), (5, 1), (9, 1)], (1, 2)).report(GapState::Filled);
        change(&mut report);
        let mut engine = Engine::default();
        engine.apply_gap(&report, 5);
        engine.gap_to_judge().is_some()
    };
    assert!(report(&|_| {}));
    assert!(report(&|report| report.state = GapState::Unfillable), "what the venue has offered of it is judged");
    assert!(!report(&|report| report.state = GapState::Filling));
    assert!(!report(&|report| report.filled = 0), "nothing was missing");
    assert!(!report(&|report| report.to = Some(at(86_401))), "it is longer than a day");
}

fn conditions() -> impl Strategy<Value = String> {
    let percent = prop_oneof![Just("0.5"), Just("1"), Just("2.5")];
    let direction = prop_oneof![Just("any"), Just("up"), Just("down")];
    let since = prop_oneof![Just("previous"), Just("anchor"), Just("10s"), Just("1m"), Just("61m")];
    prop_oneof![
        3 => (percent, direction, since).prop_map(|(percent, direction, since)| format!(
            r#"{{"change": {{"percent": "{percent}", "direction": "{direction}", "since": "{since}"}}}}"#
        )),
        1 => (9_900..10_100_u32).prop_map(|cents| format!(r#"{{"price": {{"above": "{}.{:02}"}}}}"#, cents / 100, cents % 100)),
        1 => (9_900..10_100_u32).prop_map(|cents| format!(r#"{{"price": {{"below": "{}.{:02}"}}}}"#, cents / 100, cents % 100)),
    ]
}

fn watched() -> impl Strategy<Value = Vec<Rule>> {
    let cooldown = prop_oneof![2 => Just(0), 1 => Just(30), 1 => Just(600)];
    let expires = prop_oneof![4 => Just(None), 1 => (1..4_000_i64).prop_map(Some)];
    let one = (conditions(), any::<bool>(), cooldown, expires);
    prop::collection::vec(one, 1..8).prop_map(|parts| {
        let made = parts.into_iter().zip(1..).map(|((condition, once, cooldown, expires), number)| Rule {
            repeat: if once { Repeat::Once } else { Repeat::Every },
            cooldown: Period::seconds(cooldown),
            expires_at: expires.map(at),
            ..rule(number, &condition)
        });
        made.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_late_verdict_is_what_who_missed_nothing_would_have_said(
        rules in watched(),
        steps in prop::collection::vec((prop_oneof![4 => 0..5_i64, 3 => 5..90_i64, 1 => 90..4_000_i64], -300..300_i64), 4..60),
        bounds in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        restarts in prop::collection::vec(0..60_usize, 0..4),
    ) {
        let mut seconds = 0;
        let mut ticks: Vec<_> = steps.iter().map(|(after, cents)| { seconds += after; (seconds, 10_000 + cents) }).collect();
        // What is filled in is older than the last tick: of one time with it, it would not be late.
        ticks.push((seconds + 1, 10_000));
        let begin = 1 + bounds.0.index(ticks.len() - 3);
        let end = begin + 1 + bounds.1.index(ticks.len() - begin - 1);
        let blind = Blind::new(rules, &ticks, (begin, end));
        prop_assume!(ticks[end].0 - ticks[begin - 1].0 <= 86_400);
        let (decisions, saved, _) = blind.decide(&[]);
        prop_assert_eq!(found(&decisions), blind.expected(&saved.firings));
        // A restart at any time, also with the report that is read, changes nothing.
        let restarts: Vec<_> = restarts.into_iter().chain([ticks.len()]).collect();
        let (again, ..) = blind.decide(&restarts);
        prop_assert_eq!(decisions, again);
    }
}
