//! The pool of connections. Nothing that waits for the server waits for ever.
//!
//! A connection can be dead without being closed: the server's machine has vanished, or a firewall has forgotten the
//! connection. The library then waits until the kernel gives up, which takes a quarter of an hour. So a statement, a ping
//! and a return to the pool each have a deadline here, after which the connection is closed. [`super::progress`] does the
//! same for transactions, which may take longer.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt, TryFutureExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Connection as _, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
    pool::{PoolConnection, PoolConnectionMetadata},
    postgres::{PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::time::{Instant, error::Elapsed, timeout};

use crate::pg::{eager::eagerly, session};

/// A connection that was used within this time is assumed to be alive.
pub(crate) const ASSUME_ALIVE_FOR: Duration = Duration::from_secs(1);
/// The deadline of a statement outside of a transaction, which is shorter than that of a request.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(8);
/// The longest wait for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);
/// The deadline of a ping.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The pool, which all clones share.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pool: PgPool,
    /// The time before which connections were opened that are not used any more.
    expired: Arc<Mutex<Option<Instant>>>,
}

impl Pool {
    /// Returns a pool that opens connections as they are needed.
    pub(crate) fn new(options: PgConnectOptions, max_connections: u32) -> Self {
        let expired = Arc::new(Mutex::new(None));
        let expired_before = Arc::clone(&expired);
        let pool = session::pool_options()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A ping before each use would add a round trip to every request.
            .test_before_acquire(false)
            .before_acquire(move |connection, metadata| {
                let is_expired = is_expired(&expired_before, &metadata);
                Box::pin(async move {
                    if !is_expired && metadata.idle_for >= ASSUME_ALIVE_FOR {
                        timeout(PING_TIMEOUT, connection.ping())
                            .await
                            .map_err(|_| session::timed_out(PING_TIMEOUT))??;
                    }
                    Ok(!is_expired)
                })
            })
            .connect_lazy_with(options);
        Self { pool, expired }
    }

    /// Returns a connection of the pool. The future is boxed in one place, because the library's code for it is large.
    pub(crate) fn connection(&self) -> BoxFuture<'static, Result<Connection, sqlx::Error>> {
        let acquire = eagerly(Box::pin(self.pool.acquire()));
        Box::pin(async move { Ok(Connection { connection: acquire.await?, is_discarded: false }) })
    }

    /// Uses another server, or new connections to the same one, from now on. Connections that are in use are closed when
    /// they are returned.
    pub(crate) fn reconnect(&self, options: PgConnectOptions) {
        self.pool.set_connect_options(options);
        *self.expired.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns whether the pool has changed to new connections since `opened`.
    pub(crate) fn has_reconnected_since(&self, opened: Instant) -> bool {
        self.expired.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|expired| expired >= opened)
    }

    /// Returns the library's pool, for what needs it.
    pub(crate) fn inner(&self) -> &PgPool {
        &self.pool
    }
}

fn is_expired(expired: &Mutex<Option<Instant>>, metadata: &PoolConnectionMetadata) -> bool {
    let expired = *expired.lock().unwrap_or_else(PoisonError::into_inner);
    expired.is_some_and(|expired| expired.elapsed() <= metadata.age)
}

/// A connection of the pool, which returns to it when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    connection: PoolConnection<Postgres>,
    is_discarded: bool,
}

impl Connection {
    /// Closes the connection when it is dropped, because its state is unknown or must not be shared.
    pub(crate) fn close_on_drop(&mut self) {
        self.connection.close_on_drop();
        self.is_discarded = true;
    }

    /// Returns the result of a statement, and closes the connection when the server has not answered in time.
    pub(crate) fn result<T>(mut self, result: Result<Result<T, sqlx::Error>, Elapsed>) -> Result<T, sqlx::Error> {
        result.unwrap_or_else(|_| {
            self.close_on_drop();
            Err(session::timed_out(STATEMENT_TIMEOUT))
        })
    }
}

impl Deref for Connection {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.is_discarded {
            // The library pings the connection before it is used again. One that does not answer is closed.
            tokio::spawn(timeout(PING_TIMEOUT, self.connection.return_to_pool()));
        }
    }
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<PgQueryResult, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connection = self.connection();
        Box::pin(async move {
            let mut connection = connection.await?;
            let result = timeout(STATEMENT_TIMEOUT, connection.execute(query)).await;
            connection.result(result)
        })
    }

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connection = self.connection();
        let steps = async move {
            let mut connection = connection.await?;
            let result = timeout(STATEMENT_TIMEOUT, connection.fetch_many(query).try_collect::<Vec<_>>()).await;
            connection.result(result)
        };
        steps.map_ok(|steps| stream::iter(steps).map(Ok)).try_flatten_stream().boxed()
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connection = self.connection();
        Box::pin(async move {
            let mut connection = connection.await?;
            let result = timeout(STATEMENT_TIMEOUT, connection.fetch_all(query)).await;
            connection.result(result)
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connection = self.connection();
        Box::pin(async move {
            let mut connection = connection.await?;
            let result = timeout(STATEMENT_TIMEOUT, connection.fetch_optional(query)).await;
            connection.result(result)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let connection = self.connection();
        Box::pin(async move {
            let mut connection = connection.await?;
            let result = timeout(STATEMENT_TIMEOUT, connection.prepare_with(sql, parameters)).await;
            connection.result(result)
        })
    }
}
