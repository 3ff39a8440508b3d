//! What is kept for a time goes when that is over, whether anybody comes by or not.

use events::Timestamp;

use crate::{Error, Store};

/// How much of each goes at a time, so that no statement takes long.
const MOST: i64 = 10_000;

/// Before `$1`, up to `$2` of each. A reset that was used says so for a day.
const OVER: [&str; 5] = [
    "DELETE FROM sign_ups WHERE id IN (
         SELECT id FROM sign_ups WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM password_resets WHERE id IN (
         SELECT id FROM password_resets WHERE expires_at <= $1 - interval '1 day' ORDER BY expires_at LIMIT $2
         FOR UPDATE SKIP LOCKED)",
    "DELETE FROM sessions WHERE token_hash IN (
         SELECT token_hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    "DELETE FROM attempts WHERE (subject, kind, network) IN (
         SELECT subject, kind, network FROM attempts WHERE last_at <= $1 - interval '1 hour' ORDER BY last_at LIMIT $2
         FOR UPDATE SKIP LOCKED)",
    "DELETE FROM sign_in_failures WHERE address_hash IN (
         SELECT address_hash FROM sign_in_failures WHERE last_at <= $1 - interval '1 hour' ORDER BY last_at LIMIT $2
         FOR UPDATE SKIP LOCKED)",
];

/// Takes what is over by `now` away, and returns how much; there may be more.
pub async fn delete_expired(store: &Store, now: Timestamp) -> Result<u64, Error> {
    let mut swept = 0;
    for over in OVER {
        let done = sqlx::query(over).bind(now.datetime()).bind(MOST).execute(store.pool()).await?;
        swept += done.rows_affected();
    }
    Ok(swept)
}
