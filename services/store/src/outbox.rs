//! Facts that are committed and not yet published.

use std::time::Duration;

use events::Outgoing;
use platform::{Broker, Fault, Shutdown};
use sqlx::{Row, postgres::PgListener, types::Json};
use tracing::debug;

use crate::{Error, Store, Tx};

/// How many facts are published between two deletes.
const BATCH: i64 = 1_000;
/// The channel that says a transaction with facts has committed; the payload is the service.
const CHANNEL: &str = "outbox";
/// A notice that was lost while the listener reconnected is made up for after this long.
const SWEEP: Duration = Duration::from_secs(1);
/// Its commit need not reach the disk before the next facts are published: a row that a crash brings back is published
/// again under the same id. The setting holds to the end of the statement's own transaction.
const FORGET: &str = "
    DELETE FROM outbox USING (SELECT set_config('synchronous_commit', 'off', true) AS value OFFSET 0) AS setting
    WHERE id = ANY($1) AND setting.value = 'off'";

/// Adds facts to be published by `service` once the transaction is committed.
pub async fn add(tx: &mut Tx, service: &'static str, facts: &[Outgoing]) -> Result<(), Error> {
    if facts.is_empty() {
        return Ok(());
    }
    let subjects: Vec<&str> = facts.iter().map(|fact| fact.subject.as_str()).collect();
    let ids: Vec<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
    let headers: Vec<Json<&Vec<(String, String)>>> = facts.iter().map(|fact| Json(&fact.headers)).collect();
    let bodies: Vec<&[u8]> = facts.iter().map(|fact| fact.body.as_slice()).collect();
    sqlx::query(
        "INSERT INTO outbox (service, subject, message_id, headers, body)
         SELECT $1, fact.subject, fact.message_id, fact.headers, fact.body FROM unnest($2::text[], $3::text[], $4::jsonb[], $5::bytea[]) WITH ORDINALITY
             AS fact (subject, message_id, headers, body, place) ORDER BY place",
    )
    .bind(service)
    .bind(subjects)
    .bind(ids)
    .bind(headers)
    .bind(bodies)
    .execute(&mut **tx)
    .await?;
    tx.notify_with(CHANNEL, service);
    Ok(())
}

impl Store {
    /// Publishes what `service` has committed and not yet published, in the order of commit, and returns how much.
    ///
    /// Only the owner of the service's work may call this: two publishers would not keep the order.
    pub async fn publish_outbox(&self, service: &'static str, broker: &Broker) -> Result<usize, Fault> {
        let mut published = 0;
        loop {
            let (rows, facts) = self.unpublished(service).await?;
            if rows.is_empty() {
                return Ok(published);
            }
            broker.publish(&facts).await?;
            sqlx::query(FORGET).bind(&rows).execute(self.pool()).await.map_err(Error::from)?;
            published += rows.len();
            debug!(service, facts = rows.len(), "published what was committed");
            if rows.len() < BATCH as usize {
                return Ok(published);
            }
        }
    }

    /// Publishes `service`'s facts as they are committed, by any process, until shutdown.
    pub async fn relay_outbox(&self, service: &'static str, broker: &Broker, shutdown: &Shutdown) -> Result<(), Fault> {
        let mut listener = PgListener::connect_with(self.pool()).await.map_err(Error::from)?;
        listener.listen(CHANNEL).await.map_err(Error::from)?;
        loop {
            self.publish_outbox(service, broker).await?;
            tokio::select! {
                told = tokio::time::timeout(SWEEP, told(&mut listener, service)) => {
                    if let Ok(told) = told {
                        told?;
                    }
                }
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    async fn unpublished(&self, service: &str) -> Result<(Vec<i64>, Vec<Outgoing>), Error> {
        // Not "after the last number": numbers are drawn before they are committed, and some commit late.
        let rows = sqlx::query(
            "SELECT id, subject, message_id, headers, body FROM outbox WHERE service = $1 ORDER BY id LIMIT $2",
        )
        .bind(service)
        .bind(BATCH)
        .fetch_all(self.pool())
        .await?;
        let mut ids = Vec::with_capacity(rows.len());
        let mut facts = Vec::with_capacity(rows.len());
        for row in rows {
            ids.push(row.try_get("id")?);
            facts.push(Outgoing {
                subject: row.try_get("subject")?,
                id: row.try_get("message_id")?,
                headers: row.try_get::<Json<_>, _>("headers")?.0,
                body: row.try_get("body")?,
            });
        }
        Ok((ids, facts))
    }
}

/// Waits for a notice about `service`, and takes those with it that have come already: one look is enough for all.
async fn told(listener: &mut PgListener, service: &str) -> Result<(), Error> {
    while listener.recv().await?.payload() != service {}
    while listener.next_buffered().is_some() {}
    Ok(())
}
