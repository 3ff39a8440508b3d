//! What is to be told to whom, every attempt, and its outcome.

use std::{collections::HashSet, time::Duration};

use events::{Channel, DeliveryUpdated, Outcome, Timestamp};
use serde_json::Value;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, Tx, outbox};

/// Whose outbox the outcomes go to.
pub const SERVICE: &str = "notifier";

/// What a delivery tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rule fired.
    Alert,
    /// An address is asked whether it wants a rule.
    Confirmation,
    /// Something happened to an account.
    Account,
    /// Something became of an order.
    Trade,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Confirmation => "confirmation",
            Self::Account => "account",
            Self::Trade => "trade",
        }
    }
}

/// One message to one person.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its identity, derived from what it tells to whom, so that it is made once.
    pub id: Uuid,
    /// What it tells.
    pub kind: Kind,
    /// The id of what the message is about: of an alert, a rule to confirm, an account notice or an order event.
    pub source_id: String,
    /// The ids of further events that the message covers; empty in a claim.
    pub also_covers: Vec<String>,
    /// The rule it comes from; none for what is about no rule.
    pub rule_id: Option<Uuid>,
    /// How.
    pub channel: Channel,
    /// Where.
    pub address: String,
    /// The event it is composed from, as JSON; an array of those that are told together.
    pub content: Value,
    /// The trace context of what caused it.
    pub traceparent: Option<String>,
}

/// A delivery that this process may attempt now.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// What to deliver.
    pub delivery: Delivery,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// How an attempt at a delivery ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// What is told about it.
    pub update: DeliveryUpdated,
    /// The wait before the next attempt, for the outcomes that have one.
    pub retry_in: Duration,
}

/// Returns those of these events that a delivery covers already, by itself or in a batch.
pub async fn already_notified(tx: &mut Tx, source_ids: &[&str]) -> Result<HashSet<String>, Error> {
    // A plan that does not look into the array is made once and not for every batch.
    let found = sqlx::query_scalar(
        "SELECT source_id FROM deliveries WHERE source_id = ANY ((SELECT $1::text[])::text[])
         UNION SELECT source_id FROM batched_sources WHERE source_id = ANY ((SELECT $1::text[])::text[])",
    );
    Ok(found.bind(source_ids).fetch_all(&mut **tx).await?.into_iter().collect())
}

/// Adds deliveries that are not there yet.
pub async fn add(tx: &mut Tx, deliveries: &[Delivery]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO deliveries (id, kind, source_id, rule_id, channel, address, content, traceparent)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[],
                              $8::text[])
         ON CONFLICT DO NOTHING",
    )
    .bind(deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.kind.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.source_id.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.rule_id).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.channel.to_string()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.address.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.content.clone()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.traceparent.as_deref()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    let covered =
        deliveries.iter().flat_map(|delivery| delivery.also_covers.iter().map(|source| (source.as_str(), delivery.id)));
    let (sources, ids): (Vec<_>, Vec<_>) = covered.unzip();
    if !sources.is_empty() {
        sqlx::query(
            "INSERT INTO batched_sources (source_id, delivery_id) SELECT * FROM unnest($1::text[], $2::uuid[])",
        )
        .bind(sources)
        .bind(ids)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Claims up to `most` deliveries that are due, for `lease`: a claim that is not settled by then is due again, so
/// that a process that dies loses none. Several processes never hold the same claim.
pub async fn claim(store: &Store, most: i64, lease: Duration) -> Result<Vec<Claim>, Error> {
    let rows = sqlx::query(
        "UPDATE deliveries SET attempt_count = attempt_count + 1, next_attempt_at = now() + make_interval(secs => $2)
         WHERE id IN (SELECT id FROM deliveries WHERE status = 'waiting' AND next_attempt_at <= now()
                      ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING *",
    )
    .bind(most)
    .bind(lease.as_secs_f64()) // float: PostgreSQL's make_interval takes seconds as one.
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(read_claim).collect()
}

/// Records how attempts ended, with the facts that say so, all in one transaction.
pub async fn record_attempts(store: &Store, attempts: Vec<Attempt>) -> Result<(), Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                move_deliveries(tx, &attempts).await?;
                add_attempts(tx, &attempts).await?;
                let facts: Vec<_> = attempts.iter().map(|attempt| attempt.update.to_message()).collect();
                outbox::add_without_notify(tx, SERVICE, &facts).await
            })
        })
        .await
}

