//! Watches that the server works on a transaction.
//!
//! A transaction may take long where its batch is large or the disk is slow, so it has no deadline. While it waits, the
//! server is asked over another connection whether it still works on it. A connection that is dead without being closed
//! shows there as one that waits for its client.
//!
//! What the transaction waits for may be a lock of such a connection, like that of a leader whose machine has vanished. The
//! server would keep it until it has given the connection up, so its process is ended.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};
use tokio::{
    pin,
    sync::Mutex,
    time::{Instant, timeout},
};
use tracing::warn;

use crate::{
    Error, Store,
    pg::{
        eager::eagerly,
        pool::{PING_TIMEOUT, Pool},
        session,
    },
};

/// The wait for the server before it is asked what it does.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// The wait between two such questions.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// The deadline of a question, together with the questions of others before it, or with opening the connection, which takes
/// half a dozen round trips.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// What the process of a transaction does. The subquery ends those processes that keep it waiting for a lock and have themselves
/// waited for their client since longer than a transaction of ours ever does, also amid a COPY. Columns are null for a process
/// of another role, of which nothing can be said.
const ASK: &str = "
    SELECT state_change, state = 'active' AND wait_event_type IS DISTINCT FROM 'Client' AS works,
        CASE WHEN wait_event_type = 'Lock' THEN (
            SELECT count(*) FILTER (WHERE pg_terminate_backend(blocker.pid))
            FROM unnest(pg_blocking_pids(own.pid)) AS blocking (pid) JOIN pg_stat_activity AS blocker USING (pid)
            WHERE blocker.usename = current_user AND blocker.wait_event_type = 'Client'
                AND blocker.state_change < clock_timestamp() - interval '2 seconds') END AS ended
    FROM pg_stat_activity AS own WHERE pid = $1";

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
    let (mut before, mut wait) = (None, ASK_AFTER);
    loop {
        if let Ok(result) = timeout(wait, &mut work).await {
            return result;
        }
        wait = ASK_EVERY;
        let waits_since = match timeout(ANSWER_TIMEOUT, store.monitor.waits_since(store.pool(), pid)).await {
            Ok(Ok(answer)) => answer,
            // The server answers, but has no connection left for a question.
            Ok(Err(sqlx::Error::Database(_))) => None,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(session::timed_out(ASK_AFTER + ANSWER_TIMEOUT).into()),
        };
        if waits_since.is_some() && waits_since == before {
            return Err(session::timed_out(ASK_AFTER + ASK_EVERY).into());
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
            let row = sqlx::query(ASK).bind(pid).fetch_optional(&mut connection).await?;
            Ok::<_, sqlx::Error>(((connection, opened), row))
        };
        let (open, row) =
            timeout(deadline, eagerly(Box::pin(asked))).await.map_err(|_| session::timed_out(deadline))??;
        *shared = Some(open);
        let Some(row) = row else { return Ok(Some(DateTime::UNIX_EPOCH)) };
        if let Some(ended) = row.try_get::<Option<i64>, _>("ended")?.filter(|ended| *ended > 0) {
            warn!(
                ended,
                pid,
                "ended processes of the database whose clients do not answer, and for whose locks a transaction waits"
            );
        }
        let works: Option<bool> = row.try_get("works")?;
        if works == Some(false) { row.try_get("state_change") } else { Ok(None) }
    }
}
