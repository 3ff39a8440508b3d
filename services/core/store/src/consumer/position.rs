//! The position of each consumer: the sequence that it has applied last.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::Timestamp;
use sqlx::{Postgres, QueryBuilder, Row};
use tracing::warn;

use crate::{Error, Store, Tx, bigint};

/// Returns the sequence that a consumer has applied last of the stream that was created at `stream_created`; 0 before
/// the first. A stream that was created anew (the broker's data was lost or replaced) is read from its beginning:
/// events that it repeats are recognised by their ids and times.
pub async fn read(store: &Store, consumer: &str, stream_created: Timestamp) -> Result<u64, Error> {
    let query = "SELECT stream_position, stream_created_at FROM consumer_positions WHERE consumer = $1";
    let row = sqlx::query(query).bind(consumer).fetch_optional(store.pool()).await?;
    if let Some(row) = row {
        let position = row.try_get::<i64, _>("stream_position")? as u64;
        if row.try_get::<DateTime<Utc>, _>("stream_created_at")? == stream_created.datetime() {
            return Ok(position);
        }
        warn!(consumer, position, "the stream was created anew; reading it from its beginning");
    }
    create(store, consumer, stream_created).await?;
    Ok(0)
}

async fn create(store: &Store, consumer: &str, stream_created: Timestamp) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO consumer_positions (consumer, stream_created_at) VALUES ($1, $2)
         ON CONFLICT (consumer) DO UPDATE SET stream_position = 0, stream_created_at = EXCLUDED.stream_created_at",
    )
    .bind(consumer)
    .bind(stream_created.datetime())
    .execute(store.pool())
    .await?;
    Ok(())
}

/// The step of a consumer from the position that it read to the last sequence that it applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The consumer's durable name.
    pub consumer: Arc<str>,
    /// The position that was read or committed last.
    pub from: u64,
    /// The sequence that was applied last.
    pub to: u64,
    /// The time of the last event that has one.
    pub last_event_at: Option<Timestamp>,
}

/// Moves the positions of consumers. It fails, and so undoes the transaction, when another instance has moved one of
/// them.
pub async fn advance(tx: &mut Tx, advances: &[Advance]) -> Result<(), Error> {
    let mut query = QueryBuilder::new("");
    push(&mut query, advances);
    let moved = query.build().execute(&mut **tx).await?;
    if moved.rows_affected() == advances.len() as u64 { Ok(()) } else { Err(Error::fenced(advances)) }
}

/// Writes the statement that moves those consumers whose positions are unchanged. It returns one row for each.
pub(crate) fn push(query: &mut QueryBuilder<Postgres>, advances: &[Advance]) {
    let at = |advance: &Advance| advance.last_event_at.map(Timestamp::datetime);
    query.push(
        "UPDATE consumer_positions SET stream_position = advance.until,
             last_event_at = coalesce(advance.last_event_at, consumer_positions.last_event_at)
         FROM unnest(",
    );
    query
        .separated(", ")
        .push_bind(advances.iter().map(|advance| &*advance.consumer).collect::<Vec<_>>())
        .push_bind(advances.iter().map(|advance| bigint(advance.from)).collect::<Vec<_>>())
        .push_bind(advances.iter().map(|advance| bigint(advance.to)).collect::<Vec<_>>())
        .push_bind(advances.iter().map(at).collect::<Vec<_>>());
    query.push(
        ") AS advance (consumer, since, until, last_event_at)
         WHERE consumer_positions.consumer = advance.consumer AND consumer_positions.stream_position = advance.since RETURNING 1",
    );
}

/// The progress of a consumer in its stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The sequence that was applied last.
    pub position: u64,
    /// The time of the last event, by the event's own clock.
    pub last_event_at: Option<Timestamp>,
}

/// Returns the progress of a consumer, without creating its row.
pub async fn progress(store: &Store, consumer: &str) -> Result<Progress, Error> {
    let row = sqlx::query("SELECT stream_position, last_event_at FROM consumer_positions WHERE consumer = $1")
        .bind(consumer)
        .fetch_optional(store.pool())
        .await?;
    let Some(row) = row else { return Ok(Progress::default()) };
    Ok(Progress {
        position: row.try_get::<i64, _>("stream_position")? as u64,
        last_event_at: row.try_get::<Option<chrono::DateTime<chrono::Utc>>, _>("last_event_at")?.map(Into::into),
    })
}
