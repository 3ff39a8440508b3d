//! What `tickbell status` and `tickbell doctor` ask.

use events::Timestamp;
use sqlx::Row;

use crate::{Error, Store};

/// How far a consumer has applied its stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last sequence.
    pub position: u64,
    /// The time of the last event, by its own time.
    pub last_event_at: Option<Timestamp>,
}

/// Deliveries that are not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// To be attempted, now or later.
    pub waiting: i64,
    /// Given up.
    pub failed: i64,
}

impl Store {
    /// How far a consumer is, without making its row.
    pub async fn progress(&self, consumer: &str) -> Result<Progress, Error> {
        let row = sqlx::query("SELECT stream_position, last_event_at FROM positions WHERE consumer = $1")
            .bind(consumer)
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else { return Ok(Progress::default()) };
        Ok(Progress {
            position: row.try_get::<i64, _>("stream_position")? as u64,
            last_event_at: row.try_get::<Option<chrono::DateTime<chrono::Utc>>, _>("last_event_at")?.map(Into::into),
        })
    }

    /// How many facts a service has committed and not yet published.
    pub async fn outbox_len(&self, service: &str) -> Result<i64, Error> {
        let query = "SELECT coalesce(sum(facts), 0) FROM outbox WHERE service = $1";
        Ok(sqlx::query_scalar(query).bind(service).fetch_one(self.pool()).await?)
    }

    /// Deliveries that are not sent.
    pub async fn delivery_counts(&self) -> Result<Deliveries, Error> {
        let row = sqlx::query(
            "SELECT count(*) FILTER (WHERE status = 'waiting') AS waiting,
                    count(*) FILTER (WHERE status = 'failed') AS failed
             FROM deliveries WHERE status <> 'sent'",
        )
        .fetch_one(self.pool())
        .await?;
        Ok(Deliveries { waiting: row.try_get("waiting")?, failed: row.try_get("failed")? })
    }
}
