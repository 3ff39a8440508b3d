//! Tests of gaps and late verdicts, with the rights of the services.

use ::rules::{Changes, Firing, GapStage, LateDecision, MarketGap, PastTick, RuleState};
use events::{LateVerdict, RuleStatus, Tick, tick::TickSource};
use market_data::{Month, StoredTick, TickPosition};
use platform::Health;
use serde_json::json;
use store::{
    Error, Store,
    consumer::lease,
    market::{instruments, partitions, ticks},
    outbox,
    rules::{self, NewRule, engine_state, late, market_gaps, past_ticks},
};

use crate::{
    database::Database,
    samples::{at, id, price, rule, symbol, tick, venue},
};

const SERVICE: &str = "alert-engine";

fn gap(number: u64, stage: GapStage) -> MarketGap {
    MarketGap {
        gap_id: format!("coinbase:BTC-USD:{number}"),
        symbol: symbol("BTC-USD"),
        venue: venue("coinbase"),
        revision: 1,
        from: at(10),
        to: (stage != GapStage::Missing).then(|| at(20)),
        stage,
    }
}

const KNOWN: GapStage = GapStage::Known { until: 7, is_complete: true };

fn decision(number: u128, gap: &MarketGap) -> LateDecision {
    let verdict = json!({
        "id": LateVerdict::id_of(id(number), &gap.gap_id), "rule_id": id(number), "gap_id": gap.gap_id, "symbol": "BTC-USD",
        "venue": "coinbase", "condition": {"price": {"above": "5000"}}, "blind_from": at(10), "blind_to": at(20),
        "is_complete": true, "crossed_at": at(13), "price": "5001", "reference_price": null, "reference_at": null,
        "change_percent": null, "trade_id": "3", "crossings": 1, "extreme_price": "5002", "extreme_at": at(14),
        "last_price": "4000", "last_at": at(21), "targets": [{"channel": "email", "address": "ada@example.com"}],
    });
    LateDecision { verdict: serde_json::from_value(verdict).expect("a verdict"), anchor: None }
}

async fn save(database: &Database, changes: Changes) {
    let saved = database.transaction(move |tx| Box::pin(async move { engine_state::save(tx, &changes).await }));
    saved.await.expect("it is saved");
}

async fn with_rules(emails: &[&str]) -> Database {
    let database = Database::new().await;
    for (number, email) in (1..).zip(emails) {
        let (rule, status) = (rule(number, email), RuleStatus::Active);
        let new = NewRule { rule, status, manage_token: [1; 32], user_id: None, order: None, created_at: at(0) };
        rules::create(&database.store, new).await.expect("it is saved");
    }
    database
}

