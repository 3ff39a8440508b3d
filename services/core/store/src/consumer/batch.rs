//! A batch that is written as one statement, which is a transaction by itself. Every further round trip would delay all that is
//! decided in the batch and all that arrives meanwhile.

use std::sync::Arc;

use events::{DeadLetter, OutboundMessage};
use sqlx::{PgExecutor, Postgres, QueryBuilder, query_builder::Separated};
use tokio::sync::Mutex;

use crate::{
    Error, Store, bigint,
    consumer::{
        dead_letters,
        position::{self, Advance},
    },
    outbox,
    pg::{pool::Connection, progress, transaction::in_task},
};

/// The SQLSTATE serialization_failure, which at this isolation level only the function `fence` raises.
const FENCED: &str = "40001";

/// The statement that is being written, with its bound values. The database checks its constraints in triggers that run when all
/// rows are written.
pub(crate) struct BatchStatement {
    query: QueryBuilder<Postgres>,
    advances: Vec<Advance>,
    has_events: bool,
}

impl BatchStatement {
    /// Begins with the steps of the consumers.
    pub(crate) fn new(advances: Vec<Advance>) -> Self {
        let mut statement = Self { query: QueryBuilder::new("WITH moved AS ("), advances, has_events: false };
        position::push(&mut statement.query, &statement.advances);
        statement.query.push(")");
        statement
    }

    /// Adds rows that are bound as one array for each column.
    pub(crate) fn insert(
        &mut self,
        name: &str,
        into: &str,
        on_conflict: &str,
        bind: impl FnOnce(&mut Separated<'_, Postgres, &str>),
    ) {
        self.add(name, &format!("INSERT INTO {into} SELECT * FROM"), &format!(") {on_conflict})"), bind);
    }

    /// Adds a part that works on rows: what stands before them and behind them, and their columns as arrays.
    pub(crate) fn add(
        &mut self,
        name: &str,
        before: &str,
        behind: &str,
        bind: impl FnOnce(&mut Separated<'_, Postgres, &str>),
    ) {
        self.query.push(format_args!(", {name} AS ({before} unnest("));
        bind(&mut self.query.separated(", "));
        self.query.push(behind);
    }

    /// Adds the events of a service to its outbox.
    pub(crate) fn add_events(&mut self, service: &'static str, events: &[OutboundMessage]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        self.has_events = true;
        self.query.push(", queued AS (");
        outbox::push_together(&mut self.query, service, events)?;
        self.query.push(" RETURNING id)");
        Ok(())
    }

    /// Makes the statement fail when another instance has advanced a consumer meanwhile. `condition` adds what else must hold.
    pub(crate) fn fence(&mut self, condition: impl FnOnce(&mut QueryBuilder<Postgres>)) {
        let consumers = bigint(self.advances.len() as u64);
        self.query.push(if self.has_events {
            " SELECT (SELECT array_agg(id) FROM queued), fence((SELECT count(*) FROM moved) = "
        } else {
            " SELECT NULL::bigint[], fence((SELECT count(*) FROM moved) = "
        });
        self.query.push_bind(consumers);
        condition(&mut self.query);
        self.query.push(")");
    }

    /// Executes the statement and returns the rows of the outbox that it has added.
    pub(crate) async fn execute(mut self, executor: impl PgExecutor<'_>) -> Result<Vec<i64>, Error> {
        match self.query.build_query_scalar::<Option<Vec<i64>>>().fetch_one(executor).await {
            Ok(rows) => Ok(rows.unwrap_or_default()),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(FENCED) => {
                Err(Error::fenced(&self.advances))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns one column of rows.
pub(crate) fn column<'a, R, V>(rows: &'a [R], value: impl Fn(&'a R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// A connection that commits batches. It is never shared, so that PostgreSQL's caches for the batch statement stay filled.
#[derive(Debug, Clone)]
pub(crate) struct BatchConnection {
    store: Store,
    connection: Arc<Mutex<Connection>>,
    /// The server's process of the connection.
    pid: i32,
}

impl BatchConnection {
    pub(crate) async fn open(store: &Store) -> Result<Self, Error> {
        let mut connection = store.pool().connection().await?;
        // A run that fails leaves the connection in an unknown state.
        connection.close_on_drop();
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await?;
        Ok(Self { store: store.clone(), connection: Arc::new(Mutex::new(connection)), pid })
    }

    /// Commits a batch, in a task of its own to its end. Returns the rows of the outbox that have its events; none where the
    /// outbox has dead letters of the batch beside them.
    pub(crate) async fn commit(
        self,
        service: &'static str,
        statement: BatchStatement,
        dead_letters: Vec<DeadLetter>,
    ) -> Result<Option<Vec<i64>>, Error> {
        in_task(async move {
            let Self { store, connection, pid } = self;
            if dead_letters.is_empty() {
                let mut connection = connection.lock().await;
                return progress::watch(&store, pid, statement.execute(&mut **connection)).await.map(Some);
            }
            let committed = store.transaction(move |tx| {
                Box::pin(async move {
                    dead_letters::add(tx, service, &dead_letters).await?;
                    statement.execute(&mut **tx).await
                })
            });
            committed.await.map(|_| None)
        })
        .await
    }
}
