//! Watches that the server works on a transaction.
//!
//! A transaction may take long where its batch is large or the disk is slow, so it has no deadline. While it waits, the
//! server is asked over another connection whether it still works on it. A connection that is dead without being closed
//! shows there as one that waits for its client.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{ConnectOptions, Row};
use tokio::{pin, time::timeout};

use crate::{
    Error, Store,
    pg::pool::{PING_TIMEOUT, timed_out},
};

/// The wait for the server before it is asked what it does, and between two such questions.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Runs `work` on the connection of the server process `pid`, and fails once the server has waited for its client from one
/// question to the next, or cannot be asked. The caller must then close the connection.
pub(crate) async fn watch<T>(
    store: &Store,
    pid: i32,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    pin!(work);
    let mut before = None;
    loop {
        if let Ok(result) = timeout(ASK_EVERY, &mut work).await {
            return result;
        }
        let waits_since = match timeout(PING_TIMEOUT, waits_since(store, pid)).await {
            Ok(Ok(answer)) => answer,
            // The server answers, but has no connection left for a question.
            Ok(Err(sqlx::Error::Database(_))) => None,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(timed_out(ASK_EVERY + PING_TIMEOUT).into()),
        };
        if waits_since.is_some() && waits_since == before {
            return Err(timed_out(2 * ASK_EVERY).into());
        }
        before = waits_since;
    }
}

/// Asks the server, over a connection of its own, since when the process `pid` waits for its client, if it does. A process
/// that the server does not know any more has waited for ever.
async fn waits_since(store: &Store, pid: i32) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let mut connection = store.pool().inner().connect_options().connect().await?;
    let query = sqlx::query(
        "SELECT state_change, state = 'active' AND wait_event_type IS DISTINCT FROM 'Client' AS works
         FROM pg_stat_activity WHERE pid = $1",
    );
    let row = query.bind(pid).fetch_optional(&mut connection).await?;
    let Some(row) = row else { return Ok(Some(DateTime::UNIX_EPOCH)) };
    // Both columns are null for a process of another role, of which nothing can be said.
    let works: Option<bool> = row.try_get("works")?;
    if works == Some(false) { row.try_get("state_change") } else { Ok(None) }
}
