//! Dead letters are messages that can never be applied.

use std::collections::HashSet;

use events::{DeadLetter, OutboundMessage};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Error, Store, Tx, bigint, outbox, smallint};

/// Registers the counters of dead letters and refused batches at 0, because a rate does not show the step from no counter
/// to 1.
pub fn register_metrics(service: &'static str) {
    metrics::counter!("tickbell_dead_letters_total", "service" => service).increment(0);
    metrics::counter!("tickbell_batches_refused_total", "service" => service).increment(0);
}

/// Records messages as dead letters of `service` and adds them to its outbox. A message that another service has
/// already recorded is not recorded again.
pub async fn add(tx: &mut Tx, service: &'static str, dead_letters: &[DeadLetter]) -> Result<(), Error> {
    for dead_letter in dead_letters {
        let first = sqlx::query(
            "INSERT INTO dead_letters (stream, sequence, index, service, reason, digest)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(&dead_letter.stream)
        .bind(bigint(dead_letter.sequence))
        .bind(dead_letter.index.map(smallint))
        .bind(service)
        .bind(&dead_letter.reason)
        .bind(digest(dead_letter)?)
        .execute(&mut **tx)
        .await?
        .rows_affected()
            == 1;
        if first {
            tracing::warn!(
                service,
                stream = dead_letter.stream,
                sequence = dead_letter.sequence,
                index = dead_letter.index,
                subject = dead_letter.subject,
                reason = dead_letter.reason,
                "recorded a dead letter; see `tickbell dlq list`"
            );
            metrics::counter!("tickbell_dead_letters_total", "service" => service).increment(1);
            outbox::add(tx, service, &[dead_letter.to_message()]).await?;
        }
    }
    Ok(())
}

/// What came of a replay that an operator has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// The message is in the outbox of the service that publishes it.
    Committed {
        /// The name of that service.
        publisher: String,
    },
    /// No service publishes messages of its stream again.
    NoPublisher,
    /// No service has given up this very message, or an earlier version recorded it.
    NotGivenUp,
}

/// Adds the message of a dead letter to the outbox of the service that publishes it, for the operator who has asked for it. Nothing is
/// recorded of a replay that is refused.
///
/// A replay that is asked for again publishes the message again under the same id.
pub async fn replay(store: &Store, dead_letter: &DeadLetter, operator: Uuid) -> Result<ReplayOutcome, Error> {
    let Ok(OutboundMessage { subject, id, headers, body }) = dead_letter.to_replay() else {
        return Ok(ReplayOutcome::NotGivenUp);
    };
    let headers = serde_json::to_string(&headers)?;
    // PostgreSQL stores no NUL in a text. No stream and no subject of ours has one.
    if subject.contains('\0') || dead_letter.stream.contains('\0') {
        return Ok(ReplayOutcome::NotGivenUp);
    }
    let replay = sqlx::query_as(
        "SELECT dead_letter_publisher($1) IS NOT NULL, replay_dead_letter($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&dead_letter.stream)
    .bind(bigint(dead_letter.sequence))
    .bind(dead_letter.index.map(smallint))
    .bind(operator)
    .bind(subject)
    .bind(id)
    .bind(headers)
    .bind(body);
    Ok(match replay.fetch_one(store.pool()).await? {
        (_, Some(publisher)) => ReplayOutcome::Committed { publisher },
        (true, None) => ReplayOutcome::NotGivenUp,
        (false, None) => ReplayOutcome::NoPublisher,
    })
}

/// Returns those of the streams whose messages no service publishes again.
pub async fn without_publisher(store: &Store, streams: &[&str]) -> Result<HashSet<String>, Error> {
    // PostgreSQL stores no NUL in a text. No stream of ours has one.
    let (unknown, streams): (Vec<&str>, Vec<&str>) = streams.iter().copied().partition(|stream| stream.contains('\0'));
    let query = "SELECT DISTINCT stream FROM unnest($1::text[]) AS stream WHERE dead_letter_publisher(stream) IS NULL";
    let found: Vec<String> = sqlx::query_scalar(query).bind(streams).fetch_all(store.pool()).await?;
    Ok(found.into_iter().chain(unknown.into_iter().map(str::to_owned)).collect())
}

/// Returns the digest of what a replay publishes, as function `replay_dead_letter` computes it; none where nothing can be published.
fn digest(dead_letter: &DeadLetter) -> Result<Option<Vec<u8>>, Error> {
    let Ok(OutboundMessage { subject, headers, body, .. }) = dead_letter.to_replay() else { return Ok(None) };
    let text = format!("{subject}\n{}\n", serde_json::to_string(&headers)?);
    Ok(Some(Sha256::new().chain_update(text).chain_update(body).finalize().to_vec()))
}
