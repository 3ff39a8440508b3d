//! Each service's database role may do its work and no more.

use market_data::Month;
use store::{
    identity::gdpr,
    market::partitions,
    outbox,
    trading::orders::{self, Placed},
};

use crate::{
    database::Database,
    samples::{at, order, user},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_role_places_orders_and_may_not_settle_them() {
    let database = Database::new().await;
    let ada = user(&database.store, "ada@example.com").await;
    let store = database.store_as("tickbell_gateway").await;
    store.check_schema_format().await.expect("every role may read the format");
    assert_eq!(store.pending_migrations().await.expect("every role may read the version"), 0);
    assert!(matches!(orders::place(&store, order(1, ada)).await.expect("an answer"), Placed::New(_)));
    gdpr::export(&store, "ada@example.com").await.expect("it may call the function that crosses tables");
    let denied = store.transaction(|tx| {
        Box::pin(async move {
            sqlx::query("UPDATE accounts SET balance = 1").execute(&mut **tx).await?;
            Ok(())
        })
    });
    assert!(!denied.await.expect_err("it may not").is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_sees_the_outbox_of_its_own_service_only() {
    let database = Database::new().await;
    let ada = user(&database.store, "ada@example.com").await;
    orders::place(&database.store, order(1, ada)).await.expect("it is placed");
    for (role, seen) in [("tickbell_gateway", 1), ("tickbell_notifier", 0), ("tickbell_operator", 1)] {
        let store = database.store_as(role).await;
        assert_eq!(outbox::len(&store, "gateway").await.expect("a number"), seen, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_writers_role_creates_partitions_without_owning_the_table() {
    let database = Database::new().await;
    let store = database.store_as("tickbell_history_writer").await;
    partitions::create(&store, Month::of(at(0))).await.expect("it may");
    let gateway = database.store_as("tickbell_gateway").await;
    assert!(partitions::create(&gateway, Month::of(at(0)).next()).await.is_err());
}
