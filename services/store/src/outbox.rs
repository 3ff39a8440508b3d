//! Facts that are committed and not yet published.

use std::time::Duration;

use events::Outgoing;
use platform::{Broker, Fault, Shutdown};
use sqlx::{
    Row,
    postgres::{PgListener, PgRow},
    types::Json,
};
use tracing::debug;

use crate::{Error, Store, Tx};

/// How many facts are published between two deletes, about.
const BATCH: i64 = 4_000;
/// How many facts one row may hold.
const TOGETHER: usize = 1_000;
/// A notice that was lost while the listener reconnected is made up for after this long.
const SWEEP: Duration = Duration::from_secs(1);
/// Its commit need not reach the disk before the next facts are published: a row that a crash brings back is published
/// again under the same id. The setting holds to the end of the statement's own transaction.
const FORGET: &str = "
    DELETE FROM outbox USING (SELECT set_config('synchronous_commit', 'off', true) AS value OFFSET 0) AS setting
    WHERE id = ANY($1) AND setting.value = 'off'";

/// Adds facts to be published by `service` once the transaction is committed.
pub async fn add(tx: &mut Tx, service: &'static str, facts: &[Outgoing]) -> Result<(), Error> {
    if !facts.is_empty() {
        add_unhurried(tx, service, facts).await?;
        tx.notify(channel(service));
    }
    Ok(())
}

/// The same for facts that nobody waits for: they are published within a second, many at a time.
pub async fn add_unhurried(tx: &mut Tx, service: &'static str, facts: &[Outgoing]) -> Result<(), Error> {
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
    Ok(())
}

/// The same, many in one row: for who decides thousands in one transaction.
pub async fn add_together(tx: &mut Tx, service: &'static str, facts: &[Outgoing]) -> Result<(), Error> {
    for facts in facts.chunks(TOGETHER) {
        let headers = facts.iter().map(|fact| serde_json::to_string(&fact.headers)).collect::<Result<Vec<_>, _>>()?;
        sqlx::query(
            "INSERT INTO outbox (service, facts, subjects, message_ids, all_headers, bodies) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(service)
        .bind(facts.len() as i32)
        .bind(facts.iter().map(|fact| fact.subject.as_str()).collect::<Vec<_>>())
        .bind(facts.iter().map(|fact| fact.id.as_str()).collect::<Vec<_>>())
        .bind(headers)
        .bind(facts.iter().map(|fact| fact.body.as_slice()).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
        tx.notify(channel(service));
    }
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
            published += facts.len();
            debug!(service, facts = facts.len(), "published what was committed");
            if facts.len() < BATCH as usize {
                return Ok(published);
            }
        }
    }

    /// Publishes `service`'s facts as they are committed, by any process, until shutdown. Those that come within `pace` of a
    /// publish go together after it: each time costs the broker more than a message does.
    pub async fn relay_outbox(
        &self,
        service: &'static str,
        broker: &Broker,
        pace: Duration,
        shutdown: &Shutdown,
    ) -> Result<(), Fault> {
        let mut listener = PgListener::connect_with(self.pool()).await.map_err(Error::from)?;
        listener.listen(&channel(service)).await.map_err(Error::from)?;
        loop {
            if self.publish_outbox(service, broker).await? > 0 {
                tokio::time::sleep(pace).await;
            }
            tokio::select! {
                told = tokio::time::timeout(SWEEP, told(&mut listener)) => {
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
            "SELECT * FROM (SELECT *, sum(facts) OVER (ORDER BY id) - facts AS before FROM outbox
                            WHERE service = $1 ORDER BY id LIMIT $2) AS next
             WHERE before < $2 ORDER BY id",
        )
        .bind(service)
        .bind(BATCH)
        .fetch_all(self.pool())
        .await?;
        let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
        let mut facts = Vec::with_capacity(rows.len());
        for row in &rows {
            facts.extend(unpack(row)?);
        }
        Ok((ids, facts))
    }
}

/// The facts of a row, one or many.
fn unpack(row: &PgRow) -> Result<Vec<Outgoing>, Error> {
    let Some(subjects) = row.try_get::<Option<Vec<String>>, _>("subjects")? else {
        return Ok(vec![Outgoing {
            subject: row.try_get("subject")?,
            id: row.try_get("message_id")?,
            headers: row.try_get::<Json<_>, _>("headers")?.0,
            body: row.try_get("body")?,
        }]);
    };
    let ids: Vec<String> = row.try_get("message_ids")?;
    let headers: Vec<String> = row.try_get("all_headers")?;
    let bodies: Vec<Vec<u8>> = row.try_get("bodies")?;
    let parts = subjects.into_iter().zip(ids).zip(headers.into_iter().zip(bodies));
    let fact = |((subject, id), (headers, body)): ((String, String), (String, Vec<u8>))| {
        Ok(Outgoing { subject, id, headers: serde_json::from_str(&headers)?, body })
    };
    parts.map(fact).collect()
}

/// Waits for a notice, and takes those with it that have come already: one look is enough for all.
async fn told(listener: &mut PgListener) -> Result<(), Error> {
    listener.recv().await?;
    while listener.next_buffered().is_some() {}
    Ok(())
}

/// Says that a transaction with facts of a service has committed: to whom publishes them, and to nobody else.
fn channel(service: &str) -> String {
    format!("outbox/{service}")
}
