//! The leader lock: of several instances of a service, the one that holds the advisory lock is the leader.
//!
//! The lock spares two instances the same work. The fenced position, and not the lock, prevents an effect from being
//! saved twice.

use std::time::Duration;

use platform::{Check, ServiceError};
use sqlx::{PgConnection, Postgres, pool::PoolConnection};
use tracing::{debug, info};

use crate::{Error, Store};

/// The interval at which a standby tries to take the lock and a leader checks its connection.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The leadership of a service, which ends with the connection that holds the lock.
pub struct LeaderLock {
    service: &'static str,
    connection: Option<PoolConnection<Postgres>>,
}

/// Waits until this process is the leader of `service`.
pub async fn acquire(store: &Store, service: &'static str, check: &Check) -> Result<LeaderLock, ServiceError> {
    let mut connection = store.connection().await.map_err(Error::from)?;
    let mut waited = false;
    while !try_lock(&mut connection, service).await? {
        if !waited {
            info!(service, "waiting for leadership; another instance is the leader");
            check.standby();
            waited = true;
        }
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
    // A lone instance leads at once, which is worth no line; that a standby takes over is.
    if waited {
        info!(service, "acquired leadership");
    } else {
        debug!(service, "acquired leadership");
    }
    Ok(LeaderLock { service, connection: Some(connection) })
}

/// Takes the leadership of `service` from its leader and holds it until the result is dropped, for measurements and
/// maintenance. The former leader becomes a standby as soon as it notices.
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
    /// Waits until the lock's connection is lost, and the lock with it, and returns the error.
    pub async fn lost(&mut self) -> ServiceError {
        let Some(connection) = self.connection.as_mut() else {
            return ServiceError::transient("hold the leader lock", "it was released");
        };
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            if let Err(error) = sqlx::query("SELECT 1").execute(&mut **connection).await {
                return ServiceError::transient(format!("the leader lock of {} was lost", self.service), error);
            }
        }
    }
}

impl Drop for LeaderLock {
    fn drop(&mut self) {
        // PostgreSQL releases the lock when the connection closes, so the connection must not return to the pool.
        drop(self.connection.take().map(PoolConnection::detach));
    }
}