async fn of_address(store: &Store, gap: &MarketGap, address: &'static str) -> usize {
    let gap = gap.gap_id.clone();
    let list = store.transaction(move |tx| Box::pin(async move { late::list_of_address(tx, &gap, address, 50).await }));
    list.await.expect("a list").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_followed_until_it_is_judged_and_then_never_again() {
    let database = Database::new().await;
    let (first, second) = (gap(1, GapStage::Missing), gap(2, KNOWN));
    save(&database, Changes { gaps: vec![first.clone(), second.clone()], ..Changes::default() }).await;
    let mut unjudged = engine_state::load(&database.store).await.expect("a state").gaps;
    unjudged.sort_unstable_by(|one, other| one.gap_id.cmp(&other.gap_id));
    assert_eq!(unjudged, [first.clone(), second.clone()]);
    let judged = MarketGap { stage: GapStage::Judged, ..first.clone() };
    save(&database, Changes { gaps: vec![judged], ..Changes::default() }).await;
    // Its first report is read again.
    save(&database, Changes { gaps: vec![first.clone()], ..Changes::default() }).await;
    assert_eq!(engine_state::load(&database.store).await.expect("a state").gaps, std::slice::from_ref(&second));
    let ids = [first.gap_id.as_str(), &second.gap_id, "unknown"];
    assert_eq!(
        market_gaps::list_judged(&database.store, &ids).await.expect("gaps"),
        [(first.gap_id.clone(), 1)].into()
    );
    let forget = database.transaction(|tx| Box::pin(async move { engine_state::forget_sequences(tx).await }));
    forget.await.expect("they are forgotten");
    let gaps = engine_state::load(&database.store).await.expect("a state").gaps;
    assert_eq!(gaps[0].stage, GapStage::Known { until: 0, is_complete: true });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_is_judged_is_followed_and_judged_again_when_a_later_report_comes() {
    let database = with_rules(&["ada@example.com", "ada@example.com"]).await;
    let engine = database.store_as("tickbell_alert_engine").await;
    let _lease = lease::acquire(&engine, SERVICE, &Health::default().check("leader")).await.expect("the lease is free");
    let revision = |revision, stage| MarketGap { revision, ..gap(1, stage) };
    let follow = async |gap: MarketGap| save(&database, Changes { gaps: vec![gap], ..Changes::default() }).await;
    let unjudged = async || engine_state::load(&engine).await.expect("a state").gaps;
    let judge = async |gap: MarketGap, rules: &[u128]| {
        let decisions = rules.iter().map(|number| decision(*number, &gap)).collect();
        late::save_verdicts(&engine, SERVICE, &gap, decisions, Changes::default()).await.expect("it is saved");
    };
    // It was filled without a trade; then the connection is lost again before another one.
    follow(revision(2, GapStage::Judged)).await;
    follow(revision(3, GapStage::Missing)).await;
    follow(revision(1, GapStage::Missing)).await;
    follow(revision(5, KNOWN)).await;
    assert_eq!(unjudged().await, [revision(5, KNOWN)]);
    judge(revision(5, KNOWN), &[1]).await;
    follow(revision(5, KNOWN)).await;
    let (judged, gap_id) = (revision(5, KNOWN), gap(1, KNOWN).gap_id);
    assert_eq!(market_gaps::list_judged(&engine, &[&gap_id]).await.expect("gaps"), [(gap_id.clone(), 5)].into());
    assert!(unjudged().await.is_empty());
    // A report that comes while it is judged opens it again, and a rule has one verdict about it.
    follow(revision(6, KNOWN)).await;
    follow(revision(7, GapStage::Missing)).await;
    judge(revision(6, KNOWN), &[1, 2]).await;
    assert_eq!(unjudged().await, [revision(7, GapStage::Missing)]);
    assert_eq!(of_address(&engine, &judged, "ada@example.com").await, 2);
    assert_eq!(outbox::len(&database.store, SERVICE).await.expect("a number"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_are_saved_once_by_the_leader_with_their_events() {
    let database = with_rules(&["ada@example.com", "ada@example.com", "eve@example.com"]).await;
    let (gap, engine) = (gap(1, KNOWN), database.store_as("tickbell_alert_engine").await);
    save(&database, Changes { gaps: vec![gap.clone()], ..Changes::default() }).await;
    let decisions: Vec<_> = (1..=3).map(|number| decision(number, &gap)).collect();
    let save = |store: Store| {
        let decisions = decisions.clone();
        let gap = gap.clone();
        async move { late::save_verdicts(&store, SERVICE, &gap, decisions, Changes::default()).await }
    };
    let refused = save(engine.clone()).await.expect_err("it does not lead");
    assert!(matches!(refused, Error::Fenced(_)), "{refused}");
    assert_eq!(outbox::len(&database.store, SERVICE).await.expect("a number"), 0);
    let _lease = lease::acquire(&engine, SERVICE, &Health::default().check("leader")).await.expect("the lease is free");
    save(engine.clone()).await.expect("they are saved");
    let again = save(engine).await.expect_err("the gap is judged");
    assert!(matches!(again, Error::Fenced(_)), "{again}");
    assert_eq!(outbox::len(&database.store, SERVICE).await.expect("a number"), 3);
    assert!(engine_state::load(&database.store).await.expect("a state").gaps.is_empty());
    let notifier = database.store_as("tickbell_notifier").await;
    for (address, expected) in [("ada@example.com", 2), ("eve@example.com", 1), ("bob@example.com", 0)] {
        assert_eq!(of_address(&notifier, &gap, address).await, expected, "{address}");
    }
    let gateway = database.store_as("tickbell_gateway").await;
    let listed = late::list_of_rule(&gateway, id(1), 10).await.expect("a list");
    assert_eq!(listed, [LateVerdict { targets: Vec::new(), ..decision(1, &gap).verdict }]);
    assert!(!database.row::<(String,)>("SELECT verdict::text FROM late_verdicts LIMIT 1").await.0.contains('@'));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ticks_of_a_gap_and_around_it_are_read_in_their_order() {
    let database = Database::new().await;
    partitions::create(&database.store, Month::of(at(0))).await.expect("a partition");
    let add = database
        .transaction(|tx| Box::pin(async move { instruments::add(tx, &symbol("BTC-USD"), &venue("coinbase")).await }));
    let instrument = add.await.expect("a number");
    let filled = |seconds| Tick { source: TickSource::Backfill, ..tick(seconds, "coinbase", "5000") };
    // The time, the sequence, and whether it was filled in.
    let stored =
        [(9, 1, false), (10, 2, false), (10, 6, true), (13, 7, true), (12, 8, true), (20, 3, false), (22, 4, false)];
    let owned: Vec<_> = stored
        .into_iter()
        .map(|(seconds, sequence, is_filled)| {
            let tick = if is_filled { filled(seconds) } else { tick(seconds, "coinbase", "5000") };
            (tick, sequence.to_string(), sequence)
        })
        .collect();
    let owned: &'static [(Tick, String, u64)] = owned.leak();
    let add = database.transaction(move |tx| {
        Box::pin(async move {
            let rows: Vec<_> =
                owned.iter().map(|(tick, id, sequence)| (instrument, StoredTick::of(tick, id, *sequence, 0))).collect();
            ticks::add(tx, &rows).await
        })
    });
    assert_eq!(add.await.expect("positions").len(), 7);
    let engine = database.store_as("tickbell_alert_engine").await;
    let (before, after) = past_ticks::around(&engine, &gap(1, KNOWN)).await.expect("ticks");
    let (before, after) = (before.expect("a tick"), after.expect("a tick"));
    assert_eq!((before.id.as_str(), after.id.as_str(), after.at), ("2", "3", at(20)));
    let mut behind = before;
    let mut read = Vec::new();
    while let Some(next) = past_ticks::filled(&engine, &gap(1, KNOWN), &behind, 1).await.expect("ticks").pop() {
        read.push(next.id.clone());
        behind = next;
    }
    assert_eq!(read, ["6", "8", "7"]);
    let other = MarketGap { venue: venue("kraken"), ..gap(1, KNOWN) };
    assert_eq!(past_ticks::around(&engine, &other).await.expect("an answer"), (None, None));

    assert!(!late::history_has(&engine, 7).await.expect("an answer"), "the history has read nothing");
    assert!(late::history_has(&engine, 0).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_firings_around_a_tick_say_what_a_rule_was_then() {
    let database = with_rules(&["ada@example.com"]).await;
    let firing = |number: i64, seconds: i64, sequence: u64, is_suppressed: bool| Firing {
        rule_id: id(1),
        number,
        symbol: symbol("BTC-USD"),
        venue: venue("coinbase"),
        fired_at: at(seconds),
        price: price("5000"),
        reference: None,
        change_percent: None,
        trade_id: sequence.to_string(),
        position: TickPosition { sequence, index: 0 },
        suppressed: is_suppressed.then_some(::rules::Suppression::Cooldown),
        incomplete_since: None,
    };
    let firings = vec![firing(1, 5, 1, false), firing(2, 6, 2, true), firing(3, 10, 4, true), firing(4, 20, 5, false)];
    let state = RuleState {
        rule_id: id(1),
        revision: 1,
        status: RuleStatus::Active,
        venue: None,
        active_after: 0,
        active_since: at(0),
        reference: None,
        firings: 4,
        last_fired_at: Some(at(20)),
    };
    save(&database, Changes { firings: firings.clone(), rules: vec![state], ..Changes::default() }).await;
    let tick =
        PastTick { id: "3".into(), at: at(10), price: price("5000"), position: TickPosition { sequence: 3, index: 0 } };
    let mut found = late::firings_around(&database.store, &[id(1), id(2)], &tick).await.expect("firings");
    found.sort_unstable_by_key(|firing| firing.number);
    assert_eq!(found, [firings[0].clone(), firings[2].clone()]);
    let between = late::firings_between(&database.store, &[id(1)], (at(6), at(20))).await.expect("firings");
    assert_eq!(between, firings[1..]);
}
