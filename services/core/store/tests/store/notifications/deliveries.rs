//! Tests of deliveries, which one process at a time claims and records once.

use std::time::Duration;

use events::{Channel, DeliveryUpdated, Outcome};
use serde_json::json;
use store::notifications::{
    deliveries::{self, Claim, Deliveries, Delivery, DeliveryAttempt, Kind},
    delivery_list,
};

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
    DeliveryAttempt { update, retry_in, server: "mail.example.com:25".into(), waits_for_server: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_added_as_claimed_is_attempted_by_nobody_else() {
    let database = Database::new().await;
    add(&database, vec![delivery(1, &[])]).await;
    let new = vec![delivery(1, &[]), delivery(2, &[]), delivery(3, &[])];
    let added =
        database.transaction(move |tx| Box::pin(async move { deliveries::add_claimed(tx, &new, 2, LEASE).await }));
    let claims = added.await.expect("they are added");
    let claimed: Vec<_> = claims.iter().map(|claim| (&claim.delivery, claim.attempt, claim.unknown_attempts)).collect();
    assert_eq!(claimed, [(&delivery(2, &[]), 1, 0)], "the first was there, and two of them may be claimed");
    let others = deliveries::claim(&database.store, 10, LEASE).await.expect("claims");
    let mut others: Vec<_> = others.iter().map(|claim| claim.delivery.id).collect();
    others.sort();
    assert_eq!(others, [id(1), id(3)]);
    database.run("UPDATE deliveries SET next_attempt_at = now()").await;
    let again = deliveries::claim(&database.store, 10, LEASE).await.expect("claims");
    let again = again.iter().find(|claim| claim.delivery.id == id(2)).expect("its lease has ended");
    assert_eq!((again.attempt, again.unknown_attempts), (2, 1), "what became of the first attempt is not recorded");
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
async fn the_owner_of_a_rule_sees_its_deliveries_and_what_became_of_each() {
    let database = Database::new().await;
    let store = &database.store;
    let of_rule = |number, rule| Delivery { rule_id: Some(id(rule)), kind: Kind::Alert, ..delivery(number, &[]) };
    add(&database, vec![of_rule(1, 7), of_rule(2, 8)]).await;
    database.run("UPDATE deliveries SET created_at = created_at - interval '1 minute'").await;
    add(&database, vec![of_rule(3, 7), delivery(4, &[])]).await;
    let claims = deliveries::claim(store, 9, LEASE).await.expect("claims");
    let first = claims.iter().find(|claim| claim.delivery.id == id(1)).expect("the first");
    deliveries::record_attempts(store, vec![ended(first, Outcome::Sent, Duration::ZERO)]).await.expect("recorded");
    let listed = delivery_list::of_rule(store, id(7), 9).await.expect("a list");
    let shown: Vec<_> = listed.iter().map(|listed| (listed.id, &*listed.status, &*listed.about)).collect();
    assert_eq!(shown, [(id(3), "waiting", "event 3"), (id(1), "sent", "event 1")]);
    assert!(listed[0].next_attempt_at.is_some() && listed[0].attempts.is_empty(), "{listed:?}");
    let [attempt] = &*listed[1].attempts else { panic!("{listed:?}") };
    assert_eq!((attempt.number, &*attempt.outcome, &*attempt.detail, attempt.at), (1, "sent", "250", at(0)));
    assert_eq!(listed[1].next_attempt_at, None);
    assert_eq!(delivery_list::of_rule(store, id(7), 1).await.expect("a list").len(), 1);
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

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_without_a_record_is_counted_as_unknown() {
    let database = Database::new().await;
    let store = &database.store;
    add(&database, vec![delivery(1, &[])]).await;
    let mut seen = Vec::new();
    for outcome in [Some(Outcome::Retrying), None, Some(Outcome::Unknown), None, Some(Outcome::Sent)] {
        database.run("UPDATE deliveries SET next_attempt_at = now()").await;
        let claim = deliveries::claim(store, 1, LEASE).await.expect("a claim").remove(0);
        seen.push((claim.attempt, claim.unknown_attempts));
        if let Some(outcome) = outcome {
            deliveries::record_attempts(store, vec![ended(&claim, outcome, LEASE)]).await.expect("recorded");
        }
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 1), (4, 2), (5, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_a_server_takes_wakes_those_that_wait_for_it() {
    let database = Database::new().await;
    let store = &database.store;
    add(&database, (1..=4).map(|number| delivery(number, &[])).collect()).await;
    let mut claims = deliveries::claim(store, 9, LEASE).await.expect("claims");
    claims.sort_by_key(|claim| claim.delivery.id);
    let waiting = |claim, server: &str, waits_for_server| DeliveryAttempt {
        server: server.into(),
        waits_for_server,
        ..ended(claim, Outcome::Retrying, LEASE)
    };
    let attempts = vec![
        waiting(&claims[0], "mail.example.com:25", true),
        waiting(&claims[1], "mail.example.com:25", false),
        waiting(&claims[2], "another.example.com:25", true),
    ];
    deliveries::record_attempts(store, attempts).await.expect("recorded");
    assert!(deliveries::claim(store, 9, LEASE).await.expect("no claim").is_empty());
    let sent = vec![ended(&claims[3], Outcome::Sent, LEASE)];
    deliveries::record_attempts(store, sent).await.expect("recorded");
    let woken = deliveries::claim(store, 9, LEASE).await.expect("a claim");
    let ids: Vec<_> = woken.iter().map(|claim| claim.delivery.id).collect();
    assert_eq!(ids, [claims[0].delivery.id], "not one that its recipient's server refused, nor one of another server");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_asked_for_at_most_five_confirmations_an_hour() {
    let database = Database::new().await;
    let ask = |number, kind, address: &str| Delivery { kind, address: address.into(), ..delivery(number, &[]) };
    let asked = |numbers: std::ops::RangeInclusive<u128>| {
        numbers.map(|number| ask(number, Kind::Confirmation, "eve@example.com")).collect::<Vec<_>>()
    };
    add(&database, asked(1..=3)).await;
    add(&database, asked(1..=3)).await;
    add(&database, asked(4..=9)).await;
    add(&database, vec![ask(10, Kind::Confirmation, "EVE@example.com"), ask(11, Kind::Alert, "eve@example.com")]).await;
    add(&database, vec![ask(12, Kind::Confirmation, "bob@example.com")]).await;
    let count = "SELECT count(*) FROM deliveries WHERE lower(address) = 'eve@example.com' AND kind = 'confirmation'";
    assert_eq!(database.count(count).await, 5);
    assert_eq!(
        database.count("SELECT count(*) FROM deliveries WHERE kind = 'alert'").await,
        1,
        "alerts have no such limit"
    );
    assert_eq!(database.count("SELECT count(*) FROM deliveries WHERE address = 'bob@example.com'").await, 1);
    database.run("UPDATE deliveries SET created_at = now() - interval '61 minutes'").await;
    add(&database, asked(20..=20)).await;
    assert_eq!(database.count(count).await, 6);
}
