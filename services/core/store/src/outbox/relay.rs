//! The relay publishes committed events from the outbox.

use std::{convert::Infallible, mem, pin::pin, time::Duration};

use events::OutboundMessage;
use futures::future::OptionFuture;
use platform::{Broker, ServiceError, Shutdown};
use sqlx::{Row, postgres::PgRow, types::Json};
use tokio::{
    sync::{mpsc, watch},
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
    let mut published = 0;
    loop {
        let (rows, events) = find_pending(store, service).await?;
        if rows.is_empty() {
            return Ok(published);
        }
        broker.publish(&events).await?;
        delete_published(store, &rows).await?;
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
#[derive(Debug)]
pub(crate) struct CommittedEvents {
    /// The rows of the outbox with these events; none where they are found in it alone.
    pub(crate) rows: Option<Vec<i64>>,
    pub(crate) events: Vec<OutboundMessage>,
}

/// Publishes what a run commits, in that order, while the run goes on, and counts it in `published`. The events are those in memory:
/// the outbox is read only where a run before this one has left them. Their rows are deleted behind that, many at a time.
///
/// It returns with the first error. The events that are not published then are in the outbox.
pub(crate) async fn publish_committed(
    store: &Store,
    service: &'static str,
    broker: &Broker,
    mut committed: mpsc::Receiver<CommittedEvents>,
    published: &watch::Sender<u64>,
) -> Result<Infallible, ServiceError> {
    let mut rows = Vec::new();
    let mut delete_at = Instant::now();
    let (mut deletion, mut is_deleting) = (pin!(OptionFuture::from(None)), false);
    loop {
        let first = tokio::select! {
            Some(committed) = committed.recv() => committed,
            Some(deleted) = &mut deletion => {
                deletion.set(None.into());
                is_deleting = false;
                deleted?;
                continue;
            }
            () = sleep_until(delete_at), if !rows.is_empty() && !is_deleting => {
                let rows = mem::take(&mut rows);
                deletion.set(Some(async move { delete_published(store, &rows).await }).into());
                is_deleting = true;
                continue;
            }
        };
        let (mut count, mut events, mut is_known) = (0, Vec::new(), true);
        let mut next = Some(first);
        while let Some(CommittedEvents { rows: added, events: more }) = next {
            if rows.is_empty() {
                delete_at = Instant::now() + DELETE_EVERY;
            }
            match added {
                Some(added) => rows.extend(added),
                None => is_known = false,
            }
            events.extend(more);
            count += 1;
            next = if events.len() < BATCH { committed.try_recv().ok() } else { None };
        }
        if is_known {
            broker.publish(&events).await?;
            debug!(service, events = events.len(), "published committed events");
        } else {
            publish_pending(store, service, broker).await?;
        }
        published.send_modify(|published| *published += count);
    }
}

async fn delete_published(store: &Store, rows: &[i64]) -> Result<(), Error> {
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
