//! Tests of markets that rules watch and that do not tick.

use std::time::Duration;

use ::rules::{Changes, MarketState, RuleState};
use events::{Channel, Rule, RuleStatus};
use serde_json::json;
use store::{
    Tx,
    identity::gdpr::ERASED,
    notifications::{
        deliveries::{self, Delivery, Kind},
        silences::{self, SilentMarket},
    },
    rules::{self, NewRule, engine_state},
};
use uuid::Uuid;

use crate::{
    database::Database,
    samples::{at, id, price, rule, symbol, venue},
};

const DAY: Duration = Duration::from_secs(86_400);

/// Adds a rule that is as it is since two days.
async fn add_rule(database: &Database, number: u128, changes: impl FnOnce(&mut Rule)) {
    let mut rule = rule(number, "ada@example.com");
    changes(&mut rule);
    let status = RuleStatus::Active;
    let new = NewRule { rule, status, manage_token: [1; 32], user_id: None, order: None, created_at: at(0) };
    rules::create(&database.store, new).await.expect("it is saved");
    database.run("UPDATE rules SET updated_at = now() - interval '2 days'").await;
}

/// Saves the first tick of a market, and how long ago it was evaluated.
async fn add_market(database: &Database, venue_name: &str, sequence: u64, hours_ago: u32) {
    let market = MarketState {
        symbol: symbol("BTC-USD"),
        venue: venue(venue_name),
        is_primary: venue_name == "coinbase",
        last_sequence: sequence,
        last_at: at(sequence as i64),
        last_price: price("5000"),
        newest_ids: vec!["1".into()],
    };
    let changes = Changes { markets: vec![market], ..Changes::default() };
    let saved = database.transaction(move |tx| Box::pin(async move { engine_state::save(tx, &changes).await }));
    saved.await.expect("it is saved");
    let age = format!(
        "UPDATE market_states SET evaluated_at = now() - interval '{hours_ago} hours' WHERE venue = '{venue_name}'"
    );
    database.run(&age).await;
}

async fn silent(database: &Database) -> Vec<SilentMarket> {
    let listed = database.transaction(|tx| Box::pin(async move { silences::list_markets(tx, DAY).await }));
    listed.await.expect("markets")
}

/// Notifies the rules of all silent markets as the notifier does, and returns their numbers.
async fn notify(database: &Database) -> Vec<u128> {
    database.transaction(|tx| Box::pin(add_deliveries(tx))).await.expect("they are notified")
}

async fn add_deliveries(tx: &mut Tx) -> Result<Vec<u128>, store::Error> {
    let mut notified = Vec::new();
    for market in silences::list_markets(tx, DAY).await? {
        let rules = silences::list_rules(tx, &market, DAY, 100).await?;
        let new: Vec<_> = rules.iter().map(|rule| delivery(rule.id, &market)).collect();
        deliveries::add(tx, &new).await?;
        notified.extend(rules.iter().map(|rule| rule.id.as_u128()));
    }
    notified.sort_unstable();
    Ok(notified)
}

