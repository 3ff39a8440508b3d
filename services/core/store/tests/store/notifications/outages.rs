//! Tests of outages of mail.

use std::time::Duration;

use events::{Channel, DeliveryUpdated, Outcome};
use platform::{Health, http::health::State};
use serde_json::json;
use store::{
    Store,
    notifications::{
        deliveries::{self, Delivery, DeliveryAttempt, Kind},
        outages,
    },
};
use tokio::time::timeout;

use crate::{
    database::{DEADLINE, Database},
    samples::{at, id},
};

const HOUR: Duration = Duration::from_secs(3_600);
/// As if two minutes had passed.
const AGE: &str = "
    UPDATE channel_states SET failing_since = failing_since - interval '2 minutes',
        last_accepted_at = last_accepted_at - interval '2 minutes'";

async fn add(database: &Database, numbers: std::ops::RangeInclusive<u128>) {
    let delivery = |number| Delivery {
        id: id(number),
        kind: Kind::Alert,
        source_id: format!("event {number}"),
        also_covers: Vec::new(),
        rule_id: None,
        channel: Channel::Email,
        address: "ada@example.com".into(),
        content: json!({}),
        traceparent: None,
    };
    let new: Vec<_> = numbers.map(delivery).collect();
    let added = database.transaction(move |tx| Box::pin(async move { deliveries::add(tx, &new).await }));
    added.await.expect("they are added");
}

/// Attempts what is due, with one result for all.
async fn attempt(store: &Store, outcome: Outcome, waits_for_server: bool) {
    for claim in deliveries::claim(store, 99, HOUR).await.expect("claims") {
        let update = DeliveryUpdated {
            delivery_id: claim.delivery.id,
            about: claim.delivery.source_id,
            channel: Channel::Email,
            attempt: claim.attempt,
            outcome,
            detail: "said so".into(),
            at: at(0),
        };
        let attempt = DeliveryAttempt { update, retry_in: HOUR, server: "mail:25".into(), waits_for_server };
        deliveries::record_attempts(store, vec![attempt]).await.expect("it is recorded");
    }
}

async fn outage(database: &Database) -> Option<String> {
    outages::find(&database.store).await.expect("an answer").and_then(|outage| outage.error)
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_outage_when_no_mail_is_accepted_for_a_minute() {
    let said = || Some("said so".to_owned());
    for (case, deliveries, outcome, waits_for_server, expected) in [
        ("the server is away", 1, Outcome::Retrying, true, said()),
        ("one recipient is refused for now", 1, Outcome::Retrying, false, None),
        ("four are refused", 4, Outcome::Failed, false, None),
        ("five are refused", 5, Outcome::Failed, false, said()),
        ("five outcomes are unknown", 5, Outcome::Unknown, false, said()),
        ("all are accepted", 5, Outcome::Sent, false, None),
    ] {
        let database = Database::new().await;
        assert_eq!(outages::find(&database.store).await.expect("an answer"), None, "{case}");
        add(&database, 1..=deliveries).await;
        attempt(&database.store, outcome, waits_for_server).await;
        assert_eq!(outage(&database).await, None, "{case}: not within the first minute");
        database.run(AGE).await;
        assert_eq!(outage(&database).await, expected, "{case}");
        // One that is accepted ends it.
        add(&database, 10..=10).await;
        attempt(&database.store, Outcome::Sent, false).await;
        database.run(AGE).await;
        assert_eq!(outage(&database).await, None, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_an_outage_when_nobody_attempts_what_is_due() {
    let database = Database::new().await;
    add(&database, 1..=2).await;
    assert_eq!(outages::find(&database.store).await.expect("an answer"), None);
    database.run("UPDATE deliveries SET next_attempt_at = now() - interval '2 minutes'").await;
    let outage = outages::find(&database.store).await.expect("an answer").expect("an outage");
    assert_eq!((outage.waiting, &outage.error, (120..130).contains(&outage.seconds)), (2, &None, true), "{outage}");
    assert!(outage.to_string().contains("no notifier"), "{outage}");
    // Others are accepted meanwhile: there are only too many.
    database.run("UPDATE channel_states SET last_accepted_at = now() - interval '5 seconds'").await;
    assert_eq!(outages::find(&database.store).await.expect("an answer"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_said_by_a_check_that_leaves_the_process_ready() {
    let database = Database::new().await;
    add(&database, 1..=1).await;
    database.run("UPDATE deliveries SET next_attempt_at = now() - interval '2 minutes'").await;
    let health = Health::default();
    let check = health.optional_check(outages::CHECK);
    check.ready();
    let said = async {
        loop {
            if let Some(State::Degraded(detail)) = health.report().get(outages::CHECK) {
                return detail.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let detail = tokio::select! {
        never = outages::watch(&database.store, &check) => match never {},
        detail = timeout(DEADLINE, said) => detail.expect("in time"),
    };
    assert!(detail.starts_with("no mail has gone out for 12"), "{detail}");
    assert!(health.is_ready());
}
