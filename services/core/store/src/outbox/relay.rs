//! Facts that are committed are published.

use std::{
    collections::HashMap,
    iter,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use events::OutboundMessage;
use platform::{Broker, ServiceError, Shutdown};
use sqlx::{
    Row,
    postgres::{PgListener, PgRow},
    types::Json,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout_at},
};
use tracing::debug;

use crate::{Error, Store, outbox::channel};

/// How many facts are published between two deletes, about.
const BATCH: usize = 4_000;
/// How many facts may be on their way to the relay of the same process.
const HANDED: usize = 4_000;
/// What was handed over and is published is forgotten when nothing more comes for so long.
const QUIET: Duration = Duration::from_millis(50);
/// A notice that was lost while the listener reconnected is made up for after this long.
const SWEEP: Duration = Duration::from_secs(1);
/// Its commit need not reach the disk before the next facts are published: a row that a crash brings back is published
/// again under the same id. The setting holds to the end of the statement's own transaction.
const FORGET: &str = "
    DELETE FROM outbox USING (SELECT set_config('synchronous_commit', 'off', true) AS value OFFSET 0) AS setting
    WHERE id = ANY($1) AND setting.value = 'off'";

/// A committed fact and its row.
type Committed = (i64, OutboundMessage);

/// The way from whoever commits facts to the relay, when both are in this process: it needs not be told by the database.
#[derive(Debug, Clone, Default)]
pub(crate) struct LocalRelay(Arc<Mutex<HashMap<&'static str, Relay>>>);

/// A relay of this process.
#[derive(Debug)]
struct Relay {
    /// Takes facts, so that it needs not look for them.
    facts: mpsc::Sender<Committed>,
    /// Lets it look.
    look: Weak<Notify>,
}

impl LocalRelay {
    fn open(&self, service: &'static str) -> (mpsc::Receiver<Committed>, Arc<Notify>) {
        let (sender, receiver) = mpsc::channel(HANDED);
        let look = Arc::new(Notify::new());
        let relay = Relay { facts: sender, look: Arc::downgrade(&look) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(service, relay);
        (receiver, look)
    }

    fn with(&self, service: &'static str, tell: impl FnOnce(&Relay) -> bool) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(service).is_some_and(tell)
    }

    /// Whether a relay of this process has taken it. It is in the database all the same.
    fn give(&self, service: &'static str, committed: Committed) -> bool {
        self.with(service, |relay| relay.facts.try_send(committed).is_ok())
    }

    /// Whether there is a relay of this process to look.
    fn look(&self, service: &'static str) -> bool {
        self.with(service, |relay| relay.look.upgrade().inspect(|look| look.notify_one()).is_some())
    }
}

/// Has a committed fact published soon.
pub(crate) fn enqueue(store: &Store, service: &'static str, committed: Committed) {
    if !store.local_relay.give(service, committed) {
        store.notify(channel(service));
    }
}

/// Has the relay look for what is committed.
pub(crate) fn wake(store: &Store, service: &'static str) {
    if !store.local_relay.look(service) {
        store.notify(channel(service));
    }
}

/// Publishes what `service` has committed and not yet published, in the order of commit, and returns how much.
///
/// Only the owner of the service's work may call this: two publishers would not keep the order.
pub async fn publish_pending(store: &Store, service: &'static str, broker: &Broker) -> Result<usize, ServiceError> {
    let mut published = 0;
    loop {
        let (mut rows, facts) = find_pending(store, service).await?;
        if rows.is_empty() {
            return Ok(published);
        }
        broker.publish(&facts).await?;
        delete_published(store, &mut rows).await?;
        published += facts.len();
        debug!(service, facts = facts.len(), "published what was committed");
        if facts.len() < BATCH {
            return Ok(published);
        }
    }
}

/// Publishes `service`'s facts as they are committed, by any process, until shutdown. Those that come within `pace` of a
/// publish go together after it: each time costs the broker more than a message does.
pub async fn run(
    store: &Store,
    service: &'static str,
    broker: &Broker,
    pace: Duration,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut listener = PgListener::connect_with(store.pool()).await.map_err(Error::from)?;
    listener.listen(&channel(service)).await.map_err(Error::from)?;
    let (mut handed, look) = store.local_relay.open(service);
    // Rows of what was handed over and is published. They go together, and before anybody looks for what is not.
    let mut done = Vec::new();
    loop {
        delete_published(store, &mut done).await?;
        if publish_pending(store, service, broker).await? > 0 {
            sleep(pace).await;
        }
        let mut told = pin!(timeout_at(Instant::now() + SWEEP, told(&mut listener)));
        loop {
            tokio::select! {
                told = &mut told => {
                    told.unwrap_or(Ok(()))?;
                    break;
                }
                () = look.notified() => break,
                Some(first) = handed.recv() => {
                    let more = iter::from_fn(|| handed.try_recv().ok());
                    let (rows, facts): (Vec<_>, Vec<_>) = iter::once(first).chain(more).take(HANDED).unzip();
                    broker.publish(&facts).await?;
                    done.extend(rows);
                }
                () = sleep(QUIET), if !done.is_empty() => delete_published(store, &mut done).await?,
                () = shutdown.cancelled() => return Ok(delete_published(store, &mut done).await?),
            }
        }
    }
}

async fn delete_published(store: &Store, rows: &mut Vec<i64>) -> Result<(), Error> {
    if !rows.is_empty() {
        sqlx::query(FORGET).bind(&*rows).execute(store.pool()).await?;
        rows.clear();
    }
    Ok(())
}

async fn find_pending(store: &Store, service: &str) -> Result<(Vec<i64>, Vec<OutboundMessage>), Error> {
    // Not "after the last number": numbers are drawn before they are committed, and some commit late.
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
    let mut facts = Vec::with_capacity(rows.len());
    for row in &rows {
        facts.extend(unpack(row)?);
    }
    Ok((ids, facts))
}

/// The facts of a row, one or many.
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
    let fact = |((subject, id), (headers, body)): ((String, String), (String, Vec<u8>))| {
        Ok(OutboundMessage { subject, id, headers: serde_json::from_str(&headers)?, body })
    };
    parts.map(fact).collect()
}

/// Waits for a notice, and takes those with it that have come already: one look is enough for all.
async fn told(listener: &mut PgListener) -> Result<(), Error> {
    listener.recv().await?;
    while listener.next_buffered().is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use events::OutboundMessage;
    use futures::FutureExt;

    use super::*;

    fn committed(row: i64) -> Committed {
        (
            row,
            OutboundMessage {
                subject: "orders.BTC-USD.1".into(),
                id: "1".into(),
                headers: Vec::new(),
                body: Vec::new(),
            },
        )
    }

    #[test]
    fn a_fact_is_handed_over_only_where_somebody_takes_it() {
        let local_relay = LocalRelay::default();
        assert!(!local_relay.give("gateway", committed(1)), "no relay");
        let (mut relay, look) = local_relay.open("gateway");
        assert!(local_relay.give("gateway", committed(2)) && !local_relay.give("operator", committed(3)));
        assert_eq!(relay.try_recv().map(|(row, _)| row), Ok(2));
        let taken = (0..).take_while(|row| local_relay.give("gateway", committed(*row))).count();
        assert_eq!(taken, HANDED, "a relay that is behind finds the others in the database");
        assert!(local_relay.look("gateway") && !local_relay.look("operator"));
        look.notified().now_or_never().expect("it is to look");
        drop((relay, look));
        assert!(!local_relay.give("gateway", committed(5)) && !local_relay.look("gateway"), "the relay has ended");
        let _relay = local_relay.open("gateway");
        assert!(local_relay.give("gateway", committed(6)), "there is another");
    }
}
