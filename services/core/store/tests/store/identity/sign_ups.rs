//! Tests of requests for an account.

use store::identity::{
    expiry, sessions,
    sign_ups::{self, SignUp, SignUpMode},
};
use uuid::Uuid;

use crate::{
    database::Database,
    samples::{at, user},
};

const HOUR: i64 = 3_600;

async fn start(database: &Database, email: &str, hash: &str) -> Uuid {
    let started = sign_ups::start(&database.store, email.into(), hash.into(), SignUpMode::ByMail, at(0));
    started.await.expect("the sign-up is accepted");
    database.row::<(Uuid,)>("SELECT id FROM sign_ups ORDER BY id DESC LIMIT 1").await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_creates_one_account_however_often_it_is_followed() {
    let database = Database::new().await;
    let id = start(&database, "Ada@example.com", "hash").await;
    let waiting = SignUp::Waiting { email: "Ada@example.com".into(), challenge: None };
    assert_eq!(sign_ups::state(&database.store, id, at(1)).await.expect("an answer"), waiting);
    for _ in 0..2 {
        assert_eq!(sign_ups::complete(&database.store, id, None, at(1)).await.expect("an answer"), SignUp::Joined);
    }
    let (user, hash) =
        sessions::find_password(&database.store, "ADA@example.com").await.expect("an answer").expect("a user");
    assert_eq!((user.email.as_str(), hash.as_str()), ("Ada@example.com", "hash"));
    assert_eq!(database.count("SELECT count(*) FROM users").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_sign_ups_with_one_address_each_needs_its_own_password() {
    let database = Database::new().await;
    let first = start(&database, "ada@example.com", "first").await;
    let second = start(&database, "ada@example.com", "second").await;
    let store = &database.store;
    let wrong = sign_ups::complete(store, first, Some("second".into()), at(1)).await.expect("an answer");
    assert!(matches!(wrong, SignUp::Waiting { challenge: Some(_), .. }), "{wrong:?}");
    let right = sign_ups::complete(store, first, Some("first".into()), at(1)).await.expect("an answer");
    assert_eq!(right, SignUp::Joined);
    let late = sign_ups::complete(store, second, Some("second".into()), at(1)).await.expect("an answer");
    assert_eq!(late, SignUp::AddressInUse);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_expires_and_its_row_is_deleted() {
    let database = Database::new().await;
    let id = start(&database, "ada@example.com", "hash").await;
    assert_eq!(sign_ups::complete(&database.store, id, None, at(48 * HOUR)).await.expect("an answer"), SignUp::Expired);
    assert_eq!(expiry::delete_expired(&database.store, at(48 * HOUR - 1)).await.expect("a number"), 0);
    assert_eq!(expiry::delete_expired(&database.store, at(48 * HOUR)).await.expect("a number"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_five_mails_an_hour_and_its_owner_is_notified_of_each() {
    let database = Database::new().await;
    user(&database.store, "ada@example.com").await;
    for _ in 0..7 {
        start(&database, "ada@example.com", "other").await;
    }
    assert_eq!(database.count("SELECT count(*) FROM sign_ups").await, 5);
    assert_eq!(database.outbox_subjects().await.len(), 4, "the first of them created the account");
}
