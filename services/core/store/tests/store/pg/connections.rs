//! Connections, transactions and the health check.

use std::time::Duration;

use platform::{Health, Shutdown};
use store::{Error, Settings, Store};

use crate::database::{DEADLINE, Database};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_created_once_and_answers() {
    let database = Database::empty().await;
    let url = database.url_as("tickbell").replace(&database.name, &format!("{}_more", database.name));
    Store::create_database(&url).await.expect("it is created");
    Store::create_database(&url).await.expect("it exists");
    let store = Store::connect(&Settings { url, max_connections: 4 }, "test").await.expect("it answers");
    store.ping().await.expect("it answers");
    assert!(store.server_version().await.expect("a version") >= 150_000);
    store.close().await;
    assert!(store.ping().await.is_err(), "the store is closed");
}

#[tokio::test]
async fn a_command_does_not_wait_for_a_server_that_is_not_there() {
    let settings = Settings { url: "postgres://tickbell@localhost/x?host=/nowhere".into(), max_connections: 4 };
    let refused = tokio::time::timeout(DEADLINE, Store::connect_now(&settings, "test")).await.expect("an answer");
    assert!(refused.is_err());
}

#[tokio::test]
async fn settings_out_of_range_are_refused() {
    let settings = Settings { max_connections: 1, ..Settings::default() };
    assert!(Store::connect_now(&settings, "test").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_leaves_nothing_and_its_connection_can_be_used() {
    let database = Database::new().await;
    let failed = database.transaction::<(), _>(|tx| {
        Box::pin(async move {
            sqlx::query("INSERT INTO assets VALUES ('ACME', 2)").execute(&mut **tx).await?;
            sqlx::query("SELECT 1 / 0").execute(&mut **tx).await?;
            Ok(())
        })
    });
    let failed = failed.await.expect_err("a division by zero");
    assert!(matches!(failed, Error::Database(_)) && !failed.is_transient());
    assert_eq!(database.count("SELECT count(*) FROM assets WHERE code = 'ACME'").await, 0);
    database.store.ping().await.expect("it answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_does_not_end_its_transaction() {
    let database = Database::new().await;
    let (begun, began) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
    let (done, ended) = tokio::sync::oneshot::channel();
    let store = database.store.clone();
    let caller = tokio::spawn(async move {
        let work = store.transaction(|tx| {
            Box::pin(async move {
                let _ = begun.send(());
                let _ = may_go_on.await;
                sqlx::query("INSERT INTO assets VALUES ('ACME', 2)").execute(&mut **tx).await?;
                let _ = done.send(());
                Ok(())
            })
        });
        work.await
    });
    began.await.expect("it has begun");
    caller.abort();
    assert!(caller.await.expect_err("it is gone").is_cancelled());
    go_on.send(()).expect("the transaction still runs");
    ended.await.expect("it has run to its end");
    database.store.close().await;
    assert_eq!(database.count("SELECT count(*) FROM assets WHERE code = 'ACME'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_notifies_and_a_rollback_does_not() {
    let database = Database::new().await;
    let mut listener = sqlx::postgres::PgListener::connect_with(&database.pool).await.expect("a connection");
    listener.listen_all(["rolled back", "committed"]).await.expect("it listens");
    let rolled_back = database.transaction::<(), _>(|tx| {
        Box::pin(async move {
            tx.notify("rolled back");
            Err(Error::Fenced("test".into()))
        })
    });
    assert!(rolled_back.await.expect_err("it fails").is_transient());
    let committed = database.transaction(|tx| {
        Box::pin(async move {
            tx.notify("committed");
            Ok(())
        })
    });
    committed.await.expect("it is committed");
    let notified = tokio::time::timeout(DEADLINE, listener.recv()).await.expect("in time").expect("a notification");
    assert_eq!(notified.channel(), "committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_database() {
    let database = Database::new().await;
    let (health, shutdown) = (Health::default(), Shutdown::new());
    let (answers, writes) = (health.check("database"), health.check("database_writes"));
    let (store, stop) = (database.store.clone(), shutdown.clone());
    let watch = tokio::spawn(async move { store.watch(&answers, &writes, &stop).await });
    database.store.ping().await.expect("it answers");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), watch).await.expect("it ends with the shutdown").expect("no panic");
}
