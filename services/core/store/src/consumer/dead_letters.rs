//! Dead letters are messages that can never be applied.

use events::DeadLetter;

use crate::{Error, Tx, bigint, outbox, smallint};

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
            "INSERT INTO dead_letters (stream, sequence, index, service, reason) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
        )
        .bind(&dead_letter.stream)
        .bind(bigint(dead_letter.sequence))
        .bind(dead_letter.index.map(smallint))
        .bind(service)
        .bind(&dead_letter.reason)
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
