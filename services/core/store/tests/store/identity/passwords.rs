//! Tests of password changes and resets.

use store::identity::{
    passwords::{self, Reset, ResetRequest},
    sessions::{self, IssuedSession},
    users,
};
use uuid::Uuid;

use crate::{
    database::Database,
    samples::{at, session, user},
};

async fn hash(database: &Database) -> String {
    sessions::find_password(&database.store, "ada@example.com").await.expect("an answer").expect("a user").1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    session(store, ada, 1).await;
    let opened = || IssuedSession { token: [2; 32], expires_at: at(60) };
    let change = |verified: &str| passwords::change(store, ada, verified.into(), "new".into(), opened(), at(1));
    assert!(!change("wrong").await.expect("an answer"));
    assert!(change("hash").await.expect("an answer"));
    assert_eq!(hash(&database).await, "new");
    assert!(users::find_by_session(store, [1; 32], at(2)).await.expect("an answer").is_none());
    assert!(users::find_by_session(store, [2; 32], at(2)).await.expect("an answer").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_sets_one_password_and_ends_every_session() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    session(store, ada, 1).await;
    let asked = passwords::request_reset(store, "ADA@example.com".into(), at(0)).await.expect("an answer");
    assert_eq!(asked, ResetRequest::Accepted);
    let (id,): (Uuid,) = database.row("SELECT id FROM password_resets").await;
    assert_eq!(passwords::reset_state(store, id, at(1)).await.expect("an answer"), Reset::Waiting);
    assert_eq!(passwords::reset(store, id, "new".into(), at(1)).await.expect("an answer"), Reset::Waiting);
    assert_eq!(passwords::reset(store, id, "newer".into(), at(2)).await.expect("an answer"), Reset::Used);
    assert_eq!(hash(&database).await, "new");
    assert_eq!(database.count("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_expires_and_one_of_an_unknown_address_is_over() {
    let database = Database::new().await;
    let store = &database.store;
    user(store, "ada@example.com").await;
    for (address, seconds) in [("ada@example.com", 3_600), ("eve@example.com", 1)] {
        passwords::request_reset(store, address.into(), at(0)).await.expect("an answer");
        let (id,): (Uuid,) = database.row("SELECT id FROM password_resets ORDER BY id DESC LIMIT 1").await;
        assert_eq!(
            passwords::reset_state(store, id, at(seconds)).await.expect("an answer"),
            Reset::Expired,
            "{address}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_five_mails_an_hour() {
    let database = Database::new().await;
    for _ in 0..7 {
        let asked = passwords::request_reset(&database.store, "eve@example.com".into(), at(0)).await;
        assert_eq!(asked.expect("an answer"), ResetRequest::Accepted);
    }
    assert_eq!(database.count("SELECT count(*) FROM password_resets").await, 5);
}
