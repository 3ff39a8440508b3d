//! The deliveries of notifications, and the outcome of each attempt at them.

use std::{collections::HashSet, time::Duration};

use events::{Channel, DeliveryUpdated, Outcome, Timestamp};
use serde_json::Value;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, Tx, identity::sign_ups::MAILS_PER_HOUR, outbox};

/// The service whose outbox publishes the outcomes.
pub const SERVICE: &str = "notifier";
/// The number of deliveries that one transaction makes due again.
const MAX_WOKEN: i64 = 100;

/// The occasion of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rule has fired.
    Alert,
    /// Rules would have fired in a gap.
    Late,
    /// An address must confirm a new rule.
    Confirmation,
    /// The market that a rule watches does not tick.
    Silence,
    /// An account has changed, for example its password.
    Account,
    /// An order was filled, was rejected or has expired.
    Trade,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Late => "late",
            Self::Confirmation => "confirmation",
            Self::Silence => "silence",
            Self::Account => "account",
            Self::Trade => "trade",
        }
    }
}

/// A message to one recipient.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The delivery's id, which is derived from the event and the recipient, so that a redelivery adds no second one.
    pub id: Uuid,
    /// The occasion of the delivery.
    pub kind: Kind,
    /// The id of the message's subject: an alert, a gap, a rule to confirm, the silence of a rule's market, an account notice or an
    /// order event.
    pub source_id: String,
    /// The ids of further events that the message covers; empty in a claim.
    pub also_covers: Vec<String>,
    /// The rule that caused the message; none for a message without a rule.
    pub rule_id: Option<Uuid>,
    /// The channel of the message.
    pub channel: Channel,
    /// The recipient's address on the channel.
    pub address: String,
    /// The event that the message is composed from, as JSON; an array of events for a batch.
    pub content: Value,
    /// The W3C trace context of the event that caused the message.
    pub traceparent: Option<String>,
}

/// A delivery that this process may attempt now.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The delivery to attempt.
    pub delivery: Delivery,
    /// The number of the attempt, from 1.
    pub attempt: i32,
    /// The number of earlier attempts of which nobody knows whether the server took the message: recorded as such, or not
    /// recorded, because the process ended between the attempt and its record.
    pub unknown_attempts: i32,
    /// The time at which the delivery was added.
    pub created_at: Timestamp,
}

/// The result of an attempt at a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryAttempt {
    /// The event that reports the result.
    pub update: DeliveryUpdated,
    /// The wait before the next attempt, for the outcomes that have one.
    pub retry_in: Duration,
    /// The server that the attempt was made with.
    pub server: String,
    /// Whether the next attempt waits for the server, and not for its answer on this message.
    pub waits_for_server: bool,
}

/// Returns those of these events that a delivery covers already, by itself or in a batch.
pub async fn already_notified(tx: &mut Tx, source_ids: &[&str]) -> Result<HashSet<String>, Error> {
    // The subselect hides the array from the planner, so that PostgreSQL reuses one generic plan.
    let found = sqlx::query_scalar(
        "SELECT source_id FROM deliveries WHERE source_id = ANY ((SELECT $1::text[])::text[])
         UNION SELECT source_id FROM batched_sources WHERE source_id = ANY ((SELECT $1::text[])::text[])",
    );
    Ok(found.bind(source_ids).fetch_all(&mut **tx).await?.into_iter().collect())
}

/// Adds the deliveries that are not stored yet. Anyone can have an address asked for confirmations, so that those above the
/// limit of mails in an hour are left out.
pub async fn add(tx: &mut Tx, deliveries: &[Delivery]) -> Result<(), Error> {
    add_claimed(tx, deliveries, 0, Duration::ZERO).await.map(|_| ())
}

