//! A database for each test, copied from a migrated template.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use futures::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, Connection, Executor, FromRow, PgConnection, PgPool,
    postgres::{PgPoolOptions, PgRow},
};
use store::{Error, Settings, Store, Tx};

use crate::postgres::SERVER;

const OWNER: &str = "tickbell";
const TEMPLATE: &str = "template_migrated";
/// The longest time that a test waits for another task.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// Migrates the template once, on a runtime of its own, because a test's runtime ends with the test.
static MIGRATED: LazyLock<()> = LazyLock::new(|| {
    let migrate = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let url = SERVER.url(TEMPLATE, OWNER);
            Store::create_database(&url).await.expect("the template is created");
            let store = connect(&url).await;
            store.migrate().await.expect("the template is migrated");
            store.close().await;
        });
    };
    thread::spawn(migrate).join().expect("the template is migrated");
});

/// A database with its owner's store, and a pool for reading rows directly.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) store: Store,
    pub(crate) pool: PgPool,
}

async fn connect(url: &str) -> Store {
    let settings = Settings { url: url.into(), max_connections: 8 };
    Store::connect_now(&settings, "test").await.expect("the database answers")
}

impl Database {
    /// Creates a migrated database.
    pub(crate) async fn new() -> Self {
        tokio::task::block_in_place(|| LazyLock::force(&MIGRATED));
        Self::copy(TEMPLATE).await
    }

    /// Creates a database without a schema.
    pub(crate) async fn empty() -> Self {
        tokio::task::block_in_place(|| LazyLock::force(&SERVER));
        Self::copy("template0").await
    }

    async fn copy(template: &str) -> Self {
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&SERVER.url("postgres", OWNER)).await.expect("the server answers");
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        connection.execute(AssertSqlSafe(create)).await.expect("the database is created");
        let url = SERVER.url(&name, OWNER);
        let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url).expect("a URL");
        Self { store: connect(&url).await, name, pool }
    }

    /// Returns a store with the rights of a service's role only.
    pub(crate) async fn store_as(&self, role: &str) -> Store {
        connect(&self.url_as(role)).await
    }

    pub(crate) fn url_as(&self, role: &str) -> String {
        SERVER.url(&self.name, role)
    }

    /// Returns the only row of a query.
    pub(crate) async fn row<T: for<'r> FromRow<'r, PgRow> + Send + Unpin>(&self, query: &str) -> T {
        sqlx::query_as(AssertSqlSafe(query.to_owned())).fetch_one(&self.pool).await.expect(query)
    }

    /// Returns the only number of a query.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.row::<(i64,)>(query).await.0
    }

    /// Runs statements as the owner of the database.
    pub(crate) async fn run(&self, statements: &str) {
        self.pool.execute(AssertSqlSafe(statements.to_owned())).await.expect(statements);
    }

    /// Runs `work` in one transaction of the store.
    pub(crate) async fn transaction<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: for<'tx> FnOnce(&'tx mut Tx) -> BoxFuture<'tx, Result<T, Error>> + Send + 'static,
    {
        self.store.transaction(work).await
    }

    /// Returns the subjects of the events in the outbox, in order.
    pub(crate) async fn outbox_subjects(&self) -> Vec<String> {
        let query = "SELECT unnest(coalesce(batch_subjects, ARRAY[subject])) FROM outbox ORDER BY id";
        sqlx::query_scalar(query).fetch_all(&self.pool).await.expect("the outbox can be read")
    }
}
