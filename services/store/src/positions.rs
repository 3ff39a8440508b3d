//! How far each consumer has applied its stream.

use events::Timestamp;
use sqlx::Row;

use crate::{Error, Store, Tx, bigint};

impl Store {
    /// The sequence that a consumer has applied last; 0 before the first.
    pub async fn position(&self, consumer: &'static str) -> Result<u64, Error> {
        let row = sqlx::query(
            "INSERT INTO positions (consumer) VALUES ($1)
             ON CONFLICT (consumer) DO UPDATE SET consumer = EXCLUDED.consumer
             RETURNING stream_position",
        )
        .bind(consumer)
        .fetch_one(self.pool())
        .await?;
        Ok(row.try_get::<i64, _>(0)? as u64)
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