/// Adds deliveries as [`add`] does, the first `limit` of them as claimed for the time of `lease`, and returns the claims: a process
/// that has room for them attempts them without a further commit, which [`claim`] would be.
pub async fn add_claimed(
    tx: &mut Tx,
    deliveries: &[Delivery],
    limit: i64,
    lease: Duration,
) -> Result<Vec<Claim>, Error> {
    let rows = sqlx::query(
        "WITH new AS (
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[],
                                  $8::text[]) WITH ORDINALITY
                 AS new (id, kind, source_id, rule_id, channel, address, content, traceparent, position)
         ), counted AS (
             SELECT *, row_number() OVER (PARTITION BY kind, lower(address) ORDER BY position) + CASE kind
                 WHEN 'confirmation' THEN (SELECT count(*) FROM deliveries d WHERE lower(d.address) = lower(new.address)
                     AND d.kind = 'confirmation' AND d.created_at > now() - interval '1 hour') ELSE 0 END AS number
             FROM new
         )
         INSERT INTO deliveries (id, kind, source_id, rule_id, channel, address, content, traceparent, attempt_count,
                                 next_attempt_at)
         SELECT id, kind, source_id, rule_id, channel, address, content, traceparent, (position <= $10)::int,
             now() + CASE WHEN position <= $10 THEN make_interval(secs => $11) ELSE interval '0' END
         FROM counted WHERE kind <> 'confirmation' OR number <= $9
         ON CONFLICT DO NOTHING RETURNING *, 0 AS unknown_attempts",
    )
    .bind(deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.kind.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.source_id.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.rule_id).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.channel.to_string()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.address.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.content.clone()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.traceparent.as_deref()).collect::<Vec<_>>())
    .bind(MAILS_PER_HOUR)
    .bind(limit)
    .bind(lease.as_secs_f64()) // float: PostgreSQL's make_interval takes seconds as one.
    .fetch_all(&mut **tx)
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
    let claims = rows.iter().map(read_claim).filter(|claim| claim.as_ref().map_or(true, |claim| claim.attempt > 0));
    claims.collect()
}

/// Claims up to `limit` due deliveries for the time of `lease`. A claim without a recorded result is due again
/// after it, so that no delivery is lost with a process that dies. Two processes never hold the same claim at a time. The claim
/// counts the attempt before it is made.
pub async fn claim(store: &Store, limit: i64, lease: Duration) -> Result<Vec<Claim>, Error> {
    let rows = sqlx::query(
        "UPDATE deliveries SET attempt_count = attempt_count + 1, waits_for_server = NULL,
             next_attempt_at = now() + make_interval(secs => $2)
         WHERE id IN (SELECT id FROM deliveries WHERE status = 'waiting' AND next_attempt_at <= now()
                      ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING *, attempt_count - 1 - (SELECT count(*) FROM delivery_attempts a
             WHERE a.delivery_id = deliveries.id AND a.outcome = 'retrying')::int AS unknown_attempts",
    )
    .bind(limit)
    .bind(lease.as_secs_f64()) // float: PostgreSQL's make_interval takes seconds as one.
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(read_claim).collect()
}

/// Records the results of attempts and the events that report them, all in one transaction.
pub async fn record_attempts(store: &Store, attempts: Vec<DeliveryAttempt>) -> Result<(), Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                update_deliveries(tx, &attempts).await?;
                add_attempts(tx, &attempts).await?;
                wake_deliveries(tx, &attempts).await?;
                update_channel(tx, &attempts).await?;
                let events: Vec<_> = attempts.iter().map(|attempt| attempt.update.to_message()).collect();
                outbox::add_without_notify(tx, SERVICE, &events).await
            })
        })
        .await
}

