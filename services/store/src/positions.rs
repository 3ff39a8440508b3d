//! How far each consumer has applied its stream.

use chrono::{DateTime, Utc};
use events::Timestamp;
use sqlx::Row;
use tracing::warn;

use crate::{Error, Store, Tx, bigint};

impl Store {
    /// The sequence that a consumer has applied last of the stream that was made at `stream_created`; 0 before the
    /// first, and of a stream that was made anew (the broker's data was lost or replaced), which is read from its
    /// beginning: what it repeats is recognised by its ids and times.
    pub async fn position(&self, consumer: &'static str, stream_created: Timestamp) -> Result<u64, Error> {
        let query = "SELECT stream_position, stream_created FROM positions WHERE consumer = $1";
        let row = sqlx::query(query).bind(consumer).fetch_optional(self.pool()).await?;
        if let Some(row) = row {
            let position = row.try_get::<i64, _>("stream_position")? as u64;
            if row.try_get::<DateTime<Utc>, _>("stream_created")? == stream_created.datetime() {
                return Ok(position);
            }
            warn!(consumer, position, "the stream was made anew; reading it from its beginning");
        }
        self.begin(consumer, stream_created).await?;
        Ok(0)
    }

    async fn begin(&self, consumer: &'static str, stream_created: Timestamp) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO positions (consumer, stream_created) VALUES ($1, $2)
             ON CONFLICT (consumer) DO UPDATE SET stream_position = 0, stream_created = EXCLUDED.stream_created",
        )
        .bind(consumer)
        .bind(stream_created.datetime())
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

/// Moves a consumer from the position it read to the end of what it applied. Fails, and so undoes the transaction,
/// when another instance has moved it.
pub async fn advance(
    tx: &mut Tx,
    consumer: &'static str,
    from: u64,
    to: u64,
    last_event_at: Option<Timestamp>,
) -> Result<(), Error> {
    let moved = sqlx::query(
        "UPDATE positions SET stream_position = $3, last_event_at = coalesce($4, last_event_at)
         WHERE consumer = $1 AND stream_position = $2",
    )
    .bind(consumer)
    .bind(bigint(from))
    .bind(bigint(to))
    .bind(last_event_at.map(Timestamp::datetime))
    .execute(&mut **tx)
    .await?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(Error::Fenced(consumer)) }
}
