//! Tests of the state that the alert-engine restores when it starts.

use ::rules::{Changes, ExpiredSamples, Firing, MarketState, RuleState, Sample, Suppression};
use events::{OutboundMessage, RuleStatus, rule::RuleChange};
use market_data::TickPosition;
use platform::StreamPosition;
use rust_decimal::Decimal;
use store::{
    Error,
    consumer::{
        position::{self, Advance},
        service::Commit,
    },
    rules::{self, NewRule, engine_state},
};

use crate::{
    database::Database,
    samples::{at, id, price, rule, symbol, venue},
};

fn market(sequence: u64) -> MarketState {
    MarketState {
        symbol: symbol("BTC-USD"),
        venue: venue("coinbase"),
        is_primary: true,
        last_sequence: sequence,
        last_at: at(sequence as i64),
        last_price: price("5000"),
        newest_ids: vec![sequence.to_string(), "one, \"two\"".into()],
    }
}

fn sample(slot: i64) -> Sample {
    let (symbol, venue) = (symbol("BTC-USD"), venue("coinbase"));
    Sample { symbol, venue, grain_seconds: 1, slot, at: at(slot), price: price("5000") }
}

fn state(firings: i64) -> RuleState {
    RuleState {
        rule_id: id(1),
        revision: 2,
        status: RuleStatus::Active,
        venue: Some(venue("kraken")),
        active_after: 7,
        active_since: at(2),
        reference: Some((price("4000"), at(1))),
        firings,
        last_fired_at: Some(at(3)),
    }
}

fn firing(number: i64) -> Firing {
    Firing {
        rule_id: id(1),
        number,
        symbol: symbol("BTC-USD"),
        venue: venue("coinbase"),
        fired_at: at(3),
        price: price("5000"),
        reference: Some((price("4000"), at(1))),
        change_percent: Some(Decimal::from(25)),
        trade_id: "8".into(),
        position: TickPosition { sequence: 9, index: 4 },
        suppressed: (number == 2).then_some(Suppression::Cooldown),
        incomplete_since: (number == 3).then(|| at(1)),
    }
}

async fn save(database: &Database, changes: Changes) {
    let saved = database.transaction(move |tx| Box::pin(async move { engine_state::save(tx, &changes).await }));
    saved.await.expect("it is saved");
}

