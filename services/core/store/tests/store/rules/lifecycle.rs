//! Tests of rules as their owners create and change them.

use events::{RuleChanged, RuleStatus, rule::RuleChange};
use store::{
    Store,
    rules::{self, Changed, Created, NewRule, RuleUpdate, VenueChoice},
};
use uuid::Uuid;

use crate::{
    database::Database,
    samples::{at, id, order, rule, terms, user, venue},
};

fn new(number: u128, status: RuleStatus, user_id: Option<Uuid>) -> NewRule {
    let rule = rule(number, "ada@example.com");
    NewRule { rule, status, manage_token: [1; 32], user_id, order: None, created_at: at(0) }
}

async fn status(store: &Store, number: u128, change: RuleChange) -> Changed {
    rules::change(store, id(number), change, at(1)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_and_its_order_are_saved_together_or_not_at_all() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    let with_order = |number| {
        let mut order = order(number + 100, ada);
        order.terms = terms(Some("mine"), "0.1");
        order.after_alert = Some(events::order::AlertTrigger { rule_id: id(number), expires_at: None });
        NewRule { order: Some(order), ..new(number, RuleStatus::Active, Some(ada)) }
    };
    assert_eq!(rules::create(store, with_order(1)).await.expect("an answer"), Created::Done);
    assert_eq!(rules::create(store, with_order(2)).await.expect("an answer"), Created::OrderNameTaken);
    let (found, token) = rules::find(store, id(1)).await.expect("an answer").expect("a rule");
    assert_eq!((found.order.map(|(order, _)| order), token), (Some(id(101)), [1; 32]));
    assert!(rules::find(store, id(2)).await.expect("an answer").is_none());
    let orphan = new(3, RuleStatus::Active, Some(id(99)));
    assert_eq!(rules::create(store, orphan).await.expect("an answer"), Created::NoAccount);
    assert_eq!(database.outbox_subjects().await.len(), 2, "an order and a rule");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_changes_once_and_only_where_it_may() {
    let database = Database::new().await;
    let store = &database.store;
    rules::create(store, new(1, RuleStatus::Pending, None)).await.expect("it is saved");
    assert_eq!(status(store, 1, RuleChange::Paused).await, Changed::Refused(RuleStatus::Pending));
    for _ in 0..2 {
        assert!(matches!(status(store, 1, RuleChange::Confirmed).await, Changed::Done(_)));
    }
    assert!(matches!(status(store, 1, RuleChange::Paused).await, Changed::Done(_)));
    assert!(matches!(status(store, 1, RuleChange::Deleted).await, Changed::Done(_)));
    assert_eq!(status(store, 1, RuleChange::Resumed).await, Changed::Missing);
    let revision = database.count("SELECT revision FROM rules").await;
    assert_eq!(revision, 4, "each change is counted once");
    assert_eq!(database.outbox_subjects().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_venue_and_the_status_change_by_one_event() {
    let database = Database::new().await;
    let store = &database.store;
    rules::create(store, new(1, RuleStatus::Active, None)).await.expect("it is saved");
    let kraken = || VenueChoice::Named(venue("kraken"));
    let change = async |status: Option<RuleChange>, venue: Option<VenueChoice>| match rules::update(
        store,
        id(1),
        RuleUpdate { status, venue },
        at(1),
    )
    .await
    .expect("an answer")
    {
        Changed::Done(found) => (found.rule.venue, found.status),
        other => panic!("{other:?}"),
    };
    let at_kraken = Some(venue("kraken"));
    assert_eq!(change(None, Some(kraken())).await, (at_kraken.clone(), RuleStatus::Active));
    // What is so already is no change.
    assert_eq!(change(Some(RuleChange::Resumed), Some(kraken())).await, (at_kraken.clone(), RuleStatus::Active));
    assert_eq!(change(Some(RuleChange::Paused), Some(kraken())).await, (at_kraken, RuleStatus::Paused));
    assert_eq!(change(Some(RuleChange::Resumed), Some(VenueChoice::Primary)).await, (None, RuleStatus::Active));
    let bodies: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT body FROM outbox ORDER BY id").fetch_all(&database.pool).await.expect("events");
    let events: Vec<RuleChanged> =
        bodies.iter().map(|(body,)| serde_json::from_slice(body).expect("an event")).collect();
    let happened: Vec<_> = events.iter().map(|event| (event.revision, event.happened, event.status)).collect();
    assert_eq!(
        happened,
        [
            (1, RuleChange::Created, RuleStatus::Active),
            (2, RuleChange::VenueChanged, RuleStatus::Active),
            (3, RuleChange::Paused, RuleStatus::Paused),
            (4, RuleChange::VenueChanged, RuleStatus::Active),
        ]
    );
    let venues: Vec<_> = events.iter().map(|event| event.rule.venue.as_ref().map(ToString::to_string)).collect();
    assert_eq!(venues, [None, Some("kraken".to_owned()), Some("kraken".to_owned()), None]);
    // A rule that has ended is not begun anew.
    database.run(&format!("INSERT INTO rule_states (rule_id, revision, status, active_after, active_since) VALUES ('{}', 4, 'done', 0, now())", id(1))).await;
    let update = RuleUpdate { status: None, venue: Some(kraken()) };
    let refused = rules::update(store, id(1), update.clone(), at(1)).await.expect("an answer");
    assert_eq!(refused, Changed::Refused(RuleStatus::Done));
    assert_eq!(rules::update(store, id(9), update, at(1)).await.expect("an answer"), Changed::Missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_listed_newest_first_and_adopted_by_their_address() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    for number in 1..=3 {
        rules::create(store, new(number, RuleStatus::Active, Some(ada))).await.expect("it is saved");
    }
    rules::create(store, new(4, RuleStatus::Active, None)).await.expect("it is saved");
    rules::create(store, new(5, RuleStatus::Pending, None)).await.expect("it is saved");
    let numbers = |found: Vec<rules::RuleRecord>| found.iter().map(|r| r.rule.id.as_u128()).collect::<Vec<_>>();
    assert_eq!(numbers(rules::list(store, ada, None, 2).await.expect("a page")), [3, 2]);
    assert_eq!(numbers(rules::list(store, ada, Some(id(2)), 2).await.expect("a page")), [1]);
    let adoptable = rules::list_adoptable(store, "ADA@example.com", None, 9).await.expect("a page");
    assert_eq!(numbers(adoptable), [4], "one that is pending is not confirmed");
    assert!(rules::adopt(store, id(4), ada, "eve@example.com").await.expect("an answer").is_none());
    for _ in 0..2 {
        assert!(rules::adopt(store, id(4), ada, "ada@example.com").await.expect("an answer").is_some());
    }
    assert_eq!(numbers(rules::list(store, ada, None, 9).await.expect("a page")), [4, 3, 2, 1]);
}
