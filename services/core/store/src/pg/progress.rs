//! Watches that the server works on a transaction.
//!
//! A transaction may take long where its batch is large or the disk is slow, so it has no deadline. While it waits, the
//! server is asked over another connection whether it still works on it. A connection that is dead without being closed
//! shows there as one that waits for its client.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};
use tokio::{
    pin,
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    Error, Store,
    pg::{
        eager::eagerly,
        pool::{PING_TIMEOUT, Pool},
        session,
    },
};

/// The wait for the server before it is asked what it does, and between two such questions.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// The deadline of a question, together with the questions of others before it, or with opening the connection, which takes
/// half a dozen round trips.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// The connection over which the server is asked. All transactions of a process share it: a slow server must not have to open
/// one more connection for each of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Monitor(Arc<Mutex<Option<(PgConnection, Instant)>>>);

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
        let waits_since = match timeout(ANSWER_TIMEOUT, store.monitor.waits_since(store.pool(), pid)).await {
            Ok(Ok(answer)) => answer,
            // The server answers, but has no connection left for a question.
            Ok(Err(sqlx::Error::Database(_))) => None,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(session::timed_out(ASK_EVERY + ANSWER_TIMEOUT).into()),
        };
        if waits_since.is_some() && waits_since == before {
            return Err(session::timed_out(2 * ASK_EVERY).into());
        }
        before = waits_since;
    }
}

impl Monitor {
    /// Asks the server since when the process `pid` waits for its client, if it does. A process that the server does not know
    /// any more has waited for ever.
    async fn waits_since(&self, pool: &Pool, pid: i32) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        let mut shared = self.0.lock().await;
        // It is taken, so that a connection that gives no answer is not asked again. The server that the pool has left does
        // not know the processes of the other one.
        let open = shared.take().filter(|(_, opened)| !pool.has_reconnected_since(*opened));
        let deadline = if open.is_some() { PING_TIMEOUT } else { ANSWER_TIMEOUT };
        let asked = async {
            let (mut connection, opened) = match open {
                Some(open) => open,
                None => (session::open(&pool.inner().connect_options()).await?, Instant::now()),
            };
            let query = sqlx::query(
                "SELECT state_change, state = 'active' AND wait_event_type IS DISTINCT FROM 'Client' AS works
                 FROM pg_stat_activity WHERE pid = $1",
            );
            let row = query.bind(pid).fetch_optional(&mut connection).await?;
            Ok::<_, sqlx::Error>(((connection, opened), row))
        };
        let (open, row) =
            timeout(deadline, eagerly(Box::pin(asked))).await.map_err(|_| session::timed_out(deadline))??;
        *shared = Some(open);
        let Some(row) = row else { return Ok(Some(DateTime::UNIX_EPOCH)) };
        // Both columns are null for a process of another role, of which nothing can be said.
        let works: Option<bool> = row.try_get("works")?;
        if works == Some(false) { row.try_get("state_change") } else { Ok(None) }
    }
}
