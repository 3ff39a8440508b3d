//! New passwords, for whoever knows the old one and for whoever reads the account's mail.

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

/// How long the link in the mail leads anywhere.
const GOOD_FOR_HOURS: i32 = 1;

/// How many may ask in an hour, all together: a row is kept for each, whether the address has an account or not.
const ASKED_PER_HOUR: i64 = 10_000;

/// What a wish for a new password came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetRequest {
    /// It is taken; whether a mail follows is its address's business.
    Taken,
    /// Too many ask now, whoever they are.
    TooMany,
}

/// Where a reset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// It waits for a new password.
    Waiting,
    /// The password is set.
    Used,
    /// It has waited too long, or there is none.
    Over,
}

/// Sets a new password, unless the one that was `verified` has changed meanwhile, and shuts everybody out but whoever has
/// the token of the session that is opened.
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
                shut_out(tx, user, now).await?;
                sessions::insert(tx, user, &opened, now).await?;
                login_throttle::forget(tx, &email).await?;
                login_throttle::forget(tx, &user.to_string()).await?;
                notice(tx, UserChange::PasswordChanged, user, now).await?;
                Ok(true)
            })
        })
        .await
}

/// Takes the wish for a new password. The same work is done whether the address has an account or not.
pub async fn request_reset(store: &Store, address: String, now: Timestamp) -> Result<ResetRequest, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // One at a time for an address: the count below would be blind to those in flight.
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
                .bind(ASKED_PER_HOUR)
                .fetch_one(&mut **tx)
                .await?;
                if row.try_get::<i64, _>("all_asked")? >= ASKED_PER_HOUR {
                    return Ok(ResetRequest::TooMany);
                }
                if row.try_get::<i64, _>("asked")? >= MAILS_PER_HOUR {
                    return Ok(ResetRequest::Taken);
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
                .bind(GOOD_FOR_HOURS)
                .execute(&mut **tx)
                .await?;
                notice(tx, UserChange::ResetRequested, id, now).await?;
                Ok(ResetRequest::Taken)
            })
        })
        .await
}

/// Where a reset stands.
pub async fn reset_state(store: &Store, id: Uuid, now: Timestamp) -> Result<Reset, Error> {
    store.transaction(move |tx| Box::pin(async move { Ok(state(tx, id, now).await?.0) })).await
}

/// Sets a new password by a reset that backoff, and shuts everybody out of the account. The answer is where the reset
/// stood before.
pub async fn reset(store: &Store, id: Uuid, new: String, now: Timestamp) -> Result<Reset, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                let user = match state(tx, id, now).await? {
                    (Reset::Waiting, Some(user)) => user,
                    (stood, _) => return Ok(stood),
                };
                let email: String =
                    sqlx::query_scalar("UPDATE users SET password_hash = $2 WHERE id = $1 RETURNING email")
                        .bind(user)
                        .bind(&new)
                        .fetch_one(&mut **tx)
                        .await?;
                shut_out(tx, user, now).await?;
                login_throttle::forget(tx, &email).await?;
                login_throttle::forget(tx, &user.to_string()).await?;
                notice(tx, UserChange::PasswordChanged, user, now).await?;
                Ok(Reset::Waiting)
            })
        })
        .await
}

/// Ends every session, revokes every key and uses up every link to a new password: whoever got hold of one is out. The
/// account's row is locked by whoever calls this, so that nothing is opened meanwhile.
pub(crate) async fn shut_out(tx: &mut Tx, user: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user).execute(&mut **tx).await?;
    for end in [
        "UPDATE api_keys SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL",
        "UPDATE password_resets SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL",
    ] {
        sqlx::query(end).bind(user).bind(now.datetime()).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Where it stands, and whose it is. The account is locked first, as whoever erases it does.
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
    let Some(row) = row else { return Ok((Reset::Over, None)) };
    let state = match (row.try_get("used")?, row.try_get("over")?) {
        (true, _) => Reset::Used,
        (false, true) => Reset::Over,
        (false, false) => Reset::Waiting,
    };
    Ok((state, user))
}
