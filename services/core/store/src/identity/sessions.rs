//! The sessions of users: how they are opened and ended.

use events::{Timestamp, UserChange};
use sqlx::Row;
use uuid::Uuid;

use crate::{
    Error, Store, Tx,
    identity::{
        login_throttle::{LoginAttempt, Network, forgive},
        sign_ups::notice,
        users::{self, User},
    },
    rules::TokenHash,
};

/// The largest number of sessions of an account; a new session ends the oldest one.
const MOST_SESSIONS: i64 = 100;

/// A session that is to be opened.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The account that signs in.
    pub user_id: Uuid,
    /// The password hash that the given password was compared with. No session is opened when it has changed meanwhile.
    pub verified: String,
    /// A new hash of the same password, where the parameters of the old hash are out of date.
    pub renewed: Option<String>,
    /// The token and the end of the session.
    pub opened: IssuedSession,
    /// The network of the client, for which failed sign-ins are forgotten.
    pub network: Network,
    /// The token hash of the session that this one replaces.
    pub replaces: Option<TokenHash>,
}

/// The token and the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedSession {
    /// The hash of the session's token.
    pub token: TokenHash,
    /// The time at which the session ends.
    pub expires_at: Timestamp,
}

/// Returns the account of an address and its password hash.
pub async fn find_password(store: &Store, address: &str) -> Result<Option<(User, String)>, Error> {
    let row = sqlx::query("SELECT * FROM users WHERE lower(email) = lower($1)")
        .bind(address)
        .fetch_optional(store.pool())
        .await?;
    row.map(|row| Ok((users::user(&row)?, row.try_get("password_hash")?))).transpose()
}

/// Opens a session and forgets the failed sign-ins before it. Returns `false` when the password has changed meanwhile.
pub async fn open(store: &Store, session: NewSession, now: Timestamp) -> Result<bool, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // The row is locked, so that a concurrent password change either ends this session or is seen here.
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
                forgive(tx, &LoginAttempt::SignIn { address: email, network: session.network }).await?;
                sqlx::query("DELETE FROM sessions WHERE token_hash = $1")
                    .bind(session.replaces.as_ref().map(<[u8; 32]>::as_slice))
                    .execute(&mut **tx)
                    .await?;
                insert(tx, session.user_id, &session.opened, now).await?;
                end_surplus(tx, session.user_id).await?;
                Ok(true)
            })
        })
        .await
}

/// Ends the session with this token hash.
pub async fn end(store: &Store, token: TokenHash) -> Result<(), Error> {
    sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(token.as_slice()).execute(store.pool()).await?;
    Ok(())
}

/// Revokes all access to an account: its sessions, keys and password resets. The owner gets a notification.
pub async fn end_all(store: &Store, user: Uuid, now: Timestamp) -> Result<(), Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                sqlx::query("SELECT FROM users WHERE id = $1 FOR UPDATE").bind(user).execute(&mut **tx).await?;
                revoke_access(tx, user, now).await?;
                notice(tx, UserChange::SignedOutEverywhere, user, now).await
            })
        })
        .await
}

/// Ends all sessions of an account, revokes all its keys and invalidates all its password resets. The caller must have
/// locked the account's row, so that no session is opened meanwhile.
pub(crate) async fn revoke_access(tx: &mut Tx, user: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user).execute(&mut **tx).await?;
    for statement in [
        "UPDATE api_keys SET revoked_at = $2 WHERE user_id = $1 AND revoked_at IS NULL",
        "UPDATE password_resets SET used_at = $2 WHERE user_id = $1 AND used_at IS NULL",
    ] {
        sqlx::query(statement).bind(user).bind(now.datetime()).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Inserts a session of an account.
pub(crate) async fn insert(tx: &mut Tx, user: Uuid, opened: &IssuedSession, now: Timestamp) -> Result<(), Error> {
    sqlx::query("INSERT INTO sessions (token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(opened.token.as_slice())
        .bind(user)
        .bind(now.datetime())
        .bind(opened.expires_at.datetime())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Deletes the oldest sessions of an account beyond the limit.
async fn end_surplus(tx: &mut Tx, user: Uuid) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM sessions WHERE token_hash IN (
             SELECT token_hash FROM sessions WHERE user_id = $1 ORDER BY created_at DESC OFFSET $2)",
    )
    .bind(user)
    .bind(MOST_SESSIONS)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
