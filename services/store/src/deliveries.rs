//! What is to be told to whom, every attempt, and its outcome.

use std::time::Duration;

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
    /// The alert's id, the id of the rule to confirm, the notice's, the trade's.
    pub about: String,
    /// The rule it comes from; none for what is about no rule.
    pub rule_id: Option<Uuid>,
    /// How.
    pub channel: Channel,
    /// Where.
    pub address: String,
    /// The event it is composed from, as JSON.
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

/// Adds deliveries that are not there yet.
pub async fn add(tx: &mut Tx, deliveries: &[Delivery]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO deliveries (id, kind, about, rule_id, channel, address, content, traceparent)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[],
                              $8::text[])
         ON CONFLICT DO NOTHING",
    )
    .bind(deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.kind.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.about.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.rule_id).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.channel.to_string()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.address.as_str()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.content.clone()).collect::<Vec<_>>())
    .bind(deliveries.iter().map(|delivery| delivery.traceparent.as_deref()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Store {
    /// Claims up to `most` deliveries that are due, for `lease`: a claim that is not settled by then is due again, so
    /// that a process that dies loses none. Several processes never hold the same claim.
    pub async fn claim_deliveries(&self, most: i64, lease: Duration) -> Result<Vec<Claim>, Error> {
        let rows = sqlx::query(
            "UPDATE deliveries SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2)
             WHERE id IN (SELECT id FROM deliveries WHERE status = 'waiting' AND next_attempt_at <= now()
                          ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED)
             RETURNING *",
        )
        .bind(most)
        .bind(lease.as_secs_f64()) // float: PostgreSQL's make_interval takes seconds as one.
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(claim).collect()
    }

    /// Records how an attempt ended, with the fact that says so. `retry_in` is the wait before the next attempt;
    /// it is used for the outcomes that have one.
    pub async fn settle_delivery(&self, update: DeliveryUpdated, retry_in: Duration) -> Result<(), Error> {
        let status = match update.outcome {
            Outcome::Sent => "sent",
            Outcome::Failed => "failed",
            Outcome::Retrying | Outcome::Unknown => "waiting",
        };
        let outcome = match update.outcome {
            Outcome::Sent => "sent",
            Outcome::Failed => "failed",
            Outcome::Retrying => "retrying",
            Outcome::Unknown => "unknown",
        };
        self.transaction(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    // An attempt whose lease ran out says nothing about when the one that followed it ends.
                    "UPDATE deliveries SET status = $2, next_attempt_at = now() + make_interval(secs => $3)
                     WHERE id = $1 AND status = 'waiting' AND ($2 <> 'waiting' OR attempts = $4)",
                )
                .bind(update.delivery_id)
                .bind(status)
                .bind(retry_in.as_secs_f64()) // float: PostgreSQL's make_interval takes seconds as one.
                .bind(update.attempt)
                .execute(&mut **tx)
                .await?;
                sqlx::query(
                    "INSERT INTO delivery_attempts (delivery_id, attempt, outcome, detail, at)
                     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                )
                .bind(update.delivery_id)
                .bind(update.attempt)
                .bind(outcome)
                .bind(&update.detail)
                .bind(update.at.datetime())
                .execute(&mut **tx)
                .await?;
                outbox::add_unhurried(tx, SERVICE, &[update.outgoing()]).await
            })
        })
        .await
    }

    /// How long until the next delivery is due; none when none waits.
    pub async fn next_delivery_in(&self) -> Result<Option<Duration>, Error> {
        let micros: Option<i64> = sqlx::query_scalar(
            "SELECT (extract(epoch FROM greatest(min(next_attempt_at) - now(), interval '0')) * 1000000)::bigint
             FROM deliveries WHERE status = 'waiting'",
        )
        .fetch_one(self.pool())
        .await?;
        Ok(micros.map(|micros| Duration::from_micros(micros.unsigned_abs())))
    }
}

fn claim(row: &PgRow) -> Result<Claim, Error> {
    let kind = match row.try_get("kind")? {
        "confirmation" => Kind::Confirmation,
        "account" => Kind::Account,
        "trade" => Kind::Trade,
        _ => Kind::Alert,
    };
    let delivery = Delivery {
        id: row.try_get("id")?,
        kind,
        about: row.try_get("about")?,
        rule_id: row.try_get("rule_id")?,
        channel: Channel::Email,
        address: row.try_get("address")?,
        content: row.try_get("content")?,
        traceparent: row.try_get("traceparent")?,
    };
    let created_at = row.try_get::<chrono::DateTime<chrono::Utc>, _>("created_at")?.into();
    Ok(Claim { delivery, attempt: row.try_get("attempts")?, created_at })
}
