//! Messages that were given up.

use events::DeadLetter;

use crate::{Error, Tx, bigint, outbox};

/// Counts from nought: the step from no counter to one would not be seen.
pub fn register_metrics(service: &'static str) {
    metrics::counter!("tickbell_dead_letters_total", "service" => service).increment(0);
}

/// Records messages that `service` gives up and adds their dead letters to its outbox; one that another service has
/// given up already is not given up again.
pub async fn add(tx: &mut Tx, service: &'static str, letters: &[DeadLetter]) -> Result<(), Error> {
    for letter in letters {
        let first = sqlx::query(
            "INSERT INTO dead_letters (stream, sequence, service, reason) VALUES ($1, $2, $3, $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(&letter.stream)
        .bind(bigint(letter.sequence))
        .bind(service)
        .bind(&letter.reason)
        .execute(&mut **tx)
        .await?
        .rows_affected()
            == 1;
        if first {
            tracing::warn!(
                service,
                stream = letter.stream,
                sequence = letter.sequence,
                subject = letter.subject,
                reason = letter.reason,
                "gave a message up; see `tickbell dlq list`"
            );
            metrics::counter!("tickbell_dead_letters_total", "service" => service).increment(1);
            outbox::add(tx, service, &[letter.to_message()]).await?;
        }
    }
    Ok(())
}
