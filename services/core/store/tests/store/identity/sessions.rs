//! Tests of sessions, users and the throttle of sign-in attempts.

use std::time::Duration;

use store::identity::{
    expiry,
    login_throttle::{self, LoginAttempt},
    sessions,
    users::{self, Role},
};

use crate::{
    database::Database,
    samples::{at, network, session, user},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_identifies_its_user_until_the_session_ends() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    session(store, ada, 1).await;
    let found = |token: u8, seconds| users::find_by_session(store, [token; 32], at(seconds));
    assert_eq!(found(1, 1).await.expect("an answer").map(|user| user.id), Some(ada));
    assert!(found(2, 1).await.expect("an answer").is_none(), "no such token");
    assert!(found(1, 3_600).await.expect("an answer").is_none(), "it has expired");
    sessions::end(store, [1; 32]).await.expect("it ends");
    assert!(found(1, 1).await.expect("an answer").is_none());
    session(store, ada, 3).await;
    assert_eq!(expiry::delete_expired(store, at(3_600)).await.expect("a number"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_needs_the_password_that_is_valid_now() {
    let database = Database::new().await;
    let ada = user(&database.store, "ada@example.com").await;
    database.run("UPDATE users SET password_hash = 'new'").await;
    let opened = sessions::IssuedSession { token: [1; 32], expires_at: at(60) };
    let session = sessions::NewSession {
        user_id: ada,
        verified: "hash".into(),
        renewed: None,
        opened,
        network: network(),
        replaces: None,
    };
    assert!(!sessions::open(&database.store, session, at(0)).await.expect("an answer"));
    assert_eq!(database.count("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_all_sessions_ends_each_and_adds_one_event() {
    let database = Database::new().await;
    let ada = user(&database.store, "ada@example.com").await;
    for token in 1..=3 {
        session(&database.store, ada, token).await;
    }
    sessions::end_all(&database.store, ada, at(1)).await.expect("they end");
    assert_eq!(database.count("SELECT count(*) FROM sessions").await, 0);
    assert_eq!(database.outbox_subjects().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_given_by_address_in_any_case() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    assert!(users::set_role(store, "ADA@example.com", Role::Operator).await.expect("an answer"));
    assert!(!users::set_role(store, "eve@example.com", Role::Operator).await.expect("an answer"));
    session(store, ada, 1).await;
    let found = users::find_by_session(store, [1; 32], at(1)).await.expect("an answer").expect("a user");
    assert_eq!(found.role, Role::Operator);
    assert_eq!(Role::parse(found.role.as_str()), Some(Role::Operator));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_failure_waits_and_a_success_forgets_them() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    let attempt = || LoginAttempt::SignIn { address: "Ada@example.com".into(), network: network() };
    for _ in 0..3 {
        assert_eq!(login_throttle::begin_attempt(store, attempt(), at(0)).await.expect("an answer"), None);
    }
    let wait = login_throttle::begin_attempt(store, attempt(), at(0)).await.expect("an answer");
    assert_eq!(wait, Some(Duration::from_secs(1)));
    session(store, ada, 1).await;
    assert_eq!(login_throttle::begin_attempt(store, attempt(), at(0)).await.expect("an answer"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_at_the_same_time_are_all_counted() {
    let database = Database::new().await;
    let attempts = (0..20).map(|_| {
        let attempt = LoginAttempt::SignIn { address: "ada@example.com".into(), network: network() };
        login_throttle::begin_attempt(&database.store, attempt, at(0))
    });
    let answers = futures::future::join_all(attempts).await;
    let free = answers.into_iter().filter(|answer| answer.as_ref().is_ok_and(Option::is_none)).count();
    assert_eq!(free, 3);
}