fn delivery(rule_id: Uuid, market: &SilentMarket) -> Delivery {
    Delivery {
        id: Uuid::new_v5(&Uuid::NAMESPACE_OID, market.source_id(rule_id).as_bytes()),
        kind: Kind::Silence,
        source_id: market.source_id(rule_id),
        also_covers: Vec::new(),
        rule_id: Some(rule_id),
        channel: Channel::Email,
        address: "ada@example.com".into(),
        content: json!({}),
        traceparent: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_is_silent_a_day_after_its_last_tick_whatever_the_time_of_the_tick() {
    let database = Database::new().await;
    add_rule(&database, 1, |_| {}).await;
    add_rule(&database, 2, |rule| rule.venue = Some(venue("kraken"))).await;
    add_rule(&database, 3, |rule| rule.symbol = symbol("ETH-USD")).await;
    // The tick itself is of 2030.
    add_market(&database, "coinbase", 5, 23).await;
    add_market(&database, "kraken", 6, 25).await;
    let found: Vec<_> = silent(&database).await.into_iter().map(|market| (market.symbol, market.named)).collect();
    assert_eq!(found, [(symbol("BTC-USD"), Some(venue("kraken"))), (symbol("ETH-USD"), None)]);
    let live = database
        .transaction(|tx| Box::pin(async move { silences::list_live_venues(tx, &symbol("BTC-USD"), DAY).await }));
    assert_eq!(live.await.expect("venues"), [venue("coinbase")]);

    // The primary venue is the one that began first, also when the other still ticks.
    add_market(&database, "coinbase", 5, 30).await;
    add_market(&database, "kraken", 6, 1).await;
    let found: Vec<_> = silent(&database).await;
    let last = found[0].last.as_ref().expect("a market");
    assert_eq!((found.len(), found[0].named.clone(), last.venue.clone()), (2, None, venue("coinbase")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_is_not_silent_while_the_engine_is_behind_the_history() {
    let database = Database::new().await;
    add_rule(&database, 1, |_| {}).await;
    let has_ticked = "INSERT INTO instruments (symbol, venue, is_primary) VALUES ('BTC-USD', 'coinbase', true);
        INSERT INTO latest_prices SELECT id, 5000, NULL, '2031-01-01', 9, 0 FROM instruments";
    assert_eq!(silent(&database).await.len(), 1, "nobody has quoted it");
    database.run(has_ticked).await;
    assert_eq!(silent(&database).await.len(), 0, "the engine has not seen the first tick yet");
    add_market(&database, "coinbase", 5, 48).await;
    assert_eq!(silent(&database).await.len(), 0, "the engine has not seen the last tick yet");
    database.run("UPDATE latest_prices SET at = (SELECT last_at FROM market_states)").await;
    assert_eq!(silent(&database).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_notified_once_per_silence() {
    let database = Database::new().await;
    add_rule(&database, 1, |_| {}).await;
    add_rule(&database, 2, |rule| rule.symbol = symbol("ETH-USD")).await;
    add_market(&database, "coinbase", 5, 48).await;
    // Two notifiers at a time, and one again later.
    let (one, two) = tokio::join!(notify(&database), notify(&database));
    let again = notify(&database).await;
    assert!([one, two].iter().any(|notified| *notified == [1, 2]) && again.is_empty(), "{again:?}");
    assert_eq!(database.count("SELECT count(*) FROM deliveries WHERE kind = 'silence'").await, 2);
    // Ticks come back, and cease anew.
    add_market(&database, "coinbase", 5, 0).await;
    assert!(notify(&database).await.is_empty());
    add_market(&database, "coinbase", 5, 25).await;
    assert_eq!(notify(&database).await, [1]);
    assert_eq!(notify(&database).await, [] as [u128; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_fire_anyway_is_not_notified() {
    let database = Database::new().await;
    for number in 1..=7 {
        add_rule(&database, number, |_| {}).await;
    }
    add_rule(&database, 8, |rule| rule.expires_at = "2020-01-01T00:00:00Z".parse().ok()).await;
    add_market(&database, "coinbase", 5, 48).await;
    let state = |number, status| RuleState {
        rule_id: id(number),
        revision: 1,
        status,
        venue: None,
        active_after: 0,
        active_since: at(0),
        reference: None,
        firings: 0,
        last_fired_at: None,
    };
    let rules = vec![state(1, RuleStatus::Done), state(2, RuleStatus::Expired), state(3, RuleStatus::Active)];
    let changes = Changes { rules, ..Changes::default() };
    let saved = database.transaction(move |tx| Box::pin(async move { engine_state::save(tx, &changes).await }));
    saved.await.expect("it is saved");
    let set = |assignment: &str, number: u128| format!("UPDATE rules SET {assignment} WHERE id = '{}'", id(number));
    database.run(&set("status = 'paused'", 4)).await;
    database.run(&set("status = 'deleted'", 5)).await;
    // As of now: it has not waited for a day.
    database.run(&set("updated_at = now() - interval '23 hours'", 6)).await;
    database.run(&set(&format!("rule = jsonb_set(rule, '{{notify,email}}', '\"{ERASED}\"')"), 7)).await;
    assert_eq!(notify(&database).await, [3]);
}
