//! Tests of the export and the erasure of a person's data.

use std::collections::HashMap;

use events::RuleStatus;
use store::{
    identity::gdpr::{self, ERASED},
    notifications::recipients::{self, Person, RuleRecipient},
    rules::{self, NewRule},
    trading::orders::{self, Placed},
};

use crate::{
    database::Database,
    samples::{at, id, order, rule, session, user},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_everything_but_secrets() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    session(store, ada, 1).await;
    orders::place(store, order(1, ada)).await.expect("it is placed");
    let document = gdpr::export(store, "ADA@example.com").await.expect("a document");
    assert_eq!(document["account"]["id"], ada.to_string());
    assert_eq!(document["orders"][0]["id"], id(1).to_string());
    assert_eq!(document["sessions"].as_array().map(Vec::len), Some(1));
    for secret in ["password_hash", "token_hash", "fingerprint"] {
        assert!(!document.to_string().contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_address_is_nowhere_and_its_rules_are_deleted() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    let new = NewRule {
        rule: rule(1, "ada@example.com"),
        status: RuleStatus::Active,
        manage_token: [1; 32],
        user_id: Some(ada),
        order: None,
        created_at: at(0),
    };
    rules::create(store, new).await.expect("it is saved");
    let mut keyed = order(2, ada);
    keyed.idempotency_key = Some("ada's".into());
    assert!(matches!(orders::place(store, keyed).await.expect("an answer"), Placed::New(_)));
    let erased = gdpr::erase(store, "Ada@example.com".into(), at(1)).await.expect("it is erased");
    assert_eq!((erased.rules, erased.deliveries, erased.account), (1, 0, Some(ada)));
    let (found, _) = rules::find(store, id(1)).await.expect("an answer").expect("the row stays");
    assert_eq!((found.status, found.rule.notify.email.as_str()), (RuleStatus::Deleted, ERASED));
    let keys = "SELECT count(*) FROM orders WHERE idempotency_key IS NOT NULL";
    assert_eq!(database.count(keys).await, 0, "the order stays and its key is erased");
    assert_eq!(database.count("SELECT count(*) FROM users").await, 0);
    let addresses = database.transaction(move |tx| {
        Box::pin(async move {
            let of_rules = recipients::of_rules(tx, &[id(1), id(9)]).await?;
            Ok((of_rules, recipients::addresses(tx, &[Person::User(ada)]).await?))
        })
    });
    let (of_rules, addresses) = addresses.await.expect("an answer");
    assert_eq!(of_rules, HashMap::from([(id(1), RuleRecipient::Erased)]), "the other rule has no row");
    assert_eq!(addresses, [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_found_in_the_order_that_they_are_asked_for() {
    let database = Database::new().await;
    let ada = user(&database.store, "ada@example.com").await;
    let eve = user(&database.store, "eve@example.com").await;
    let people = [Person::User(eve), Person::SignUp(id(9)), Person::User(ada)];
    let found = database.transaction(move |tx| Box::pin(async move { recipients::addresses(tx, &people).await }));
    let expected = [Some("eve@example.com".to_owned()), None, Some("ada@example.com".to_owned())];
    assert_eq!(found.await.expect("an answer"), expected);
}
