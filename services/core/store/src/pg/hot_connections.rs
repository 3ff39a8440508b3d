//! Connections that were used a moment ago serve single statements on the path of a request.
//!
//! The pool pings a connection each time that it is returned, and lends the one that was idle longest. This stack lends
//! the one that was used last, without a ping: the server has the statement's plan and catalogue entries cached on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use sqlx::{
    Executor, PgConnection, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::time::{Instant, timeout};

use crate::{
    Error, Store,
    pg::{
        pool::{ASSUME_ALIVE_FOR, Connection, Pool, STATEMENT_TIMEOUT},
        session,
    },
};

/// The share of a process's connections that may wait here is one of this many; all others stay in the pool.
const CONNECTIONS_PER_HOT_ONE: usize = 4;

/// The idle connections with the time of each one's last use, the one that was used last at the end.
type Stack = Vec<(Instant, Connection)>;

/// The hot connections, which all clones of a store share.
#[derive(Debug, Clone, Default)]
pub(crate) struct HotConnections(Arc<Mutex<Stack>>);

impl HotConnections {
    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, pool: &Pool) -> Option<Connection> {
        let mut idle = self.lock();
        let (used, connection) = idle.pop()?;
        if used.elapsed() < ASSUME_ALIVE_FOR && !pool.has_reconnected_since(used) {
            return Some(connection);
        }
        // The others are older still, so they return to the pool, which checks them.
        idle.clear();
        None
    }

    fn keep(&self, pool: &Pool, connection: Connection) {
        let mut idle = self.lock();
        let most = pool.inner().options().get_max_connections() as usize / CONNECTIONS_PER_HOT_ONE;
        if idle.len() < most && !pool.inner().is_closed() {
            idle.push((Instant::now(), connection));
        }
    }

    /// Returns all connections to the pool.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

impl Store {
    /// Returns the rows of one query on the path of a request, as [`Store::on_hot_connection`] does.
    pub(crate) async fn fetch_hot(&self, query: Query<'static, Postgres, PgArguments>) -> Result<Vec<PgRow>, Error> {
        self.on_hot_connection(|connection| Box::pin(async move { Ok(connection.fetch_all(query).await?) })).await
    }

    /// Runs one statement on the path of a request, on a connection that was used a moment ago if there is one. The
    /// connection serves the next statement only after this one has succeeded.
    pub(crate) async fn on_hot_connection<T, S>(&self, statement: S) -> Result<T, Error>
    where
        S: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Error>>,
    {
        let mut connection = match self.hot.take(self.pool()) {
            Some(connection) => connection,
            None => self.pool().connection().await?,
        };
        let Ok(result) = timeout(STATEMENT_TIMEOUT, statement(&mut connection)).await else {
            connection.close_on_drop();
            return Err(session::timed_out(STATEMENT_TIMEOUT).into());
        };
        if result.is_ok() {
            self.hot.keep(self.pool(), connection);
        }
        result
    }
}