/// How long until the next delivery is due; none when none waits.
pub async fn next_due_in(store: &Store) -> Result<Option<Duration>, Error> {
    let micros: Option<i64> = sqlx::query_scalar(
        "SELECT (extract(epoch FROM greatest(next_attempt_at - now(), interval '0')) * 1000000)::bigint
         FROM deliveries WHERE status = 'waiting' ORDER BY next_attempt_at LIMIT 1",
    )
    .fetch_optional(store.pool())
    .await?;
    Ok(micros.map(|micros| Duration::from_micros(micros.unsigned_abs())))
}

async fn move_deliveries(tx: &mut Tx, attempts: &[Attempt]) -> Result<(), Error> {
    let updates = || attempts.iter().map(|attempt| &attempt.update);
    // Locked in one order by all who change several. Of two attempts at one delivery the one that ended it counts, and an
    // attempt whose lease ran out says nothing about when the one that followed it ends.
    sqlx::query(
        "WITH ended AS (
             SELECT DISTINCT ON (id) * FROM unnest($1::uuid[], $2::text[], $3::float8[], $4::int[])
                 AS ended (id, status, retry_in, attempt)
             ORDER BY id, status = 'waiting', attempt DESC
         ), held AS (
             SELECT id FROM deliveries WHERE id = ANY($1) AND status = 'waiting' ORDER BY id FOR NO KEY UPDATE
         )
         UPDATE deliveries SET status = ended.status, next_attempt_at = now() + make_interval(secs => ended.retry_in)
         FROM ended JOIN held USING (id)
         WHERE deliveries.id = ended.id AND deliveries.status = 'waiting'
             AND (ended.status <> 'waiting' OR deliveries.attempt_count = ended.attempt)",
    )
    .bind(updates().map(|update| update.delivery_id).collect::<Vec<_>>())
    .bind(updates().map(|update| status_after(update.outcome)).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| attempt.retry_in.as_secs_f64()).collect::<Vec<_>>()) // float: as PostgreSQL's make_interval takes it.
    .bind(updates().map(|update| update.attempt).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn add_attempts(tx: &mut Tx, attempts: &[Attempt]) -> Result<(), Error> {
    let updates = || attempts.iter().map(|attempt| &attempt.update);
    sqlx::query(
        "INSERT INTO delivery_attempts (delivery_id, attempt, outcome, detail, at)
         SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[]) ON CONFLICT DO NOTHING",
    )
    .bind(updates().map(|update| update.delivery_id).collect::<Vec<_>>())
    .bind(updates().map(|update| update.attempt).collect::<Vec<_>>())
    .bind(updates().map(|update| update.outcome.as_str()).collect::<Vec<_>>())
    .bind(updates().map(|update| update.detail.as_str()).collect::<Vec<_>>())
    .bind(updates().map(|update| update.at.datetime()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What an attempt leaves a delivery at.
fn status_after(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Failed => "failed",
        Outcome::Retrying | Outcome::Unknown => "waiting",
    }
}

fn read_claim(row: &PgRow) -> Result<Claim, Error> {
    let kind = match row.try_get("kind")? {
        "confirmation" => Kind::Confirmation,
        "account" => Kind::Account,
        "trade" => Kind::Trade,
        _ => Kind::Alert,
    };
    let delivery = Delivery {
        id: row.try_get("id")?,
        kind,
        source_id: row.try_get("source_id")?,
        also_covers: Vec::new(),
        rule_id: row.try_get("rule_id")?,
        channel: Channel::Email,
        address: row.try_get("address")?,
        content: row.try_get("content")?,
        traceparent: row.try_get("traceparent")?,
    };
    let created_at = row.try_get::<chrono::DateTime<chrono::Utc>, _>("created_at")?.into();
    Ok(Claim { delivery, attempt: row.try_get("attempt_count")?, created_at })
}

/// Deliveries that are not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// To be attempted, now or later.
    pub waiting: i64,
    /// Given up.
    pub failed: i64,
}

/// Deliveries that are not sent.
pub async fn counts(store: &Store) -> Result<Deliveries, Error> {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE status = 'waiting') AS waiting,
                count(*) FILTER (WHERE status = 'failed') AS failed
         FROM deliveries WHERE status <> 'sent'",
    )
    .fetch_one(store.pool())
    .await?;
    Ok(Deliveries { waiting: row.try_get("waiting")?, failed: row.try_get("failed")? })
}
