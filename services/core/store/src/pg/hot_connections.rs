//! Connections that were used a moment ago serve single statements on the path of a request.
//!
//! The pool pings a connection each time that it is returned, and lends the one that was idle longest. This stack lends
//! the one that was used last, without a ping: the server has the statement's plan and catalogue entries cached on it.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use tokio::time::Instant;

use crate::{Error, Store};

/// A connection that was used within this time is assumed to be alive.
pub(crate) const ASSUME_ALIVE_FOR: Duration = Duration::from_secs(1);
/// The share of a process's connections that may wait here is one of this many; all others stay in the pool.
const CONNECTIONS_PER_HOT_ONE: usize = 8;

/// The idle connections with the time of each one's last use, the one that was used last at the end.
type Stack = Vec<(Instant, PoolConnection<Postgres>)>;

/// The hot connections, which all clones of a store share.
#[derive(Debug, Clone, Default)]
pub(crate) struct HotConnections(Arc<Mutex<Stack>>);

impl HotConnections {
    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<PoolConnection<Postgres>> {
        let mut idle = self.lock();
        let (used, connection) = idle.pop()?;
        if used.elapsed() < ASSUME_ALIVE_FOR {
            return Some(connection);
        }
        // The others are older still, so they return to the pool, which checks them.
        idle.clear();
        None
    }

    /// Returns all connections to the pool.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

/// A connection for one statement. One that is dropped without [`HotConnection::keep`] returns to the pool, which
/// checks it: the statement has failed, or its caller was dropped in the middle of it.
pub(crate) struct HotConnection<'a> {
    store: &'a Store,
    connection: PoolConnection<Postgres>,
}

impl HotConnection<'_> {
    /// Puts the connection back for the next statement, after this one has succeeded.
    pub(crate) fn keep(self) {
        let Self { store, connection } = self;
        let mut idle = store.hot.lock();
        if idle.len() < store.pool().options().get_max_connections() as usize / CONNECTIONS_PER_HOT_ONE
            && !store.pool().is_closed()
        {
            idle.push((Instant::now(), connection));
        }
    }
}

impl Deref for HotConnection<'_> {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for HotConnection<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Store {
    /// Returns a connection for one statement on the path of a request.
    pub(crate) async fn hot_connection(&self) -> Result<HotConnection<'_>, Error> {
        let connection = match self.hot.take() {
            Some(connection) => connection,
            None => self.connection().await?,
        };
        Ok(HotConnection { store: self, connection })
    }
}
