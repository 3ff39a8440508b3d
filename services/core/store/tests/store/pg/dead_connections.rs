//! Connections that are dead and not closed, and a server that became read-only.

use std::time::Duration;

use futures::future::BoxFuture;
use platform::{Health, Shutdown};
use store::{Error, Settings, Store, Tx};
use tokio::time::timeout;

use crate::{
    database::{DEADLINE, Database},
    pg::proxy::Proxy,
    postgres::{SERVER, Server},
};

/// The longest time for which a caller may wait for a server that is there again.
const HEALED_WITHIN: Duration = Duration::from_secs(10);

/// Connects through proxies, and watches the database as every service does.
async fn connect(proxies: &[&Proxy], database: &str) -> Store {
    let hosts: Vec<_> = proxies.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port())).collect();
    let url = format!("postgres://tickbell@{}/{database}", hosts.join(","));
    let store = Store::connect_now(&Settings { url, max_connections: 8 }, "test").await.expect("it answers");
    let watched = store.clone();
    let health = Health::default();
    let (answers, writes) = (health.check("database"), health.check("database_writes"));
    tokio::spawn(async move { watched.watch(&answers, &writes, &Shutdown::new()).await });
    store
}

/// Writes something, and undoes it.
async fn write(store: &Store) -> Result<(), Error> {
    let work = store.transaction::<(), _>(|tx| {
        Box::pin(async move {
            sqlx::query("CREATE TABLE written (id integer)").execute(&mut **tx).await?;
            Err(Error::Fenced("nobody".into()))
        })
    });
    match work.await {
        Err(Error::Fenced(_)) => Ok(()),
        other => other,
    }
}

/// Writes until it succeeds.
async fn write_again(store: &Store) {
    while write(store).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_ever_for_a_connection_that_is_dead_and_not_closed() {
    let database = Database::new().await;
    let proxy = Proxy::start(SERVER.socket()).await;
    let store = connect(&[&proxy], &database.name).await;
    let (begun, began) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
    let transaction = store.transaction(|tx| {
        Box::pin(async move {
            let _ = begun.send(());
            let _ = may_go_on.await;
            sqlx::query("SELECT 1").execute(&mut **tx).await?;
            Ok(())
        })
    });
    let transaction = async { (timeout(HEALED_WITHIN, transaction).await, ()) };
    let others = async {
        began.await.expect("it has begun");
        proxy.freeze();
        let _ = go_on.send(());
        timeout(HEALED_WITHIN, write_again(&store)).await.expect("new connections are opened");
        timeout(HEALED_WITHIN, store.ping()).await.expect("an answer").expect("it answers");
    };
    let ((ended, ()), ()) = tokio::join!(transaction, others);
    let failed = ended.expect("the transaction ends").expect_err("it cannot be committed");
    assert!(failed.is_transient(), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transaction_waits_for_the_locks_of_a_client_that_has_vanished() {
    let database = Database::new().await;
    let proxy = Proxy::start(SERVER.socket()).await;
    let (vanishing, store) = (connect(&[&proxy], &database.name).await, database.store.clone());
    store.transaction(|tx| run(tx, "CREATE TABLE counted AS SELECT 0 AS number")).await.expect("created");
    for last in ["SELECT 1", "COPY counted FROM STDIN"] {
        let (locked, has_locked) = tokio::sync::oneshot::channel();
        let holder = vanishing.clone();
        let holds = tokio::spawn(async move {
            let lock = holder.transaction(move |tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE counted SET number = number + 1").execute(&mut **tx).await?;
                    let _copy = match last.strip_prefix("COPY") {
                        Some(_) => Some(tx.copy_in_raw(last).await?),
                        None => None,
                    };
                    let _ = locked.send(());
                    std::future::pending::<()>().await;
                    Ok(())
                })
            });
            lock.await
        });
        has_locked.await.expect("it holds the lock");
        proxy.freeze();
        let next = store.transaction(|tx| run(tx, "UPDATE counted SET number = number + 10"));
        timeout(HEALED_WITHIN, next).await.expect(last).expect("the lock is free");
        holds.abort();
    }
}

fn run<'tx>(tx: &'tx mut Tx, statement: &'static str) -> BoxFuture<'tx, Result<(), Error>> {
    Box::pin(async move {
        sqlx::query(statement).execute(&mut **tx).await?;
        Ok(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_may_take_long_while_the_server_works() {
    let database = Database::new().await;
    let proxy = Proxy::start(SERVER.socket()).await;
    let store = connect(&[&proxy], &database.name).await;
    // Longer than the deadline of a single statement.
    let work = store.transaction(|tx| {
        Box::pin(async move {
            sqlx::query("SELECT pg_sleep(11)").execute(&mut **tx).await?;
            Ok(())
        })
    });
    timeout(DEADLINE, work).await.expect("it ends").expect("the server worked on it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_that_takes_writes_is_found_after_a_switch() {
    let (one, two) = tokio::task::block_in_place(|| (Server::start(), Server::start()));
    let proxies = (Proxy::start(one.socket()).await, Proxy::start(two.socket()).await);
    let make_read_only = async |server: &Server, value: &str| {
        use sqlx::Executor;
        let pool = sqlx::PgPool::connect(&server.url("postgres", "tickbell")).await.expect("it answers");
        let change = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        pool.execute(sqlx::AssertSqlSafe(change)).await.expect("it is set");
        pool.execute("SELECT pg_reload_conf()").await.expect("it is read");
    };
    make_read_only(&two, "on").await;
    let store = connect(&[&proxies.1, &proxies.0], "postgres").await;
    write(&store).await.expect("the second host takes writes");
    make_read_only(&one, "on").await;
    while write(&store).await.is_ok() {}
    store.ping().await.expect("it can still be read");
    make_read_only(&two, "off").await;
    timeout(HEALED_WITHIN, write_again(&store)).await.expect("the new leader is found");
}
