//! Tests of rules as their owners create and change them.

use events::{RuleStatus, rule::RuleChange};
use store::{
    Store,
    rules::{self, Changed, Created, NewRule},
};
use uuid::Uuid;

use crate::{
    database::Database,
    samples::{at, id, order, rule, terms, user},
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
