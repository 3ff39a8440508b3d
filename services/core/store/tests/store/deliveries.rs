//! Tests of deliveries, which one process at a time claims and records once.

use std::time::Duration;

use events::{Channel, DeliveryUpdated, Outcome};
use serde_json::json;
use store::notifications::deliveries::{self, Claim, Deliveries, Delivery, DeliveryAttempt, Kind};

use crate::{
    database::Database,
    samples::{at, id},
};

const LEASE: Duration = Duration::from_secs(60);

fn delivery(number: u128, also_covers: &[&str]) -> Delivery {
    Delivery {
        id: id(number),
        kind: Kind::Trade,
        source_id: format!("event {number}"),
        also_covers: also_covers.iter().map(|source| (*source).to_owned()).collect(),
        rule_id: None,
        channel: Channel::Email,
        address: "ada@example.com".into(),
        content: json!({}),
        traceparent: None,
    }
}

async fn add(database: &Database, new: Vec<Delivery>) {
    let added = database.transaction(move |tx| Box::pin(async move { deliveries::add(tx, &new).await }));
    added.await.expect("they are added");
}

fn ended(claim: &Claim, outcome: Outcome, retry_in: Duration) -> DeliveryAttempt {
    let update = DeliveryUpdated {
        delivery_id: claim.delivery.id,
        about: claim.delivery.source_id.clone(),
        channel: Channel::Email,
        attempt: claim.attempt,
        outcome,
        detail: "250".into(),
        at: at(0),
    };
    DeliveryAttempt { update, retry_in }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_notified_once_by_itself_or_in_a_batch() {
    let database = Database::new().await;
    add(&database, vec![delivery(1, &["event 2"])]).await;
    add(&database, vec![delivery(1, &[])]).await;
    assert_eq!(database.count("SELECT count(*) FROM deliveries").await, 1);
    let asked = database.transaction(|tx| {
        Box::pin(async move { deliveries::already_notified(tx, &["event 1", "event 2", "event 3"]).await })
    });
    let mut found: Vec<String> = asked.await.expect("an answer").into_iter().collect();
    found.sort();
    assert_eq!(found, ["event 1", "event 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_belongs_to_one_process_until_its_lease_ends() {
    let database = Database::new().await;
    let store = &database.store;
    assert_eq!(deliveries::next_due_in(store).await.expect("an answer"), None);
    add(&database, vec![delivery(1, &[]), delivery(2, &[])]).await;
    assert_eq!(deliveries::next_due_in(store).await.expect("an answer"), Some(Duration::ZERO));
    assert_eq!(deliveries::claim(store, 1, LEASE).await.expect("a claim").len(), 1);
    assert_eq!(deliveries::claim(store, 9, LEASE).await.expect("a claim").len(), 1);
    assert!(deliveries::claim(store, 9, LEASE).await.expect("no claim").is_empty());
    database.run("UPDATE deliveries SET next_attempt_at = now()").await;
    let again = deliveries::claim(store, 9, LEASE).await.expect("a claim");
    assert_eq!(again.iter().map(|claim| claim.attempt).collect::<Vec<_>>(), [2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_recorded_and_counted() {
    let database = Database::new().await;
    let store = &database.store;
    add(&database, vec![delivery(1, &[]), delivery(2, &[]), delivery(3, &[])]).await;
    let mut claims = deliveries::claim(store, 9, LEASE).await.expect("claims");
    claims.sort_by_key(|claim| claim.delivery.id);
    let outcomes = [Outcome::Sent, Outcome::Failed, Outcome::Retrying];
    let attempts: Vec<_> = claims.iter().zip(outcomes).map(|(claim, outcome)| ended(claim, outcome, LEASE)).collect();
    for _ in 0..2 {
        deliveries::record_attempts(store, attempts.clone()).await.expect("they are recorded");
    }
    assert_eq!(deliveries::counts(store).await.expect("an answer"), Deliveries { waiting: 1, failed: 1 });
    assert_eq!(database.count("SELECT count(*) FROM delivery_attempts").await, 3, "once each");
    let due = deliveries::next_due_in(store).await.expect("an answer").expect("one is due");
    assert!(due > LEASE / 2 && due <= LEASE, "{due:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_whose_lease_ran_out_does_not_move_the_one_after_it() {
    let database = Database::new().await;
    let store = &database.store;
    add(&database, vec![delivery(1, &[])]).await;
    let first = deliveries::claim(store, 1, LEASE).await.expect("a claim").remove(0);
    database.run("UPDATE deliveries SET next_attempt_at = now()").await;
    let second = deliveries::claim(store, 1, LEASE).await.expect("a claim").remove(0);
    deliveries::record_attempts(store, vec![ended(&first, Outcome::Retrying, Duration::ZERO)]).await.expect("recorded");
    assert!(deliveries::claim(store, 1, LEASE).await.expect("no claim").is_empty(), "the second has it still");
    deliveries::record_attempts(store, vec![ended(&second, Outcome::Sent, Duration::ZERO)]).await.expect("recorded");
    assert_eq!(deliveries::counts(store).await.expect("an answer"), Deliveries::default());
}
