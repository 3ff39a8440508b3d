//! The outbox holds events that are committed and not yet published.

pub mod relay;

use std::collections::HashSet;

use events::OutboundMessage;
use sqlx::{Postgres, QueryBuilder, postgres::PgArguments, query::QueryScalar, types::Json};

use crate::{Error, Store, Tx};

/// The service that publishes the events which users' requests cause.
pub const GATEWAY: &str = "gateway";

/// The most events that one row may hold.
const EVENTS_PER_ROW: usize = 1_000;

/// Expands to a statement that adds one event for each row of `$rows` and returns the id of the outbox row. [`bind`]
/// binds its values.
macro_rules! add_from {
    ($rows:literal) => {
        concat!(
            "INSERT INTO outbox (service, subject, message_id, headers, body) SELECT $1, $2, $3, $4, $5 FROM ",
            $rows,
            " RETURNING id"
        )
    };
}
pub(crate) use add_from;

/// Binds the first five values of a statement that adds one event.
pub(crate) fn bind(
    statement: &'static str,
    service: &'static str,
    event: OutboundMessage,
) -> QueryScalar<'static, Postgres, i64, PgArguments> {
    let OutboundMessage { subject, id, headers, body } = event;
    sqlx::query_scalar(statement).bind(service).bind(subject).bind(id).bind(Json(headers)).bind(body)
}

/// Adds events that `service` publishes once the transaction is committed.
pub async fn add(tx: &mut Tx, service: &'static str, events: &[OutboundMessage]) -> Result<(), Error> {
    if !events.is_empty() {
        add_without_notify(tx, service, events).await?;
        tx.notify(channel(service));
    }
    Ok(())
}

/// Adds events without a notification: the relay publishes them within a second, many at a time.
pub async fn add_without_notify(tx: &mut Tx, service: &'static str, events: &[OutboundMessage]) -> Result<(), Error> {
    let subjects: Vec<&str> = events.iter().map(|event| event.subject.as_str()).collect();
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let headers: Vec<Json<&Vec<(String, String)>>> = events.iter().map(|event| Json(&event.headers)).collect();
    let bodies: Vec<&[u8]> = events.iter().map(|event| event.body.as_slice()).collect();
    sqlx::query(
        "INSERT INTO outbox (service, subject, message_id, headers, body)
         SELECT $1, event.subject, event.message_id, event.headers, event.body
         FROM unnest($2::text[], $3::text[], $4::jsonb[], $5::bytea[]) WITH ORDINALITY
             AS event (subject, message_id, headers, body, number) ORDER BY number",
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

/// Writes the statement that adds events, many in one row, for transactions that add thousands.
pub(crate) fn push_together(
    query: &mut QueryBuilder<Postgres>,
    service: &'static str,
    events: &[OutboundMessage],
) -> Result<(), Error> {
    let headers = |event: &OutboundMessage| serde_json::to_string(&event.headers);
    let headers = events.iter().map(headers).collect::<Result<Vec<_>, _>>()?;
    query.push(
        "INSERT INTO outbox (service, event_count, batch_subjects, batch_message_ids, batch_headers, batch_bodies) ",
    );
    query.push_values(
        events.chunks(EVENTS_PER_ROW).zip(headers.chunks(EVENTS_PER_ROW)),
        |mut row, (events, headers)| {
            row.push_bind(service)
                .push_bind(events.len() as i32)
                .push_bind(events.iter().map(|event| event.subject.as_str()).collect::<Vec<_>>())
                .push_bind(events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>())
                .push_bind(headers)
                .push_bind(events.iter().map(|event| event.body.as_slice()).collect::<Vec<_>>());
        },
    );
    Ok(())
}

/// Returns those of these message ids that are in an outbox which this process may see.
pub(crate) async fn find_ids(store: &Store, ids: &[&str]) -> Result<HashSet<String>, Error> {
    let found = sqlx::query_scalar(
        "SELECT message_id FROM outbox WHERE message_id = ANY($1)
         UNION SELECT batched FROM outbox, unnest(batch_message_ids) AS batched WHERE batched = ANY($1)",
    );
    Ok(found.bind(ids).fetch_all(store.pool()).await?.into_iter().collect())
}

/// Returns the PostgreSQL channel that announces committed events of a service to its relay alone.
pub(crate) fn channel(service: &str) -> String {
    format!("outbox/{service}")
}

/// Counts the events that a service has committed and not yet published.
pub async fn len(store: &Store, service: &str) -> Result<i64, Error> {
    let query = "SELECT coalesce(sum(event_count), 0) FROM outbox WHERE service = $1";
    Ok(sqlx::query_scalar(query).bind(service).fetch_one(store.pool()).await?)
}