async fn with_rule() -> Database {
    let database = Database::new().await;
    let rule = rule(1, "ada@example.com");
    let status = RuleStatus::Active;
    let new = NewRule { rule, status, manage_token: [1; 32], user_id: None, order: None, created_at: at(0) };
    rules::create(&database.store, new).await.expect("it is saved");
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_that_was_saved_last_is_restored() {
    let database = with_rule().await;
    save(&database, Changes { markets: vec![market(5)], rules: vec![state(0)], ..Changes::default() }).await;
    let samples = vec![sample(1), sample(2), sample(3)];
    save(&database, Changes { markets: vec![market(9)], samples, rules: vec![state(1)], ..Changes::default() }).await;
    let (symbol, venue) = (symbol("BTC-USD"), venue("coinbase"));
    let expired = ExpiredSamples { symbol, venue, grain_seconds: 1, before_slot: 3 };
    save(&database, Changes { expired_samples: vec![expired], ..Changes::default() }).await;
    let restored = engine_state::load(&database.store).await.expect("a state");
    assert_eq!(restored.markets, [market(9)]);
    assert_eq!(restored.samples, [sample(3)]);
    assert_eq!(restored.rules, [(rule(1, "ada@example.com"), state(1))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_committed_whole_unless_another_instance_has_moved_the_engine() {
    let database = with_rule().await;
    let store = &database.store;
    let beginning = StreamPosition::beginning(at(0));
    position::begin(store, "alert-engine", None, beginning, None).await.expect("it begins");
    let connection = engine_state::connect(store).await.expect("a connection");
    let batch = |from: u64, number: i64| {
        let to = |sequence| StreamPosition { sequence, ..beginning };
        let consumer = "alert-engine".into();
        let event = OutboundMessage {
            subject: format!("alerts.{number}"),
            id: number.to_string(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let effects = Changes {
            markets: vec![market(from + 1)],
            samples: vec![sample(1), sample(4)],
            expired_samples: vec![ExpiredSamples {
                symbol: symbol("BTC-USD"),
                venue: venue("coinbase"),
                grain_seconds: 1,
                before_slot: 3,
            }],
            rules: vec![state(number)],
            firings: vec![firing(number)],
            ..Changes::default()
        };
        Commit {
            service: "alert-engine",
            advances: vec![Advance { consumer, from: to(from), to: to(from + 1), last_event_at: None }],
            effects,
            events: vec![event],
            dead_letters: Vec::new(),
        }
    };
    let rows = connection.commit(batch(0, 1)).await.expect("it is committed");
    assert_eq!(rows.map(|rows| rows.len()), Some(1), "the row of the outbox that has the event");
    let stale = connection.commit(batch(0, 2)).await.expect_err("another instance has moved it");
    assert!(matches!(stale, Error::Fenced(_)), "{stale:?}");
    assert_eq!(database.count("SELECT count(*) FROM firings").await, 1);
    connection.commit(batch(1, 2)).await.expect("it is committed");
    let restored = engine_state::load(store).await.expect("a state");
    assert_eq!(restored.markets, [market(2)]);
    assert_eq!(restored.samples, [sample(4)], "one that the same batch expires is not added");
    let subjects = database.outbox_subjects().await;
    assert_eq!(subjects[subjects.len() - 2..], ["alerts.1", "alerts.2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_has_seen_a_tick_after_the_sequences_are_forgotten_if_it_had_before() {
    // The rule is active after tick 7; its market ticked last at 5, at 9, or its venue never did.
    for (last_tick, rule_venue, has_seen_one) in
        [(5, None, false), (9, None, true), (9, Some("coinbase"), true), (9, Some("kraken"), false)]
    {
        let database = with_rule().await;
        let rule = RuleState { venue: rule_venue.map(venue), reference: None, ..state(0) };
        save(&database, Changes { markets: vec![market(last_tick)], rules: vec![rule], ..Changes::default() }).await;
        let forget = database.transaction(|tx| Box::pin(async move { engine_state::forget_sequences(tx).await }));
        forget.await.expect("they are forgotten");
        let restored = engine_state::load(&database.store).await.expect("a state");
        let (market, rule) = (&restored.markets[0], &restored.rules[0].1);
        assert_eq!(market.last_sequence, 1);
        assert_eq!(market.last_sequence > rule.active_after, has_seen_one, "{last_tick} {rule_venue:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_revision_of_a_deleted_rule_stays_known() {
    let database = with_rule().await;
    let deleted = RuleState { status: RuleStatus::Deleted, ..state(0) };
    save(&database, Changes { rules: vec![deleted], ..Changes::default() }).await;
    assert!(engine_state::load(&database.store).await.expect("a state").rules.is_empty());
    let revisions = engine_state::list_revisions(&database.store, &[id(1), id(2)]).await.expect("revisions");
    assert_eq!(revisions, [(id(1), 2)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn firings_are_numbered_and_listed_newest_first() {
    let database = with_rule().await;
    let (firings, rules) = ((1..=3).map(firing).collect(), vec![state(3)]);
    save(&database, Changes { firings, rules, ..Changes::default() }).await;
    let list = |before, limit| rules::list_firings(&database.store, id(1), before, limit);
    assert_eq!(list(None, 2).await.expect("a page"), [firing(3), firing(2)]);
    assert_eq!(list(Some(2), 2).await.expect("a page"), [firing(1)]);
    let (found, _) = rules::find(&database.store, id(1)).await.expect("an answer").expect("a rule");
    assert_eq!(found.firings, 3);
    let again = database.transaction(|tx| {
        Box::pin(
            async move { engine_state::save(tx, &Changes { firings: vec![firing(3)], ..Changes::default() }).await },
        )
    });
    assert!(again.await.is_err(), "a number is used once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_firings_of_a_user_about_a_symbol_are_listed_and_nobody_elses() {
    let database = with_rule().await;
    let (ada, bob) = (id(11), id(12));
    for (number, owner) in [(2, ada), (3, bob), (4, ada)] {
        let (rule, status) = (rule(number, "ada@example.com"), RuleStatus::Active);
        let manage_token = [number as u8; 32];
        let new = NewRule { rule, status, manage_token, user_id: None, order: None, created_at: at(0) };
        rules::create(&database.store, new).await.expect("it is saved");
        database.run(&format!("UPDATE rules SET user_id = '{owner}' WHERE id = '{}'", id(number))).await;
    }
    let of = |rule: u128, number, second| Firing { rule_id: id(rule), fired_at: at(second), ..firing(number) };
    let firings = vec![of(1, 1, 5), of(2, 1, 1), of(2, 2, 4), of(3, 1, 3), of(4, 1, 3)];
    save(&database, Changes { firings, ..Changes::default() }).await;
    let list = async |user, name, times: (i64, i64), limit| {
        let times = (at(times.0), at(times.1));
        let found = rules::list_firings_of_user(&database.store, user, &symbol(name), times, limit).await;
        found.expect("firings").into_iter().map(|firing| (firing.rule_id, firing.number)).collect::<Vec<_>>()
    };
    assert_eq!(list(ada, "BTC-USD", (0, 9), 9).await, [(id(2), 2), (id(4), 1), (id(2), 1)]);
    assert_eq!(list(ada, "BTC-USD", (0, 9), 2).await, [(id(2), 2), (id(4), 1)]);
    assert_eq!(list(ada, "BTC-USD", (1, 3), 9).await, [(id(4), 1), (id(2), 1)], "both times belong to it");
    assert_eq!(list(bob, "BTC-USD", (0, 9), 9).await, [(id(3), 1)]);
    assert_eq!(list(ada, "ETH-USD", (0, 9), 9).await, []);
    assert_eq!(list(id(13), "BTC-USD", (0, 9), 9).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_change_of_a_rule_is_what_its_row_tells() {
    let database = Database::new().await;
    let store = &database.store;
    let new = NewRule {
        rule: rule(1, "ada@example.com"),
        status: RuleStatus::Pending,
        manage_token: [1; 32],
        user_id: None,
        order: None,
        created_at: at(0),
    };
    rules::create(store, new).await.expect("it is saved");
    for (requested, status) in [
        (RuleChange::Created, RuleStatus::Pending),
        (RuleChange::Confirmed, RuleStatus::Active),
        (RuleChange::Paused, RuleStatus::Paused),
        (RuleChange::Deleted, RuleStatus::Deleted),
    ] {
        if requested != RuleChange::Created {
            rules::change(store, id(1), requested, at(5)).await.expect("it is changed");
        }
        let found = engine_state::last_changes(store, &[id(1), id(9)]).await.expect("rows");
        assert_eq!(found.keys().collect::<Vec<_>>(), [&id(1)], "the other rule has no row");
        let change = &found[&id(1)];
        assert_eq!((&change.rule, change.status), (&rule(1, "ada@example.com"), status));
    }
    let found = engine_state::last_changes(store, &[id(1)]).await.expect("rows");
    assert_eq!((found[&id(1)].revision, found[&id(1)].at), (4, at(5)));
}
