//! Compares the engine with the worked example of the specification, and with a naive engine that stores every tick and
//! looks at every rule.

use std::collections::BTreeMap;

use events::{
    Baseline, Condition, Direction, LateHandling, Notify, Period, Price, Repeat, Rule, RuleChanged, RuleStatus, Symbol,
    Tick, Timestamp, Venue,
    rule::{Change, PriceThreshold, RuleChange},
    tick::{TickKind, TickSource},
};
use market_data::{StoredTick, TickPosition};
use proptest::prelude::*;
use rules::{Engine, EngineState, Firing, RuleFiring};
use uuid::Uuid;

fn symbol() -> Symbol {
    Symbol::parse("BTC-USD").expect("a symbol")
}

fn venue(number: u8) -> Venue {
    Venue::parse(["one", "two"][usize::from(number) % 2]).expect("a venue")
}

fn tick(venue: Venue, at_ms: i64, price: &str) -> Tick {
    let at = Timestamp::from_micros(at_ms * 1_000).expect("a time");
    Tick {
        venue,
        symbol: symbol(),
        price: price.parse().expect("a price"),
        size: None,
        at,
        received_at: at,
        kind: TickKind::Trade,
        source: TickSource::File,
    }
}

/// Evaluates a tick whose sequence is also its id.
fn evaluate(engine: &mut Engine, tick: &Tick, sequence: u64) -> Vec<RuleFiring> {
    engine.evaluate(&StoredTick::of(tick, &sequence.to_string(), sequence, 0))
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

fn change(rule: &Rule, revision: i64, status: RuleStatus) -> RuleChanged {
    RuleChanged { rule: rule.clone(), revision, happened: RuleChange::Created, status, at: Timestamp::EPOCH }
}

/// Evaluates a rule against the ticks of the worked example. `expected` are the tick number and the change of each firing.
fn check(condition: &str, expected: &[(u64, Option<&str>)]) {
    check_prices(condition, &["100", "103", "105", "104", "98", "110.25"], expected);
}

/// The same for other prices, half a minute apart.
fn check_prices(condition: &str, prices: &[&str], expected: &[(u64, Option<&str>)]) {
    let mut engine = Engine::default();
    engine.apply_change(change(&rule(1, condition), 1, RuleStatus::Active), 0);
    let mut fired = Vec::new();
    for (index, price) in prices.iter().enumerate() {
        let firings = evaluate(&mut engine, &tick(venue(0), index as i64 * 30_000, price), index as u64 + 1);
        fired.extend(
            firings
                .iter()
                .map(|f| (f.firing.position.sequence, f.firing.change_percent.map(|c| c.normalize().to_string()))),
        );
    }
    let expected: Vec<_> = expected.iter().map(|(tick, change)| (*tick, change.map(str::to_owned))).collect();
    assert_eq!(fired, expected, "{condition}");
}

#[test]
fn a_comparison_is_exact_however_large_or_small_the_price_is() {
    let change = |since: &str| format!(r#"{{"change": {{"percent": "5", "direction": "up", "since": "{since}"}}}}"#);
    for since in ["anchor", "previous", "30s"] {
        let large = ["10000000000000", "10499999999999.99999999999999", "10000000000000", "10500000000000"];
        check_prices(&change(since), &large, &[(4, Some("5"))]);
        let small = ["0.00000000000000002", "0.00000000000000002", "0.000000000000000021"];
        check_prices(&change(since), &small, &[(3, Some("5"))]);
        // From the smallest price to the largest.
        let leap = ["0.000000000000000001", "99999999999999.99999999999999", "0.000000000000000001"];
        check_prices(&change(since), &leap, &[(2, Some("79228162514264337593543950335"))]);
        let fall = format!(r#"{{"change": {{"percent": "99.9999", "direction": "down", "since": "{since}"}}}}"#);
        check_prices(&fall, &leap[1..], &[(2, Some("-100"))]);
    }
    let above = r#"{"price": {"above": "0.000000000000000002"}}"#;
    check_prices(above, &["0.000000000000000001", "0.000000000000000002"], &[(2, None)]);
}

#[test]
fn the_worked_example_fires_as_the_specification_says() {
    check(r#"{"change": {"percent": "5", "since": "previous"}}"#, &[(5, Some("-5.7692")), (6, Some("12.5"))]);
    check(r#"{"change": {"percent": "5", "direction": "up"}}"#, &[(3, Some("5")), (6, Some("5"))]);
    check(r#"{"change": {"percent": "5"}}"#, &[(3, Some("5")), (5, Some("-6.6667")), (6, Some("12.5"))]);
    check(r#"{"change": {"percent": "5", "since": "1m"}}"#, &[(3, Some("5")), (5, Some("-6.6667"))]);
    check(r#"{"price": {"above": "104"}}"#, &[(3, None), (6, None)]);
    check(r#"{"price": {"below": "100"}}"#, &[(1, None), (5, None)]);
}

#[test]
fn a_rule_that_is_created_later_measures_from_the_last_price() {
    let mut engine = Engine::default();
    evaluate(&mut engine, &tick(venue(0), 0, "100"), 1);
    engine.apply_change(change(&rule(1, r#"{"change": {"percent": "5"}}"#), 1, RuleStatus::Active), 1);
    let fired = evaluate(&mut engine, &tick(venue(0), 1_000, "105"), 2);
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].firing.reference.map(|(price, _)| price.to_string()), Some("100".into()));
}

#[test]
fn a_rule_change_that_comes_late_or_twice_has_no_effect() {
    let (mut engine, watched) = (Engine::default(), rule(1, r#"{"price": {"above": "1"}}"#));
    engine.apply_change(change(&watched, 3, RuleStatus::Paused), 0);
    engine.apply_change(change(&watched, 2, RuleStatus::Active), 0);
    assert!(evaluate(&mut engine, &tick(venue(0), 0, "5"), 1).is_empty());
    engine.apply_change(change(&watched, 4, RuleStatus::Active), 1);
    engine.apply_change(change(&watched, 4, RuleStatus::Active), 1);
    assert_eq!(evaluate(&mut engine, &tick(venue(0), 1_000, "6"), 2).len(), 1);
}

/// The same rule at another venue.
fn moved(rule: &Rule, to: Option<Venue>, revision: i64, status: RuleStatus) -> RuleChanged {
    let rule = Rule { venue: to, ..rule.clone() };
    RuleChanged { happened: RuleChange::VenueChanged, ..change(&rule, revision, status) }
}

/// Evaluates ticks of both venues, one second apart, and returns the sequences that fired.
fn fired(engine: &mut Engine, first: u64, prices: &[(u8, &str)]) -> Vec<u64> {
    let ticks = (first..).zip(prices);
    let mut fired = Vec::new();
    for (sequence, (at, price)) in ticks {
        let firings = evaluate(engine, &tick(venue(*at), sequence as i64 * 1_000, price), sequence);
        fired.extend(firings.iter().map(|fired| fired.firing.position.sequence));
    }
    fired
}

#[test]
fn a_rule_begins_anew_at_another_venue() {
    let (one, two) = (Some(venue(0)), Some(venue(1)));
    for (condition, before, expected, after) in [
        // An edge: the first tick at the new venue counts as one, although the old venue met the condition already.
        (
            r#"{"price": {"above": "100"}}"#,
            vec![(0, "101"), (1, "90")],
            vec![1],
            vec![(0, "200"), (1, "101"), (1, "102")],
        ),
        // The anchor is the new venue's last price: 99 is 10 % above 90, and 110 at the old venue is nothing any more.
        (r#"{"change": {"percent": "10"}}"#, vec![(0, "100"), (1, "90")], vec![], vec![(0, "110"), (1, "99")]),
        (
            r#"{"change": {"percent": "10", "since": "previous"}}"#,
            vec![(0, "100"), (1, "90")],
            vec![],
            vec![(0, "50"), (1, "99")],
        ),
    ] {
        let watched = Rule { venue: one.clone(), cooldown: Period::HOUR, ..rule(1, condition) };
        let mut engine = Engine::default();
        engine.apply_change(change(&watched, 1, RuleStatus::Active), 0);
        assert_eq!(fired(&mut engine, 1, &before), expected, "{condition}");
        engine.apply_change(moved(&watched, two.clone(), 2, RuleStatus::Active), 2);
        // The cooldown of the firing before has ended with it, and the next firing has one of its own.
        assert_eq!(fired(&mut engine, 3, &after), [4], "{condition}");
        let changes = engine.take_changes();
        let numbers: Vec<i64> = changes.firings.iter().map(|firing| firing.number).collect();
        assert_eq!(
            numbers,
            (1..=numbers.len() as i64).collect::<Vec<_>>(),
            "numbers go on, because ids are made of them"
        );
        assert_eq!(changes.firings.last().and_then(|firing| firing.suppressed), None, "{condition}");
        assert_eq!((changes.rules[0].venue.as_ref(), changes.rules[0].active_after), (two.as_ref(), 2));
    }
}

#[test]
fn a_rule_is_evaluated_at_its_venue_until_the_change_is_applied_also_after_a_restart() {
    let (watched, mut saved) =
        (Rule { venue: Some(venue(0)), ..rule(1, r#"{"price": {"above": "100"}}"#) }, Saved::default());
    let mut engine = Engine::default();
    engine.apply_change(change(&watched, 1, RuleStatus::Active), 0);
    assert_eq!(fired(&mut engine, 1, &[(0, "90"), (1, "90")]), Vec::<u64>::new());
    // The owner's rule names the other venue already when the engine is restored.
    saved.save(&mut engine, &[Rule { venue: Some(venue(1)), ..watched.clone() }]);
    let mut engine = Engine::restore(saved.load());
    assert_eq!(fired(&mut engine, 3, &[(1, "101"), (0, "101")]), [4]);
    engine.apply_change(moved(&watched, Some(venue(1)), 2, RuleStatus::Paused), 4);
    assert_eq!(fired(&mut engine, 5, &[(1, "102"), (0, "90"), (0, "102")]), Vec::<u64>::new(), "it is paused");
    engine.apply_change(change(&Rule { venue: Some(venue(1)), ..watched }, 3, RuleStatus::Active), 7);
    assert_eq!(fired(&mut engine, 8, &[(0, "103"), (1, "103")]), [9]);
}

#[test]
fn a_rule_that_is_done_stays_done_when_a_change_crosses_its_last_firing() {
    let once = Rule { repeat: Repeat::Once, ..rule(1, r#"{"price": {"above": "1"}}"#) };
    let mut engine = Engine::default();
    engine.apply_change(change(&once, 1, RuleStatus::Active), 0);
    assert_eq!(evaluate(&mut engine, &tick(venue(0), 0, "5"), 1).len(), 1);
    let mut saved = Saved::default();
    saved.save(&mut engine, std::slice::from_ref(&once));
    let mut engine = Engine::restore(saved.load());
    engine.apply_change(change(&once, 2, RuleStatus::Paused), 1);
    engine.apply_change(change(&once, 3, RuleStatus::Active), 1);
    evaluate(&mut engine, &tick(venue(0), 1_000, "0.5"), 2);
    assert!(evaluate(&mut engine, &tick(venue(0), 2_000, "5"), 3).is_empty());
}

/// The state as the database would save it.
#[derive(Default)]
struct Saved {
    memory: EngineState,
}

impl Saved {
    fn save(&mut self, engine: &mut Engine, rules: &[Rule]) {
        let changes = engine.take_changes();
        for market in changes.markets {
            self.memory.markets.retain(|there| (&there.symbol, &there.venue) != (&market.symbol, &market.venue));
            self.memory.markets.push(market);
        }
        for sample in changes.samples {
            let key = |s: &rules::Sample| (s.symbol.clone(), s.venue.clone(), s.grain_seconds, s.slot);
            self.memory.samples.retain(|there| key(there) != key(&sample));
            self.memory.samples.push(sample);
        }
        for old in changes.expired_samples {
            self.memory.samples.retain(|there| {
                (&there.venue, there.grain_seconds) != (&old.venue, old.grain_seconds) || there.slot >= old.before_slot
            });
        }
        for state in changes.rules {
            self.memory.rules.retain(|(rule, _)| rule.id != state.rule_id);
            if state.status != RuleStatus::Deleted {
                let rule = rules.iter().find(|rule| rule.id == state.rule_id).expect("a rule we made");
                self.memory.rules.push((rule.clone(), state));
            }
        }
        self.memory.samples.sort_by_key(|s| (s.symbol.clone(), s.venue.clone(), s.grain_seconds, s.slot));
    }

    fn load(&self) -> EngineState {
        EngineState {
            markets: self.memory.markets.clone(),
            samples: self.memory.samples.clone(),
            rules: self.memory.rules.clone(),
            gaps: Vec::new(),
        }
    }
}

/// The specification, literally: stores every evaluated tick, and looks at every rule on every tick.
#[derive(Default)]
struct NaiveEngine {
    primary: Option<Venue>,
    evaluated: BTreeMap<Venue, Vec<(Timestamp, Price)>>,
    rules: BTreeMap<Uuid, Watched>,
}

struct Watched {
    rule: Rule,
    status: RuleStatus,
    /// True when the condition was met at the last evaluated tick since the rule became active.
    was_met: bool,
    reference: Option<(Price, Timestamp)>,
    last_fired_at: Option<Timestamp>,
    number: i64,
}

impl NaiveEngine {
    fn apply_change(&mut self, rule: &Rule, status: RuleStatus) {
        let last = self.last_of(rule);
        let watched = self.rules.entry(rule.id).or_insert_with(|| Watched {
            rule: rule.clone(),
            status: RuleStatus::Pending,
            was_met: false,
            reference: None,
            last_fired_at: None,
            number: 0,
        });
        if matches!(watched.status, RuleStatus::Done | RuleStatus::Expired | RuleStatus::Deleted) {
            if status == RuleStatus::Deleted {
                watched.status = status;
            }
            return;
        }
        watched.status = status;
        if status == RuleStatus::Active {
            (watched.was_met, watched.reference) = (false, last);
        }
    }

    fn change_venue(&mut self, id: Uuid, venue: Option<Venue>) {
        let Some(watched) = self.rules.get_mut(&id) else { return };
        if matches!(watched.status, RuleStatus::Done | RuleStatus::Expired | RuleStatus::Deleted) {
            return;
        }
        watched.rule.venue = venue;
        watched.last_fired_at = None;
        let (rule, status) = (watched.rule.clone(), watched.status);
        self.apply_change(&rule, status);
    }

    fn last_of(&self, rule: &Rule) -> Option<(Price, Timestamp)> {
        let venue = rule.venue.as_ref().or(self.primary.as_ref())?;
        self.evaluated.get(venue)?.last().map(|(at, price)| (*price, *at))
    }

    fn evaluate(&mut self, tick: &Tick, sequence: u64) -> Vec<Firing> {
        let primary = self.primary.get_or_insert(tick.venue.clone()).clone();
        let past = self.evaluated.entry(tick.venue.clone()).or_default();
        if past.last().is_some_and(|(at, _)| tick.at < *at) {
            return Vec::new();
        }
        let mut fired = Vec::new();
        for watched in self.rules.values_mut() {
            if watched.rule.venue.as_ref().unwrap_or(&primary) == &tick.venue && watched.status == RuleStatus::Active {
                fired.extend(watched.evaluate(tick, sequence, past));
            }
        }
        past.push((tick.at, tick.price));
        fired
    }
}

impl Watched {
    fn evaluate(&mut self, tick: &Tick, sequence: u64, past: &[(Timestamp, Price)]) -> Option<Firing> {
        if self.rule.expires_at.is_some_and(|end| tick.at >= end) {
            self.status = RuleStatus::Expired;
            return None;
        }
        let before = self.was_met;
        let (met, reference) = match self.rule.condition {
            Condition::Price(PriceThreshold::Above(limit)) => (tick.price >= limit, None),
            Condition::Price(PriceThreshold::Below(limit)) => (tick.price <= limit, None),
            Condition::Change(change) => {
                let reference = match change.since {
                    Baseline::Previous => past.last().map(|(at, price)| (*price, *at)),
                    Baseline::Anchor => self.reference,
                    Baseline::Window(length) => {
                        let grain = if length <= Period::HOUR { Period::SECOND } else { Period::MINUTE };
                        tick.at.before(length, grain).and_then(|cut| {
                            past.iter().rev().find(|(at, _)| *at <= cut).map(|(at, price)| (*price, *at))
                        })
                    }
                };
                let Some(reference) = reference else {
                    self.reference = Some((tick.price, tick.at));
                    return None;
                };
                (is_met(change, tick.price, reference.0), Some(reference))
            }
        };
        self.was_met = met;
        let edge = match self.rule.condition {
            Condition::Change(Change { since: Baseline::Previous | Baseline::Anchor, .. }) => true,
            _ => !before,
        };
        (met && edge).then(|| self.fire(tick, sequence, reference))
    }

    fn fire(&mut self, tick: &Tick, sequence: u64, reference: Option<(Price, Timestamp)>) -> Firing {
        let in_cooldown = self.last_fired_at.is_some_and(|last| tick.at < last.after(self.rule.cooldown));
        self.number += 1;
        if !in_cooldown {
            self.last_fired_at = Some(tick.at);
            self.reference = Some((tick.price, tick.at));
            if self.rule.repeat == Repeat::Once {
                self.status = RuleStatus::Done;
            }
        }
        Firing {
            rule_id: self.rule.id,
            number: self.number,
            symbol: tick.symbol.clone(),
            venue: tick.venue.clone(),
            fired_at: tick.at,
            price: tick.price,
            reference,
            change_percent: reference.map(|(then, _)| events::money::change_percent(tick.price, then)),
            trade_id: sequence.to_string(),
            position: TickPosition { sequence, index: 0 },
            suppressed: in_cooldown.then_some(rules::Suppression::Cooldown),
            incomplete_since: None,
        }
    }
}

fn is_met(change: Change, price: Price, reference: Price) -> bool {
    let (p, r, percent) = (price.decimal(), reference.decimal(), change.percent.decimal());
    let hundred = rust_decimal::Decimal::ONE_HUNDRED;
    let (up, down) = (p * hundred >= r * (hundred + percent), p * hundred <= r * (hundred - percent));
    match change.direction {
        Direction::Up => up,
        Direction::Down => down,
        Direction::Any => up || down,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Tick { venue: u8, after_ms: i64, cents: u32 },
    Change { rule: usize, status: RuleStatus },
    Repeat(prop::sample::Index),
    Venue { rule: usize, venue: Option<u8> },
    Restart,
}

fn conditions() -> impl Strategy<Value = String> {
    let percent = prop_oneof![Just("0.5"), Just("1"), Just("2.5"), Just("10")];
    let direction = prop_oneof![Just("any"), Just("up"), Just("down")];
    let since = prop_oneof![Just("previous"), Just("anchor"), Just("10s"), Just("1m"), Just("61m"), Just("2h")];
    prop_oneof![
        3 => (percent, direction, since).prop_map(|(percent, direction, since)| format!(
            r#"{{"change": {{"percent": "{percent}", "direction": "{direction}", "since": "{since}"}}}}"#
        )),
        1 => (9_800..10_200_u32).prop_map(|cents| format!(r#"{{"price": {{"above": "{}.{:02}"}}}}"#, cents / 100, cents % 100)),
        1 => (9_800..10_200_u32).prop_map(|cents| format!(r#"{{"price": {{"below": "{}.{:02}"}}}}"#, cents / 100, cents % 100)),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let one = (
        conditions(),
        prop_oneof![3 => Just(None), 1 => (0..2_u8).prop_map(Some)],
        any::<bool>(),
        prop_oneof![2 => Just(0), 1 => Just(30), 1 => Just(600)],
        prop_oneof![4 => Just(None), 1 => (1..4_000_i64).prop_map(Some)],
    );
    prop::collection::vec(one, 1..25).prop_map(|parts| {
        let made = parts.into_iter().enumerate().map(|(index, (condition, at_venue, once, cooldown, expires))| Rule {
            venue: at_venue.map(venue),
            repeat: if once { Repeat::Once } else { Repeat::Every },
            cooldown: Period::seconds(cooldown),
            expires_at: expires.map(|s| Timestamp::from_micros((100_000 + s) * 1_000_000).expect("a time")),
            ..rule(index as u128 + 1, &condition)
        });
        made.collect()
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![2 => Just(0_i64), 6 => 0..2_000_i64, 3 => 2_000..90_000_i64, 1 => 90_000..5_000_000_i64, 1 => -3_000..0_i64];
    let status = prop_oneof![
        4 => Just(RuleStatus::Active), 2 => Just(RuleStatus::Paused), 1 => Just(RuleStatus::Deleted)
    ];
    let step = prop_oneof![
        12 => (prop_oneof![5 => Just(0_u8), 1 => Just(1_u8)], after, 9_700..10_300_u32)
            .prop_map(|(venue, after_ms, cents)| Step::Tick { venue, after_ms, cents }),
        3 => (0..25_usize, status).prop_map(|(rule, status)| Step::Change { rule, status }),
        4 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        1 => (0..25_usize, prop_oneof![Just(None), (0..2_u8).prop_map(Some)])
            .prop_map(|(rule, venue)| Step::Venue { rule, venue }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_fires_like_a_naive_engine_also_across_restarts(mut rules in rules(), steps in steps()) {
        let (mut engine, mut naive, mut saved) = (Engine::default(), NaiveEngine::default(), Saved::default());
        let (mut now_ms, mut sequence, mut revision) = (100_000_000_i64, 0_u64, 0_i64);
        let (mut deleted, mut ticks) = (std::collections::BTreeSet::new(), Vec::new());
        for step in steps {
            match step {
                Step::Tick { venue: number, after_ms, cents } => {
                    sequence += 1;
                    now_ms += after_ms;
                    let tick = tick(venue(number), now_ms, &format!("{}.{:02}", cents / 100, cents % 100));
                    let fired = evaluate(&mut engine, &tick, sequence).into_iter().map(|fired| fired.firing);
                    prop_assert_eq!(fired.collect::<Vec<_>>(), naive.evaluate(&tick, sequence));
                    ticks.push((tick, sequence.to_string()));
                }
                // The naive engine does not receive a repeat.
                Step::Repeat(_) if ticks.is_empty() => {}
                Step::Repeat(index) => {
                    sequence += 1;
                    let recent = &ticks[ticks.len().saturating_sub(6)..];
                    let (tick, id) = index.get(recent);
                    let repeat = StoredTick::of(tick, id, sequence, 0);
                    prop_assert!(engine.evaluate(&repeat).is_empty(), "a repeat fires nothing");
                }
                Step::Venue { rule, venue: number } => {
                    let count = rules.len();
                    let rule = &mut rules[rule % count];
                    // The owner may change the venue of rules that the engine has not seen, or that are deleted by then.
                    let Some(status) = naive.rules.get(&rule.id).map(|watched| watched.status) else { continue };
                    if !matches!(status, RuleStatus::Active | RuleStatus::Paused) {
                        continue;
                    }
                    rule.venue = number.map(venue);
                    revision += 1;
                    engine.apply_change(moved(rule, rule.venue.clone(), revision, status), sequence);
                    naive.change_venue(rule.id, rule.venue.clone());
                }
                Step::Change { rule, status } => {
                    let rule = &rules[rule % rules.len()];
                    if deleted.contains(&rule.id) {
                        continue; // A deleted rule never changes again.
                    }
                    if status == RuleStatus::Deleted {
                        deleted.insert(rule.id);
                    }
                    revision += 1;
                    engine.apply_change(change(rule, revision, status), sequence);
                    naive.apply_change(rule, status);
                }
                Step::Restart => {
                    saved.save(&mut engine, &rules);
                    engine = Engine::restore(saved.load());
                }
            }
        }
    }
}
