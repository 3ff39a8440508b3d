//! However the same ticks are cut into pages, cut again and repeated, the engine fires the same.

use events::{
    LateHandling, Notify, Period, Repeat, Rule, RuleChanged, RuleStatus, Symbol, Tick, TickPage, Timestamp, Venue,
    rule::RuleChange,
    tick::{TickKind, TickSource},
};
use market_data::{MaxAhead, PageCollector, StoredPage, candles};
use proptest::prelude::*;
use rules::Engine;
use uuid::Uuid;

fn tick(number: usize, millis: i64, cents: i64) -> (Tick, String) {
    let at = Timestamp::from_micros(1_000_000_000_000 + millis * 1_000).expect("a time");
    let tick = Tick {
        venue: Venue::parse("test").expect("a venue"),
        symbol: Symbol::parse("BTC-USD").expect("a symbol"),
        price: format!("{}.{:02}", cents / 100, cents % 100).parse().expect("a price"),
        size: Some("1.5".parse().expect("a size")),
        at,
        received_at: at,
        kind: TickKind::Trade,
        source: TickSource::Live,
    };
    (tick, number.to_string())
}

/// Rules of each kind on the market of the ticks.
fn engine() -> Engine {
    let mut engine = Engine::default();
    let conditions = [
        r#"{ "price": { "above": "100.50" } }"#,
        r#"{ "change": { "percent": "1", "since": "previous" } }"#,
        r#"{ "change": { "percent": "1" } }"#,
        r#"{ "change": { "percent": "1", "since": "30s" } }"#,
    ];
    for (number, condition) in (1..).zip(conditions) {
        let rule = Rule {
            id: Uuid::from_u128(number),
            symbol: Symbol::parse("BTC-USD").expect("a symbol"),
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
        engine.apply_change(RuleChanged { rule, revision: 1, happened, status, at: Timestamp::EPOCH }, 0);
    }
    engine
}

/// Cuts ticks into pages of these lengths, one after the other, as the stream has them.
fn pages(ticks: &[(Tick, String)], lengths: &[usize]) -> Vec<StoredPage> {
    let (mut rest, mut pages) = (ticks, Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (page, behind) = rest.split_at((*length).min(rest.len()));
        rest = behind;
        let mut collector = PageCollector::default();
        collector.extend(page.iter().cloned());
        for message in collector.into_messages() {
            assert!(serde_json::from_slice::<TickPage>(&message.body).is_ok());
            let sequence = pages.len() as u64 + 1;
            pages.push(StoredPage::read(&message.body, sequence, Timestamp::LAST, MaxAhead::DEFAULT).expect("a page"));
        }
    }
    pages
}

/// Everything that the engine fires, but for the positions of the ticks, and the candles.
fn outcome(pages: &[StoredPage]) -> (Vec<String>, Vec<String>) {
    let (mut engine, mut seen) = (engine(), std::collections::HashSet::new());
    let (mut fired, mut new) = (Vec::new(), Vec::new());
    for page in pages {
        for tick in page.ticks() {
            let firings = engine.evaluate(&tick).into_iter().map(|fired| fired.firing);
            fired.extend(firings.map(|f| {
                format!("{} {} {} {} {} {:?}", f.rule_id, f.number, f.trade_id, f.fired_at, f.price, f.change_percent)
            }));
            // As the unique key of the history does.
            if seen.insert((tick.at, tick.id.to_owned())) {
                new.push((1, tick));
            }
        }
    }
    let candle = |c: candles::PartialCandle| {
        let (open, close) = ((c.open.at, c.open.price), (c.close.at, c.close.price));
        format!("{:?} {} {open:?} {} {} {close:?} {} {}", c.interval, c.start, c.high, c.low, c.volume, c.trades)
    };
    (fired, candles::fold(new).into_iter().map(candle).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_the_same_ticks_with_any_repeats_has_one_outcome(
        steps in prop::collection::vec((prop_oneof![3 => Just(0), 3 => 1..2_000_i64, 1 => -3..0_i64], -150..=150_i64), 1..120),
        lengths in prop::collection::vec(1..50_usize, 1..8),
        other_lengths in prop::collection::vec(1..50_usize, 1..8),
        repeats in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..20_usize), 0..8),
    ) {
        let (mut millis, mut cents) = (0, 10_000);
        let ticks: Vec<_> = steps.into_iter().enumerate().map(|(number, (after, change))| {
            millis = (millis + after).max(0);
            cents = (cents + change).clamp(9_000, 11_000);
            tick(number, millis, cents)
        }).collect();
        // Parts of the tape stand once more anywhere behind themselves.
        let mut with_repeats: Vec<(usize, &(Tick, String))> = ticks.iter().enumerate().collect();
        for (first, behind, length) in repeats {
            let first = first.index(ticks.len());
            let last = (first + length).min(ticks.len()) - 1;
            let behind = last + behind.index(ticks.len() - last);
            let place = with_repeats.iter().rposition(|(position, _)| *position == behind).expect("it is there");
            let repeated = ticks[first..=last].iter().map(|tick| (behind, tick)).collect::<Vec<_>>();
            with_repeats.splice(place + 1..place + 1, repeated);
        }
        let with_repeats: Vec<_> = with_repeats.into_iter().map(|(_, tick)| tick.clone()).collect();
        let expected = outcome(&pages(&ticks, &lengths));
        prop_assert_eq!(&outcome(&pages(&ticks, &[1])), &expected);
        prop_assert_eq!(&outcome(&pages(&with_repeats, &other_lengths)), &expected);
        // A page that is decided in two parts, the first of them twice.
        let halves = pages(&ticks, &other_lengths).into_iter().flat_map(|page| {
            let (mut first, mut second) = (page.clone(), page.clone());
            first.keep(&(0..page.len() / 2));
            second.keep(&(page.len() / 2..page.len()));
            [first.clone(), first, second]
        }).collect::<Vec<_>>();
        prop_assert_eq!(&outcome(&halves), &expected);
    }
}
