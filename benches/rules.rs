//! Measures what a tick costs the rule engine, by the number of rules that it does not fire.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use events::{
    LateHandling, Notify, Period, Repeat, Rule, RuleChanged, RuleStatus, Symbol, Tick, Timestamp, Venue,
    rule::RuleChange,
    tick::{TickKind, TickSource},
};
use market_data::StoredTick;
use rules::Engine;
use uuid::Uuid;

fn rule(number: usize) -> RuleChanged {
    let condition = match number % 4 {
        0 => format!(r#"{{"price": {{"above": "{}"}}}}"#, 1_000 + number),
        1 => format!(r#"{{"change": {{"percent": "{}"}}}}"#, 20 + number % 70),
        2 => format!(r#"{{"change": {{"percent": "{}", "since": "previous"}}}}"#, 20 + number % 70),
        _ => format!(r#"{{"change": {{"percent": "{}", "since": "5m"}}}}"#, 20 + number % 70),
    };
    let rule = Rule {
        id: Uuid::from_u128(number as u128),
        symbol: Symbol::parse("SPY").expect("a symbol"),
        venue: None,
        condition: serde_json::from_str(&condition).expect("a condition"),
        repeat: Repeat::Every,
        cooldown: Period::ZERO,
        expires_at: None,
        late: LateHandling::Tell,
        notify: Notify { email: "ada@example.com".into() },
        then: None,
    };
    RuleChanged { rule, revision: 1, happened: RuleChange::Created, status: RuleStatus::Active, at: Timestamp::EPOCH }
}

fn tick(number: u64) -> Tick {
    let at = Timestamp::from_micros(1_000_000_000_000_000 + number as i64 * 10_000).expect("a time");
    Tick {
        venue: Venue::parse("bench").expect("a venue"),
        symbol: Symbol::parse("SPY").expect("a symbol"),
        price: format!("167.{:02}", number * 7 % 100).parse().expect("a price"),
        size: None,
        at,
        received_at: at,
        kind: TickKind::Trade,
        source: TickSource::File,
    }
}

fn evaluate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate a tick that fires no rule");
    for rule_count in [0, 1_000, 100_000] {
        let mut engine = Engine::default();
        (0..rule_count).for_each(|number| engine.apply_change(rule(number), 0));
        let mut number = 0;
        group.bench_function(BenchmarkId::from_parameter(rule_count), |bencher| {
            bencher.iter(|| {
                number += 1;
                let (tick, id) = (tick(number), number.to_string());
                black_box(engine.evaluate(&StoredTick::of(&tick, &id, number, 0)));
            });
            engine.take_changes();
        });
    }
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
