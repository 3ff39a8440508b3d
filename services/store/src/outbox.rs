//! Facts that are committed and not yet published.

use events::Outgoing;
use sqlx::{Postgres, postgres::PgArguments, query::QueryScalar, types::Json};

use crate::{Error, Tx};

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
    fact: Outgoing,
) -> QueryScalar<'static, Postgres, i64, PgArguments> {
    let Outgoing { subject, id, headers, body } = fact;
    sqlx::query_scalar(statement).bind(service).bind(subject).bind(id).bind(Json(headers)).bind(body)
}

/// Adds facts to be published by `service` once the transaction is committed.
pub async fn add(tx: &mut Tx, service: &'static str, facts: &[Outgoing]) -> Result<(), Error> {
    if !facts.is_empty() {
        add_unhurried(tx, service, facts).await?;
        tx.notify(channel(service));
    }
    Ok(())
}

/// The same for facts that nobody waits for: they are published within a second, many at a time.
pub async fn add_unhurried(tx: &mut Tx, service: &'static str, facts: &[Outgoing]) -> Result<(), Error> {
    let subjects: Vec<&str> = facts.iter().map(|fact| fact.subject.as_str()).collect();
    let ids: Vec<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
    let headers: Vec<Json<&Vec<(String, String)>>> = facts.iter().map(|fact| Json(&fact.headers)).collect();
    let bodies: Vec<&[u8]> = facts.iter().map(|fact| fact.body.as_slice()).collect();
    sqlx::query(
        "INSERT INTO outbox (service, subject, message_id, headers, body)
         SELECT $1, fact.subject, fact.message_id, fact.headers, fact.body FROM unnest($2::text[], $3::text[], $4::jsonb[], $5::bytea[]) WITH ORDINALITY
             AS fact (subject, message_id, headers, body, place) ORDER BY place",
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

/// The same, many in one row: for who decides thousands in one transaction.
pub async fn add_together(tx: &mut Tx, service: &'static str, facts: &[Outgoing]) -> Result<(), Error> {
    for facts in facts.chunks(TOGETHER) {
        let headers = facts.iter().map(|fact| serde_json::to_string(&fact.headers)).collect::<Result<Vec<_>, _>>()?;
        sqlx::query(
            "INSERT INTO outbox (service, facts, subjects, message_ids, all_headers, bodies) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(service)
        .bind(facts.len() as i32)
        .bind(facts.iter().map(|fact| fact.subject.as_str()).collect::<Vec<_>>())
        .bind(facts.iter().map(|fact| fact.id.as_str()).collect::<Vec<_>>())
        .bind(headers)
        .bind(facts.iter().map(|fact| fact.body.as_slice()).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
        tx.notify(channel(service));
    }
    Ok(())
}

/// Says that a transaction with facts of a service has committed: to whom publishes them, and to nobody else.
pub(crate) fn channel(service: &str) -> String {
    format!("outbox/{service}")
}
