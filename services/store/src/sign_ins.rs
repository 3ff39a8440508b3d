//! Sessions: who signs in, how often they may try, and how it ends.

use std::time::Duration;

use chrono::{DateTime, Utc};
use events::Timestamp;
use sqlx::Row;
use uuid::Uuid;

use crate::{
    Error, Store, Tx,
    rules::TokenHash,
    users::{self, User},
};

/// How many failures in a row are free.
const FREE_FAILURES: i32 = 3;
/// The longest wait after one more.
const LONGEST_WAIT_SECONDS: i64 = 60;
/// A row of failures is forgotten this long after the last of them.
const FORGOTTEN_AFTER_SECONDS: i64 = 3_600;
/// How many sessions an account has at most; the oldest end.
const MOST_SESSIONS: i64 = 100;

/// A session to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Whose.
    pub user_id: Uuid,
    /// The hash that the given password was held to: if it is another by now, there is no session.
    pub verified: String,
    /// The password's hash anew, where the old one's numbers are out of date.
    pub renewed: Option<String>,
    /// The hash of its token.
    pub token: TokenHash,
    /// The session that it takes the place of.
    pub replaces: Option<TokenHash>,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Store {
    /// Counts an attempt to sign in at an address as failed until [`Store::open_session`] says that it was not:
    /// attempts at the same time are counted too. When it comes too soon it is not counted, and the answer is the wait.
    pub async fn begin_sign_in(&self, address: String, now: Timestamp) -> Result<Option<Duration>, Error> {
        self.transaction(move |tx| {
            Box::pin(async move {
                forget_old(tx, now).await?;
                sqlx::query(
                    "INSERT INTO sign_in_failures (address_hash, failures, last_at)
                     VALUES (sha256(convert_to(lower($1), 'UTF8')), 0, $2) ON CONFLICT DO NOTHING",
                )
                .bind(&address)
                .bind(now.datetime())
                .execute(&mut **tx)
                .await?;
                let row = sqlx::query(
                    "SELECT failures, last_at FROM sign_in_failures
                     WHERE address_hash = sha256(convert_to(lower($1), 'UTF8')) FOR UPDATE",
                )
                .bind(&address)
                .fetch_one(&mut **tx)
                .await?;
                let last_at = Timestamp::from(row.try_get::<DateTime<Utc>, _>("last_at")?);
                let failures = match next_attempt(row.try_get("failures")?, last_at, now) {
                    Next::Now(failures) => failures,
                    Next::After(wait) => return Ok(Some(wait)),
                };
                sqlx::query(
                    "UPDATE sign_in_failures SET failures = $2, last_at = $3
                     WHERE address_hash = sha256(convert_to(lower($1), 'UTF8'))",
                )
                .bind(&address)
                .bind(failures)
                .bind(now.datetime())
                .execute(&mut **tx)
                .await?;
                Ok(None)
            })
        })
        .await
    }

    /// The account of an address, and its password's hash.
    pub async fn password_of(&self, address: &str) -> Result<Option<(User, String)>, Error> {
        let row = sqlx::query("SELECT * FROM users WHERE lower(email) = lower($1)")
            .bind(address)
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| Ok((users::user(&row)?, row.try_get("password_hash")?))).transpose()
    }

    /// Opens a session and forgets the failures before it. `false` when the password has changed meanwhile.
    pub async fn open_session(&self, session: NewSession, now: Timestamp) -> Result<bool, Error> {
        self.transaction(move |tx| {
            Box::pin(async move {
                // Locked, so that a change of the password ends this session too, or comes before it.
                let email: Option<String> =
                    sqlx::query_scalar("SELECT email FROM users WHERE id = $1 AND password_hash = $2 FOR UPDATE")
                        .bind(session.user_id)
                        .bind(&session.verified)
                        .fetch_optional(&mut **tx)
                        .await?;
                let Some(email) = email else { return Ok(false) };
                if let Some(renewed) = &session.renewed {
                    sqlx::query("UPDATE users SET password_hash = $2 WHERE id = $1")
                        .bind(session.user_id)
                        .bind(renewed)
                        .execute(&mut **tx)
                        .await?;
                }
                forgive(tx, &email).await?;
                sqlx::query("DELETE FROM sessions WHERE token_hash = $1")
                    .bind(session.replaces.as_ref().map(<[u8; 32]>::as_slice))
                    .execute(&mut **tx)
                    .await?;
                sqlx::query(
                    "INSERT INTO sessions (token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
                )
                .bind(session.token.as_slice())
                .bind(session.user_id)
                .bind(now.datetime())
                .bind(session.expires_at.datetime())
                .execute(&mut **tx)
                .await?;
                end_surplus(tx, session.user_id, now).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Ends one session.
    pub async fn end_session(&self, token: TokenHash) -> Result<(), Error> {
        sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(token.as_slice()).execute(self.pool()).await?;
        Ok(())
    }

    /// Ends every session of an account.
    pub async fn end_sessions(&self, user: Uuid) -> Result<(), Error> {
        sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user).execute(self.pool()).await?;
        Ok(())
    }
}

/// Forgets the failures of an address.
pub(crate) async fn forgive(tx: &mut Tx, address: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM sign_in_failures WHERE address_hash = sha256(convert_to(lower($1), 'UTF8'))")
        .bind(address)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn forget_old(tx: &mut Tx, now: Timestamp) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM sign_in_failures WHERE address_hash IN (
             SELECT address_hash FROM sign_in_failures WHERE last_at < $1 - make_interval(secs => $2)
             ORDER BY last_at LIMIT 10 FOR UPDATE SKIP LOCKED)",
    )
    .bind(now.datetime())
    .bind(FORGOTTEN_AFTER_SECONDS as i32)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Those of the account that are over or too many, and a few of anybody's that are over.
async fn end_surplus(tx: &mut Tx, user: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM sessions WHERE token_hash IN (
             SELECT token_hash FROM sessions WHERE user_id = $1 ORDER BY created_at DESC OFFSET $2)",
    )
    .bind(user)
    .bind(MOST_SESSIONS)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "DELETE FROM sessions WHERE token_hash IN (
             SELECT token_hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT 10
             FOR UPDATE SKIP LOCKED)",
    )
    .bind(now.datetime())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What may come after so many failures in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// An attempt; if it fails there are so many.
    Now(i32),
    /// None before this has passed.
    After(Duration),
}

