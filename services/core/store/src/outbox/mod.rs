//! Facts that are committed and not yet published.

pub mod relay;

use events::OutboundMessage;
use sqlx::{Postgres, QueryBuilder, postgres::PgArguments, query::QueryScalar, types::Json};

use crate::{Error, Store, Tx};

/// The service that publishes what requests of users cause.
pub const GATEWAY: &str = "gateway";

/// How many facts one row may hold.
const TOGETHER: usize = 1_000;
/// Adds one fact and answers with its row's id; [`bind`] binds its values. What is given says from which rows of the same
/// statement.
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

/// Binds the first five values of a statement that adds one fact.
pub(crate) fn bind(
    statement: &'static str,
    service: &'static str,
    fact: OutboundMessage,
) -> QueryScalar<'static, Postgres, i64, PgArguments> {
    let OutboundMessage { subject, id, headers, body } = fact;
    sqlx::query_scalar(statement).bind(service).bind(subject).bind(id).bind(Json(headers)).bind(body)
}

/// Adds facts to be published by `service` once the transaction is committed.
pub async fn add(tx: &mut Tx, service: &'static str, facts: &[OutboundMessage]) -> Result<(), Error> {
    if !facts.is_empty() {
        add_without_notify(tx, service, facts).await?;
        tx.notify(channel(service));
    }
    Ok(())
}

/// The same for facts that nobody waits for: they are published within a second, many at a time.
pub async fn add_without_notify(tx: &mut Tx, service: &'static str, facts: &[OutboundMessage]) -> Result<(), Error> {
    let subjects: Vec<&str> = facts.iter().map(|fact| fact.subject.as_str()).collect();
    let ids: Vec<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
    let headers: Vec<Json<&Vec<(String, String)>>> = facts.iter().map(|fact| Json(&fact.headers)).collect();
    let bodies: Vec<&[u8]> = facts.iter().map(|fact| fact.body.as_slice()).collect();
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

/// Writes the statement that adds facts, many in one row: for who decides thousands in one transaction.
pub(crate) fn push_together(
    query: &mut QueryBuilder<Postgres>,
    service: &'static str,
    facts: &[OutboundMessage],
) -> Result<(), Error> {
    let headers = |fact: &OutboundMessage| serde_json::to_string(&fact.headers);
    let headers = facts.iter().map(headers).collect::<Result<Vec<_>, _>>()?;
    query.push(
        "INSERT INTO outbox (service, event_count, batch_subjects, batch_message_ids, batch_headers, batch_bodies) ",
    );
    query.push_values(facts.chunks(TOGETHER).zip(headers.chunks(TOGETHER)), |mut row, (facts, headers)| {
        row.push_bind(service)
            .push_bind(facts.len() as i32)
            .push_bind(facts.iter().map(|fact| fact.subject.as_str()).collect::<Vec<_>>())
            .push_bind(facts.iter().map(|fact| fact.id.as_str()).collect::<Vec<_>>())
            .push_bind(headers)
            .push_bind(facts.iter().map(|fact| fact.body.as_slice()).collect::<Vec<_>>());
    });
    Ok(())
}

/// Says that a transaction with facts of a service has committed: to whom publishes them, and to nobody else.
pub(crate) fn channel(service: &str) -> String {
    format!("outbox/{service}")
}

/// How many facts a service has committed and not yet published.
pub async fn len(store: &Store, service: &str) -> Result<i64, Error> {
    let query = "SELECT coalesce(sum(event_count), 0) FROM outbox WHERE service = $1";
    Ok(sqlx::query_scalar(query).bind(service).fetch_one(store.pool()).await?)
}
