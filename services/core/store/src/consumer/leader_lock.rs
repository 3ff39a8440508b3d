//! Who does the work of a service when several instances run: the one that holds its advisory lock.
//!
//! The lock saves two instances from doing the same work; what keeps them from doing it twice is the fenced position.

use std::time::Duration;

use platform::{Check, ServiceError};
use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use tracing::info;

use crate::{Error, Store};

/// How often a standby asks whether the work is free.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// The right to do a service's work, given up with its connection.
pub struct LeaderLock {
    service: &'static str,
    connection: Option<PoolConnection<Postgres>>,
}

/// Waits until this process may do the work of `service`.
pub async fn acquire(store: &Store, service: &'static str, check: &Check) -> Result<LeaderLock, ServiceError> {
    let mut connection = store.connection().await.map_err(Error::from)?;
    let mut waited = false;
    while !try_lock(&mut connection, service).await? {
        if !waited {
            info!(service, "another instance does the work; standing by");
            check.standby();
            waited = true;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    info!(service, "doing the work");
    Ok(LeaderLock { service, connection: Some(connection) })
}

/// Takes the work of `service` from whoever does it, and keeps everybody from it until this is dropped: for
/// measurements and maintenance. Whoever did it stands by as soon as it notices.
pub async fn seize(store: &Store, service: &'static str) -> Result<LeaderLock, Error> {
    let mut connection = store.connection().await?;
    while !try_lock(&mut connection, service).await? {
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
             AND (classid::bigint << 32) | objid::bigint = hashtextextended('tickbell/' || $1, 0)",
        )
        .bind(service)
        .execute(&mut *connection)
        .await?;
    }
    Ok(LeaderLock { service, connection: Some(connection) })
}

async fn try_lock(connection: &mut PgConnection, service: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('tickbell/' || $1, 0))")
        .bind(service)
        .fetch_one(connection)
        .await?)
}

impl LeaderLock {
    /// Ends with a fault when the lock's connection is lost, and with it the lock.
    pub async fn lost(&mut self) -> ServiceError {
        let Some(connection) = self.connection.as_mut() else {
            return ServiceError::transient("hold the work", "it was given up");
        };
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            if let Err(error) = sqlx::query("SELECT 1").execute(&mut **connection).await {
                return ServiceError::transient(format!("the lock on {}'s work was lost", self.service), error);
            }
        }
    }
}

impl Drop for LeaderLock {
    fn drop(&mut self) {
        // A session's lock goes with its connection, so the connection must not return to the pool.
        drop(self.connection.take().map(PoolConnection::detach));
    }
}
