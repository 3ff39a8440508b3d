//! The relay publishes committed events from the outbox.

use std::{collections::HashSet, convert::Infallible, mem, time::Duration};

use events::OutboundMessage;
use platform::{Broker, ServiceError, Shutdown};
use sqlx::{Row, postgres::PgRow, types::Json};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use crate::{Error, Store, outbox::channel, pg::listener::Listener};

/// The approximate number of events that are published between two deletes.
const BATCH: usize = 4_000;
/// The interval of polling, which finds events whose notification was lost while the listener reconnected.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The interval at which the rows are deleted that were published from memory.
const DELETE_EVERY: Duration = Duration::from_millis(100);
/// Deletes published rows. The commit need not reach the disk before the next events are published: a row that a crash
/// brings back is published again under the same id. The setting holds to the end of the statement's own transaction.
const DELETE_PUBLISHED: &str = "
    DELETE FROM outbox USING (SELECT set_config('synchronous_commit', 'off', true) AS value OFFSET 0) AS setting
    WHERE id = ANY($1) AND setting.value = 'off'";

/// Publishes the events that `service` has committed and not yet published, in the order of commit, and returns their
/// number.
///
/// Only the leader of the service may call this: two publishers would not preserve the order.
pub async fn publish_pending(store: &Store, service: &'static str, broker: &Broker) -> Result<usize, ServiceError> {
    publish_rows(store, service, broker, |_| {}).await
}

/// Does the same, and calls `each` with the rows that are published.
async fn publish_rows(
    store: &Store,
    service: &'static str,
    broker: &Broker,
    mut each: impl FnMut(Vec<i64>),
) -> Result<usize, ServiceError> {
    let mut published = 0;
    loop {
        let (rows, events) = find_pending(store, service).await?;
        if rows.is_empty() {
            return Ok(published);
        }
        broker.publish(&events).await?;
        delete_published(store, &rows).await?;
        each(rows);
        published += events.len();
        debug!(service, events = events.len(), "published committed events");
        if events.len() < BATCH {
            return Ok(published);
        }
    }
}

/// Publishes the events of `service` as any process commits them, until shutdown. Those that are committed within
/// `pace` of a publish are published together after it, because each publish costs the broker more than a message does.
pub async fn run(
    store: &Store,
    service: &'static str,
    broker: &Broker,
    pace: Duration,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut listener = Listener::new(store, channel(service));
    loop {
        if publish_pending(store, service, broker).await? > 0 {
            sleep(pace).await;
        }
        tokio::select! {
            () = listener.wait(Instant::now() + POLL_INTERVAL) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// What a run has committed and not yet published.
#[derive(Debug, Default)]
pub(crate) struct CommittedEvents {
    /// The rows of the outbox with these events; none where they are found in it alone.
    pub(crate) rows: Option<Vec<i64>>,
    pub(crate) events: Vec<OutboundMessage>,
    /// The room that the events take until they are published.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Publishes what a run commits, in that order, while the run goes on, and counts it in `published`. The events are those in memory:
/// the outbox is read only where others have added to it, or where there was no room for the events. Rows are deleted behind that,
/// many at a time.
///
/// It returns with the first error. The events that are not published then are in the outbox.
pub(crate) async fn publish_committed(
    store: &Store,
    service: &'static str,
    broker: &Broker,
    mut committed: mpsc::Receiver<CommittedEvents>,
    published: &watch::Sender<u64>,
) -> Result<Infallible, ServiceError> {
    // The rows that are published and not deleted, and those that the outbox had when it was read last.
    let (mut undeleted, mut found) = (Vec::new(), HashSet::new());
    let mut delete_at = Instant::now();
    let mut deletions = JoinSet::new();
    loop {
        let first = tokio::select! {
            Some(committed) = committed.recv() => committed,
            Some(deleted) = deletions.join_next() => {
                ended(deleted)?;
                continue;
            }
            () = sleep_until(delete_at), if !undeleted.is_empty() && deletions.is_empty() => {
                let (store, rows) = (store.clone(), mem::take(&mut undeleted));
                deletions.spawn(async move { delete_published(&store, &rows).await });
                continue;
            }
        };
        let (mut rows, mut events, mut rooms, mut is_known) = (Vec::new(), Vec::new(), Vec::new(), true);
        let mut next = Some(first);
        while let Some(CommittedEvents { rows: added, events: more, room }) = next {
            match added {
                // The outbox was read between their commit and now.
                Some(added) if !added.is_empty() && added.iter().all(|row| found.contains(row)) => {}
                Some(added) => {
                    rows.extend(added);
                    events.extend(more);
                }
                None => is_known = false,
            }
            rooms.push(room);
            // All that waits is in the outbox, too, and is published with it.
            next = if events.len() < BATCH || !is_known { committed.try_recv().ok() } else { None };
        }
        if is_known {
            broker.publish(&events).await?;
            debug!(service, events = events.len(), "published committed events");
            if undeleted.is_empty() {
                delete_at = Instant::now() + DELETE_EVERY;
            }
            undeleted.extend(rows);
        } else {
            // What is published already would be published once more.
            while let Some(deleted) = deletions.join_next().await {
                ended(deleted)?;
            }
            delete_published(store, &mem::take(&mut undeleted)).await?;
            found.clear();
            publish_rows(store, service, broker, |rows| found.extend(rows)).await?;
        }
        published.send_modify(|published| *published += rooms.len() as u64);
    }
}

fn ended(deleted: Result<Result<(), Error>, JoinError>) -> Result<(), ServiceError> {
    let deleted = deleted.map_err(|error| ServiceError::transient("delete published events", error))?;
    Ok(deleted?)
}

async fn delete_published(store: &Store, rows: &[i64]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(DELETE_PUBLISHED).bind(rows).execute(store.pool()).await?;
    Ok(())
}

async fn find_pending(store: &Store, service: &str) -> Result<(Vec<i64>, Vec<OutboundMessage>), Error> {
    // The query does not ask for ids after the last one: ids are drawn before the commit, and some commit late.
    let rows = sqlx::query(
        "SELECT * FROM (SELECT *, sum(event_count) OVER (ORDER BY id) - event_count AS before FROM outbox
                        WHERE service = $1 ORDER BY id LIMIT $2) AS next
         WHERE before < $2 ORDER BY id",
    )
    .bind(service)
    .bind(BATCH as i64)
    .fetch_all(store.pool())
    .await?;
    let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        events.extend(unpack(row)?);
    }
    Ok((ids, events))
}

/// Returns the events of a row, one or many.
fn unpack(row: &PgRow) -> Result<Vec<OutboundMessage>, Error> {
    let Some(subjects) = row.try_get::<Option<Vec<String>>, _>("batch_subjects")? else {
        return Ok(vec![OutboundMessage {
            subject: row.try_get("subject")?,
            id: row.try_get("message_id")?,
            headers: row.try_get::<Json<_>, _>("headers")?.0,
            body: row.try_get("body")?,
        }]);
    };
    let ids: Vec<String> = row.try_get("batch_message_ids")?;
    let headers: Vec<String> = row.try_get("batch_headers")?;
    let bodies: Vec<Vec<u8>> = row.try_get("batch_bodies")?;
    let parts = subjects.into_iter().zip(ids).zip(headers.into_iter().zip(bodies));
    let event = |((subject, id), (headers, body)): ((String, String), (String, Vec<u8>))| {
        Ok(OutboundMessage { subject, id, headers: serde_json::from_str(&headers)?, body })
    };
    parts.map(event).collect()
}
