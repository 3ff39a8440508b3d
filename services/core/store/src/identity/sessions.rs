//! Sessions: who signs in, and how it ends.

use events::{Timestamp, UserChange};
use sqlx::Row;
use uuid::Uuid;

use crate::{
    Error, Store, Tx,
    identity::{
        login_throttle::{Attempt, Network, forgive},
        passwords::shut_out,
        sign_ups::notice,
        users::{self, User},
    },
    rules::TokenHash,
};

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
    /// What it is.
    pub opened: IssuedSession,
    /// From where: failures there are forgotten.
    pub network: Network,
    /// The session that it takes the place of.
    pub replaces: Option<TokenHash>,
}

/// The session itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedSession {
    /// The hash of its token.
    pub token: TokenHash,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The account of an address, and its password's hash.
pub async fn find_password(store: &Store, address: &str) -> Result<Option<(User, String)>, Error> {
    let row = sqlx::query("SELECT * FROM users WHERE lower(email) = lower($1)")
        .bind(address)
        .fetch_optional(store.pool())
        .await?;
    row.map(|row| Ok((users::user(&row)?, row.try_get("password_hash")?))).transpose()
}

/// Opens a session and forgets the failures before it. `false` when the password has changed meanwhile.
pub async fn open(store: &Store, session: NewSession, now: Timestamp) -> Result<bool, Error> {
    store
        .transaction(move |tx| {
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
                forgive(tx, &Attempt::SignIn { address: email, network: session.network }).await?;
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

/// Ends one session.
pub async fn end(store: &Store, token: TokenHash) -> Result<(), Error> {
    sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(token.as_slice()).execute(store.pool()).await?;
    Ok(())
}

/// Ends every session of an account, revokes its keys and uses up its links to a new password; the owner is told.
pub async fn end_all(store: &Store, user: Uuid, now: Timestamp) -> Result<(), Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                sqlx::query("SELECT FROM users WHERE id = $1 FOR UPDATE").bind(user).execute(&mut **tx).await?;
                shut_out(tx, user, now).await?;
                notice(tx, UserChange::SignedOutEverywhere, user, now).await
            })
        })
        .await
}

/// Writes a session down.
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

/// Those of the account that are too many.
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
