//! Deletes expired rows, including those that no request asks for again.

use events::Timestamp;

use crate::{Error, Store};

/// The number of rows of each table that one call deletes at most, so that no statement takes long.
const MAX_ROWS: i64 = 10_000;

/// The statements that delete expired rows, one per table. A password reset stays for another day, so that its link can
/// still answer that it was used.
const DELETE_EXPIRED: [&str; 4] = [
    "DELETE FROM sign_ups WHERE id IN (
         SELECT id FROM sign_ups WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM password_resets WHERE id IN (
         SELECT id FROM password_resets WHERE expires_at <= $1 - interval '1 day' ORDER BY expires_at LIMIT $2
         FOR UPDATE SKIP LOCKED)",
    "DELETE FROM sessions WHERE token_hash IN (
         SELECT token_hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM login_attempts WHERE (subject_hash, kind, network) IN (
         SELECT subject_hash, kind, network FROM login_attempts WHERE last_failed_at <= $1 - interval '1 hour'
         ORDER BY last_failed_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
];

/// Deletes what has expired by `now` and returns the number of deleted rows; there may be more.
pub async fn delete_expired(store: &Store, now: Timestamp) -> Result<u64, Error> {
    let mut deleted = 0;
    for statement in DELETE_EXPIRED {
        let done = sqlx::query(statement).bind(now.datetime()).bind(MAX_ROWS).execute(store.pool()).await?;
        deleted += done.rows_affected();
    }
    Ok(deleted)
}
