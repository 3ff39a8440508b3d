//! The deliveries of a rule as its owner sees them: what became of each, without address and content.

use chrono::{DateTime, Utc};
use events::Timestamp;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store};

/// A delivery and its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDelivery {
    /// The id of the delivery.
    pub id: Uuid,
    /// The occasion: `alert`, `confirmation` or `silence`.
    pub kind: String,
    /// The id of what the message is about: a firing, a rule to confirm, or the silence of a rule's market.
    pub about: String,
    /// The channel, like `email`.
    pub channel: String,
    /// `waiting`, `sent` or `failed`.
    pub status: String,
    /// The time at which the delivery was added.
    pub created_at: Timestamp,
    /// The time of the next attempt; none when there is none.
    pub next_attempt_at: Option<Timestamp>,
    /// The attempts whose outcome is recorded, in their order.
    pub attempts: Vec<RecordedAttempt>,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAttempt {
    /// The number of the attempt, from 1.
    pub number: i32,
    /// `sent`, `retrying`, `unknown` or `failed`.
    pub outcome: String,
    /// The reply of the recipient's server, or the error.
    pub detail: String,
    /// The time at which the attempt ended.
    pub at: Timestamp,
}

/// Returns at most `limit` deliveries of a rule, newest first.
pub async fn of_rule(store: &Store, rule: Uuid, limit: i64) -> Result<Vec<ListedDelivery>, Error> {
    let rows = sqlx::query(
        "SELECT id, kind, source_id, channel, status, created_at,
                CASE WHEN status = 'waiting' THEN next_attempt_at END AS next_attempt_at
         FROM deliveries WHERE rule_id = $1 ORDER BY created_at DESC, id LIMIT $2",
    )
    .bind(rule)
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    let mut deliveries = rows.iter().map(delivery).collect::<Result<Vec<_>, Error>>()?;
    let ids: Vec<Uuid> = deliveries.iter().map(|delivery| delivery.id).collect();
    let attempts = sqlx::query(
        "SELECT delivery_id, attempt, outcome, detail, at FROM delivery_attempts WHERE delivery_id = ANY($1) ORDER BY attempt",
    )
    .bind(ids)
    .fetch_all(store.pool())
    .await?;
    for row in attempts {
        let id: Uuid = row.try_get("delivery_id")?;
        if let Some(delivery) = deliveries.iter_mut().find(|delivery| delivery.id == id) {
            delivery.attempts.push(attempt(&row)?);
        }
    }
    Ok(deliveries)
}

fn delivery(row: &PgRow) -> Result<ListedDelivery, Error> {
    Ok(ListedDelivery {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        about: row.try_get("source_id")?,
        channel: row.try_get("channel")?,
        status: row.try_get("status")?,
        created_at: row.try_get::<DateTime<Utc>, _>("created_at")?.into(),
        next_attempt_at: row.try_get::<Option<DateTime<Utc>>, _>("next_attempt_at")?.map(Into::into),
        attempts: Vec::new(),
    })
}

fn attempt(row: &PgRow) -> Result<RecordedAttempt, Error> {
    Ok(RecordedAttempt {
        number: row.try_get("attempt")?,
        outcome: row.try_get("outcome")?,
        detail: row.try_get("detail")?,
        at: row.try_get::<DateTime<Utc>, _>("at")?.into(),
    })
}
