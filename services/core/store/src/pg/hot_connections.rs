//! Connections that were used a moment ago, for single statements that people wait for.
//!
//! The pool asks a connection whether it is there each time that it comes back, and gives out the one that was idle longest.
//! Here the one that was used last is first, without a question: what the statement needs is warm on it.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use tokio::time::Instant;

use crate::{Error, Store};

/// A connection that was used so recently is taken to be there still.
pub(crate) const ASSUME_ALIVE_FOR: Duration = Duration::from_secs(1);
/// One of so many connections of a process may be kept here; all others are for everybody.
const ONE_OF: usize = 8;

/// Those that are kept and when each was used, the one that was used last at the end.
type Stack = Vec<(Instant, PoolConnection<Postgres>)>;

/// Shared by all who use the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct HotConnections(Arc<Mutex<Stack>>);

impl HotConnections {
    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<PoolConnection<Postgres>> {
        let mut kept = self.lock();
        let (used, connection) = kept.pop()?;
        if used.elapsed() < ASSUME_ALIVE_FOR {
            return Some(connection);
        }
        // Older ones are older still: the pool looks after them.
        kept.clear();
        None
    }

    /// Gives all of them back.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

/// A connection for one statement. One that is dropped without [`HotConnection::keep`] goes back to the pool, which finds out how it
/// is: the statement failed, or its caller went away in the middle of it.
pub(crate) struct HotConnection<'a> {
    store: &'a Store,
    connection: PoolConnection<Postgres>,
}

impl HotConnection<'_> {
    /// The statement has succeeded: the next one may have the connection as it is.
    pub(crate) fn keep(self) {
        let Self { store, connection } = self;
        let mut kept = store.hot.lock();
        if kept.len() < store.pool().options().get_max_connections() as usize / ONE_OF && !store.pool().is_closed() {
            kept.push((Instant::now(), connection));
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
    /// A connection for one statement that somebody waits for.
    pub(crate) async fn hot_connection(&self) -> Result<HotConnection<'_>, Error> {
        let connection = match self.hot.take() {
            Some(connection) => connection,
            None => self.connection().await?,
        };
        Ok(HotConnection { store: self, connection })
    }
}
