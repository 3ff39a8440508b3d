//! The position of each consumer: the message that it has applied last.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use events::Timestamp;
use futures::future::BoxFuture;
use platform::StreamPosition;
use sqlx::{Postgres, QueryBuilder, Row, postgres::PgRow};

use crate::{Error, Store, Tx, bigint};

/// Returns the position of a consumer; none before it has begun.
pub async fn read(store: &Store, consumer: &str) -> Result<Option<StreamPosition>, Error> {
    let query =
        sqlx::query("SELECT stream_position, stream_created_at, stored_at FROM consumer_positions WHERE consumer = $1");
    let row = query.bind(consumer).fetch_optional(store.pool()).await?;
    let position = |row: PgRow| {
        Ok(StreamPosition {
            stream_created: row.try_get::<DateTime<Utc>, _>("stream_created_at")?.into(),
            sequence: row.try_get::<i64, _>("stream_position")? as u64,
            stored_at: row.try_get::<Option<DateTime<Utc>>, _>("stored_at")?.map(Into::into),
        })
    };
    row.map(position).transpose()
}

/// Forgets the sequences of a stream that a service has saved, in the transaction that moves its consumer.
pub type ForgetSequences = for<'tx> fn(&'tx mut Tx) -> BoxFuture<'tx, Result<(), Error>>;

/// Saves where a consumer begins: at first, and where it reads its stream again. It fails when another instance has moved
/// the consumer from where it was read.
pub async fn begin(
    store: &Store,
    consumer: &str,
    was: Option<StreamPosition>,
    position: StreamPosition,
    forget: Option<ForgetSequences>,
) -> Result<(), Error> {
    let consumer = consumer.to_owned();
    let begun = store.transaction(move |tx| {
        Box::pin(async move {
            if let Some(forget) = forget {
                forget(tx).await?;
            }
            save(tx, &consumer, was, position).await
        })
    });
    begun.await
}

async fn save(tx: &mut Tx, consumer: &str, was: Option<StreamPosition>, position: StreamPosition) -> Result<(), Error> {
    let saved = sqlx::query(
        "INSERT INTO consumer_positions AS saved (consumer, stream_position, stream_created_at, stored_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (consumer) DO UPDATE SET stream_position = EXCLUDED.stream_position,
             stream_created_at = EXCLUDED.stream_created_at, stored_at = EXCLUDED.stored_at
         WHERE (saved.stream_position, saved.stream_created_at) = ($5, $6) AND saved.stored_at IS NOT DISTINCT FROM $7",
    )
    .bind(consumer)
    .bind(bigint(position.sequence))
    .bind(position.stream_created.datetime())
    .bind(position.stored_at.map(Timestamp::datetime))
    .bind(was.map(|was| bigint(was.sequence)))
    .bind(was.map(|was| was.stream_created.datetime()))
    .bind(was.and_then(|was| was.stored_at).map(Timestamp::datetime))
    .execute(&mut **tx)
    .await?;
    if saved.rows_affected() == 1 { Ok(()) } else { Err(Error::Fenced(consumer.to_owned())) }
}

/// The step of a consumer from the position that it read to the last sequence that it applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The consumer's durable name.
    pub consumer: Arc<str>,
    /// The position that was read or committed last.
    pub from: StreamPosition,
    /// The position of the message that was applied last.
    pub to: StreamPosition,
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
    let column = |value: fn(&Advance) -> StreamPosition| advances.iter().map(value).collect::<Vec<_>>();
    let (from, to) = (column(|advance| advance.from), column(|advance| advance.to));
    let sequences =
        |positions: &[StreamPosition]| positions.iter().map(|position| bigint(position.sequence)).collect::<Vec<_>>();
    let times = |positions: &[StreamPosition]| {
        positions.iter().map(|position| position.stored_at.map(Timestamp::datetime)).collect::<Vec<_>>()
    };
    query.push(
        "UPDATE consumer_positions SET stream_position = advance.until, stored_at = advance.until_stored_at,
             last_event_at = coalesce(advance.last_event_at, consumer_positions.last_event_at)
         FROM unnest(",
    );
    query
        .separated(", ")
        .push_bind(advances.iter().map(|advance| &*advance.consumer).collect::<Vec<_>>())
        .push_bind(from.iter().map(|position| position.stream_created.datetime()).collect::<Vec<_>>())
        .push_bind(sequences(&from))
        .push_bind(times(&from))
        .push_bind(sequences(&to))
        .push_bind(times(&to))
        .push_bind(advances.iter().map(|advance| advance.last_event_at.map(Timestamp::datetime)).collect::<Vec<_>>());
    query.push(
        ") AS advance (consumer, created_at, since, since_stored_at, until, until_stored_at, last_event_at)
         WHERE consumer_positions.consumer = advance.consumer AND consumer_positions.stream_position = advance.since
             AND consumer_positions.stream_created_at = advance.created_at
             AND consumer_positions.stored_at IS NOT DISTINCT FROM advance.since_stored_at RETURNING 1",
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

/// The progress of a consumer, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerProgress {
    /// The consumer's durable name.
    pub name: String,
    /// How far it has come.
    pub progress: Progress,
}

/// Returns the progress of all consumers, sorted by name.
pub async fn list(store: &Store) -> Result<Vec<ConsumerProgress>, Error> {
    let query = "SELECT consumer, stream_position, last_event_at FROM consumer_positions ORDER BY consumer";
    let rows = sqlx::query(query).fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok(ConsumerProgress { name: row.try_get("consumer")?, progress: of_row(row)? })).collect()
}

/// Returns the progress of a consumer, without creating its row.
pub async fn progress(store: &Store, consumer: &str) -> Result<Progress, Error> {
    let row = sqlx::query("SELECT stream_position, last_event_at FROM consumer_positions WHERE consumer = $1")
        .bind(consumer)
        .fetch_optional(store.pool())
        .await?;
    row.map_or_else(|| Ok(Progress::default()), |row| of_row(&row))
}

fn of_row(row: &PgRow) -> Result<Progress, Error> {
    Ok(Progress {
        position: row.try_get::<i64, _>("stream_position")? as u64,
        last_event_at: row.try_get::<Option<DateTime<Utc>>, _>("last_event_at")?.map(Into::into),
    })
}
