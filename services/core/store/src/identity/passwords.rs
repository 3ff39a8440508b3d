//! Password changes, for users who know the old password, and resets, for users who receive the account's mail.

use events::{Timestamp, UserChange};
use sqlx::Row;
use uuid::Uuid;

use crate::{
    Error, Store, Tx,
    identity::{
        login_throttle,
        sessions::{self, IssuedSession},
        sign_ups::{MAILS_PER_HOUR, notice},
    },
};

/// The validity of the link in the mail, in hours.
const LINK_VALID_HOURS: i32 = 1;

/// The largest number of resets in an hour, of all addresses together. It bounds the table, because each request adds a
/// row whether the address has an account or not.
const MAX_RESETS_PER_HOUR: i64 = 10_000;

/// The result of a request for a password reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetRequest {
    /// The request is accepted. The answer does not reveal whether the address has an account and gets a mail.
    Accepted,
    /// Too many resets of all addresses were requested within an hour.
    TooMany,
}

/// The state of a password reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The reset waits for a new password.
    Waiting,
    /// The new password is set.
    Used,
    /// The reset has expired or does not exist.
    Expired,
}

/// Sets a new password, revokes all access to the account and opens a new session. Returns `false` when the password
/// hash is no longer the `verified` one, because the password has changed meanwhile.
pub async fn change(
    store: &Store,
    user: Uuid,
    verified: String,
    new: String,
    opened: IssuedSession,
    now: Timestamp,
) -> Result<bool, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                let changed = sqlx::query_scalar::<_, String>(
                    "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING email",
                )
                .bind(user)
                .bind(&verified)
                .bind(&new)
                .fetch_optional(&mut **tx)
                .await?;
                let Some(email) = changed else { return Ok(false) };
                sessions::revoke_access(tx, user, now).await?;
                sessions::insert(tx, user, &opened, now).await?;
                login_throttle::forget(tx, &email).await?;
                login_throttle::forget(tx, &user.to_string()).await?;
                notice(tx, UserChange::PasswordChanged, user, now).await?;
                Ok(true)
            })
        })
        .await
}

/// Requests a password reset. The work is the same whether the address has an account or not, so that the duration of a
/// request reveals nothing.
pub async fn request_reset(store: &Store, address: String, now: Timestamp) -> Result<ResetRequest, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // The lock serialises requests of one address: the count below must see concurrent requests.
                sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tickbell/reset/' || lower($1), 0))")
                    .bind(&address)
                    .execute(&mut **tx)
                    .await?;
                let row = sqlx::query(
                    "SELECT (SELECT count(*) FROM password_resets
                         WHERE address_hash = sha256(convert_to(lower($1), 'UTF8'))
                            AND created_at > $2 - interval '1 hour') AS asked,
                        (SELECT count(*)
                         FROM (SELECT FROM password_resets WHERE created_at > $2 - interval '1 hour' LIMIT $3)
                            AS anybody) AS all_asked",
                )
                .bind(&address)
                .bind(now.datetime())
                .bind(MAX_RESETS_PER_HOUR)
                .fetch_one(&mut **tx)
                .await?;
                if row.try_get::<i64, _>("all_asked")? >= MAX_RESETS_PER_HOUR {
                    return Ok(ResetRequest::TooMany);
                }
                if row.try_get::<i64, _>("asked")? >= MAILS_PER_HOUR {
                    return Ok(ResetRequest::Accepted);
                }
                let id = Uuid::now_v7();
                sqlx::query(
                    "INSERT INTO password_resets (id, user_id, address_hash, created_at, expires_at)
                 VALUES ($1, (SELECT id FROM users WHERE lower(email) = lower($2)),
                         sha256(convert_to(lower($2), 'UTF8')), $3, $3 + make_interval(hours => $4))",
                )
                .bind(id)
                .bind(&address)
                .bind(now.datetime())
                .bind(LINK_VALID_HOURS)
                .execute(&mut **tx)
                .await?;
                notice(tx, UserChange::ResetRequested, id, now).await?;
                Ok(ResetRequest::Accepted)
            })
        })
        .await
}

/// Returns the state of a password reset.
pub async fn reset_state(store: &Store, id: Uuid, now: Timestamp) -> Result<Reset, Error> {
    store.transaction(move |tx| Box::pin(async move { Ok(state(tx, id, now).await?.0) })).await
}

/// Sets a new password by a reset that waits for one, and revokes all access to the account. Returns the state of the
/// reset before the call.
pub async fn reset(store: &Store, id: Uuid, new: String, now: Timestamp) -> Result<Reset, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                let user = match state(tx, id, now).await? {
                    (Reset::Waiting, Some(user)) => user,
                    (previous, _) => return Ok(previous),
                };
                let email: String =
                    sqlx::query_scalar("UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING email")
                        .bind(user)
                        .bind(&new)
                        .fetch_one(&mut **tx)
                        .await?;
                sessions::revoke_access(tx, user, now).await?;
                login_throttle::forget(tx, &email).await?;
                login_throttle::forget(tx, &user.to_string()).await?;
                notice(tx, UserChange::PasswordChanged, user, now).await?;
                Ok(Reset::Waiting)
            })
        })
        .await
}

/// Returns the state of a reset and the id of its account. The account is locked first, in the same order as an erasure
/// locks it, so that the two cannot deadlock.
async fn state(tx: &mut Tx, id: Uuid, now: Timestamp) -> Result<(Reset, Option<Uuid>), Error> {
    let user: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM users WHERE id = (SELECT user_id FROM password_resets WHERE id = $1) FOR UPDATE",
    )
    .bind(id)
    .fetch_optional(&mut **tx)
    .await?;
    let row = sqlx::query(
        "SELECT used_at IS NOT NULL AS used, expires_at <= $2 AS over FROM password_resets
         WHERE id = $1 AND user_id IS NOT NULL",
    )
    .bind(id)
    .bind(now.datetime())
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok((Reset::Expired, None)) };
    let state = match (row.try_get("used")?, row.try_get("over")?) {
        (true, _) => Reset::Used,
        (false, true) => Reset::Expired,
        (false, false) => Reset::Waiting,
    };
    Ok((state, user))
}
