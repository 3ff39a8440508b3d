//! Tests of whose alerts and orders are.

use std::collections::HashMap;

use events::RuleStatus;
use store::{
    identity::owners,
    rules::{self, NewRule},
    trading::orders,
};

use crate::{
    database::Database,
    samples::{at, id, order, rule, user},
};

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_orders_belong_to_their_users_and_what_is_unknown_to_nobody() {
    let database = Database::new().await;
    let store = &database.store;
    let (ada, bob) = (user(store, "ada@example.com").await, user(store, "bob@example.com").await);
    for (number, user_id) in [(1, Some(ada)), (2, None)] {
        let (rule, status) = (rule(number, "ada@example.com"), RuleStatus::Active);
        let new = NewRule { rule, status, manage_token: [1; 32], user_id, order: None, created_at: at(0) };
        rules::create(store, new).await.expect("it is saved");
    }
    orders::place(store, order(3, bob)).await.expect("it is placed");
    let found = owners::find(store, &[id(1), id(2), id(3), id(9)]).await.expect("owners");
    assert_eq!(found, HashMap::from([(id(1), ada), (id(3), bob)]));
    assert_eq!(owners::find(store, &[]).await.expect("owners"), HashMap::new());
}