fn next_attempt(failures: i32, last_at: Timestamp, now: Timestamp) -> Next {
    let elapsed = (now.micros() - last_at.micros()).max(0);
    if elapsed >= FORGOTTEN_AFTER_SECONDS * 1_000_000 {
        return Next::Now(1);
    }
    let doublings = (failures - FREE_FAILURES).clamp(0, 6);
    let wait_seconds = if failures < FREE_FAILURES { 0 } else { LONGEST_WAIT_SECONDS.min(1 << doublings) };
    match wait_seconds * 1_000_000 - elapsed {
        left @ 1.. => Next::After(Duration::from_micros(left.unsigned_abs())),
        _ => Next::Now(failures.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(failures: i32, seconds: i64) -> Next {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000).expect("a time");
        next_attempt(failures, at(1_000), at(1_000 + seconds))
    }

    #[test]
    fn the_wait_doubles_from_the_third_failure_in_a_row() {
        for failures in [0, 1, 2] {
            assert_eq!(after(failures, 0), Next::Now(failures + 1));
        }
        for (failures, wait) in [(3, 1), (4, 2), (5, 4), (8, 32), (9, 60), (10, 60), (i32::MAX, 60)] {
            assert_eq!(after(failures, 0), Next::After(Duration::from_secs(wait)), "{failures}");
            assert_eq!(after(failures, wait as i64), Next::Now(failures.saturating_add(1)), "{failures}");
        }
    }

    #[test]
    fn failures_are_forgotten_after_an_hour() {
        assert_eq!(after(9, 3_599), Next::Now(10));
        assert_eq!(after(9, 3_600), Next::Now(1));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_wait_longer() {
        assert_eq!(after(4, -100), Next::After(Duration::from_secs(2)));
    }
}