/// Makes deliveries due that wait for a server which has just taken a message: it answers again. The number bounds one
/// transaction, and what is sent at once to a server that has just come back; those messages wake the next.
async fn wake_deliveries(tx: &mut Tx, attempts: &[DeliveryAttempt]) -> Result<(), Error> {
    let sent = attempts.iter().filter(|attempt| attempt.update.outcome == Outcome::Sent);
    let servers: HashSet<&str> = sent.map(|attempt| attempt.server.as_str()).collect();
    if servers.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE deliveries SET next_attempt_at = now(), waits_for_server = NULL
         WHERE id IN (SELECT id FROM deliveries WHERE waits_for_server = ANY($1) AND status = 'waiting'
                      ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(servers.into_iter().collect::<Vec<_>>())
    .bind(MAX_WOKEN)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Returns the time until the next delivery is due; none when no delivery waits.
pub async fn next_due_in(store: &Store) -> Result<Option<Duration>, Error> {
    let micros: Option<i64> = sqlx::query_scalar(
        "SELECT (extract(epoch FROM greatest(next_attempt_at - now(), interval '0')) * 1000000)::bigint
         FROM deliveries WHERE status = 'waiting' ORDER BY next_attempt_at LIMIT 1",
    )
    .fetch_optional(store.pool())
    .await?;
    Ok(micros.map(|micros| Duration::from_micros(micros.unsigned_abs())))
}

async fn update_deliveries(tx: &mut Tx, attempts: &[DeliveryAttempt]) -> Result<(), Error> {
    let updates = || attempts.iter().map(|attempt| &attempt.update);
    // Rows are locked in the order of their ids, so that concurrent updates cannot deadlock. Of two attempts at one
    // delivery the final one counts. An attempt whose lease ran out must not reschedule the attempt that followed it.
    sqlx::query(
        "WITH ended AS (
             SELECT DISTINCT ON (id) * FROM unnest($1::uuid[], $2::text[], $3::float8[], $4::int[], $5::text[])
                 AS ended (id, status, retry_in, attempt, waits_for_server)
             ORDER BY id, status = 'waiting', attempt DESC
         ), held AS (
             SELECT id FROM deliveries WHERE id = ANY($1) AND status = 'waiting' ORDER BY id FOR NO KEY UPDATE
         )
         UPDATE deliveries SET status = ended.status, waits_for_server = ended.waits_for_server, next_attempt_at = now() + make_interval(secs => ended.retry_in)
         FROM ended JOIN held USING (id)
         WHERE deliveries.id = ended.id AND deliveries.status = 'waiting'
             AND (ended.status <> 'waiting' OR deliveries.attempt_count = ended.attempt)",
    )
    .bind(updates().map(|update| update.delivery_id).collect::<Vec<_>>())
    .bind(updates().map(|update| status_after(update.outcome)).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| attempt.retry_in.as_secs_f64()).collect::<Vec<_>>()) // float: as PostgreSQL's make_interval takes it.
    .bind(updates().map(|update| update.attempt).collect::<Vec<_>>())
    .bind(attempts.iter().map(|attempt| attempt.waits_for_server.then_some(attempt.server.as_str())).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn add_attempts(tx: &mut Tx, attempts: &[DeliveryAttempt]) -> Result<(), Error> {
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

/// Records whether mail goes out, which [`super::outages`] reads. No row is locked after this one, so that two transactions
/// cannot deadlock; while mail goes out, few of them change it.
async fn update_channel(tx: &mut Tx, attempts: &[DeliveryAttempt]) -> Result<(), Error> {
    let Some(last) = attempts.last() else { return Ok(()) };
    if attempts.iter().any(|attempt| attempt.update.outcome == Outcome::Sent) {
        sqlx::query(
            "UPDATE channel_states SET last_accepted_at = now(), failing_since = NULL, is_server_away = false,
                 refused_count = 0, last_error = ''
             WHERE channel = 'email' AND (failing_since IS NOT NULL OR last_accepted_at IS NULL
                 OR last_accepted_at < now() - interval '10 seconds')",
        )
        .execute(&mut **tx)
        .await?;
        return Ok(());
    }
    sqlx::query(
        "UPDATE channel_states SET failing_since = coalesce(failing_since, now()), is_server_away = is_server_away OR $1,
             refused_count = refused_count + $2, last_error = $3
         WHERE channel = 'email'",
    )
    .bind(attempts.iter().any(|attempt| attempt.waits_for_server))
    .bind(attempts.iter().filter(|attempt| attempt.update.attempt == 1).count() as i32)
    .bind(&last.update.detail)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Returns the status of a delivery after an attempt.
fn status_after(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Sent => "sent",
        Outcome::Failed => "failed",
        Outcome::Retrying | Outcome::Unknown => "waiting",
    }
}

fn read_claim(row: &PgRow) -> Result<Claim, Error> {
    let kind = match row.try_get("kind")? {
        "late" => Kind::Late,
        "confirmation" => Kind::Confirmation,
        "silence" => Kind::Silence,
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
    let (attempt, unknown_attempts) = (row.try_get("attempt_count")?, row.try_get("unknown_attempts")?);
    Ok(Claim { delivery, attempt, unknown_attempts, created_at })
}

/// The numbers of deliveries that are not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// The number of deliveries that wait for an attempt.
    pub waiting: i64,
    /// The number of deliveries that have failed for good.
    pub failed: i64,
}

/// Counts the deliveries that are not sent.
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
