//! Tests of API keys.

use store::{
    Store,
    identity::{
        api_keys::{self, Added, ApiKey, MOST_KEYS},
        users::{self, Scope},
    },
};
use uuid::Uuid;

use crate::{
    database::Database,
    samples::{at, id, session, user},
};

async fn add(store: &Store, user: Uuid, number: u8, session: u8) -> Added {
    let key = ApiKey {
        id: id(number.into()),
        name: format!("key {number}"),
        scopes: vec![Scope::Read, Scope::Trade],
        created_at: at(0),
        revoked_at: None,
    };
    api_keys::add(store, user, [session; 32], key, [number; 32]).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_identifies_its_user_until_it_is_revoked() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    session(store, ada, 1).await;
    assert_eq!(add(store, ada, 7, 9).await, Added::SignedOut, "no such session");
    assert_eq!(add(store, ada, 7, 1).await, Added::Done);
    let (found, scopes) = users::find_by_api_key(store, [7; 32]).await.expect("an answer").expect("a key");
    assert_eq!((found.id, scopes), (ada, vec![Scope::Read, Scope::Trade]));
    assert!(!api_keys::revoke(store, id(99), id(7), at(1)).await.expect("an answer"), "the key of another user");
    for _ in 0..2 {
        assert!(api_keys::revoke(store, ada, id(7), at(1)).await.expect("an answer"));
    }
    assert!(users::find_by_api_key(store, [7; 32]).await.expect("an answer").is_none());
    assert_eq!(Scope::parse(Scope::Alerts.as_str()), Some(Scope::Alerts));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_newest_first_page_by_page_and_bounded() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    session(store, ada, 1).await;
    for number in 1..=MOST_KEYS as u8 {
        assert_eq!(add(store, ada, number, 1).await, Added::Done);
    }
    assert_eq!(add(store, ada, 200, 1).await, Added::TooMany);
    let page = |before| async move {
        let keys = api_keys::list(store, ada, before, 2).await.expect("a page");
        keys.iter().map(|key| key.id.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, [50, 49]);
    assert_eq!(page(Some(id(49))).await, [48, 47]);
}
