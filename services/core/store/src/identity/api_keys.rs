//! API keys: a person's programs, each with a part of their rights.

use chrono::{DateTime, Utc};
use events::Timestamp;
use sqlx::Row;
use uuid::Uuid;

use crate::{
    Error, Store,
    identity::users::{self, Scope},
    rules::TokenHash,
};

/// How many keys an account has at most at a time.
pub const MOST_KEYS: i64 = 50;
/// How many that are revoked are remembered.
const REMEMBERED: i64 = 50;

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identity.
    pub id: Uuid,
    /// What its person calls it.
    pub name: String,
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What a request for a key came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is saved.
    Done,
    /// The account has as many as it may.
    TooMany,
    /// The session that asked has ended meanwhile.
    SignedOut,
}

/// Saves a new key, asked for in a session: whoever is shut out must not leave a key behind.
pub async fn add(store: &Store, user: Uuid, session: TokenHash, key: ApiKey, token: TokenHash) -> Result<Added, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // One at a time for an account: what is looked at below must not be blind to those in flight.
                sqlx::query("SELECT FROM users WHERE id = $1 FOR UPDATE").bind(user).execute(&mut **tx).await?;
                let row = sqlx::query(
                    "SELECT EXISTS (SELECT FROM sessions WHERE token_hash = $2 AND user_id = $1) AS signed_in,
                        (SELECT count(*) FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL) AS live",
                )
                .bind(user)
                .bind(session.as_slice())
                .fetch_one(&mut **tx)
                .await?;
                if !row.try_get::<bool, _>("signed_in")? {
                    return Ok(Added::SignedOut);
                }
                if row.try_get::<i64, _>("live")? >= MOST_KEYS {
                    return Ok(Added::TooMany);
                }
                sqlx::query(
                    "INSERT INTO api_keys (id, user_id, name, scopes, token_hash, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(key.id)
                .bind(user)
                .bind(&key.name)
                .bind(key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>())
                .bind(token.as_slice())
                .bind(key.created_at.datetime())
                .execute(&mut **tx)
                .await?;
                sqlx::query(
                    "DELETE FROM api_keys WHERE id IN (
                     SELECT id FROM api_keys WHERE user_id = $1 AND revoked_at IS NOT NULL
                     ORDER BY revoked_at DESC OFFSET $2)",
                )
                .bind(user)
                .bind(REMEMBERED)
                .execute(&mut **tx)
                .await?;
                Ok(Added::Done)
            })
        })
        .await
}

/// An account's keys, newest first, from before the key `before`.
pub async fn list(store: &Store, user: Uuid, before: Option<Uuid>, limit: i64) -> Result<Vec<ApiKey>, Error> {
    let rows = sqlx::query("SELECT * FROM api_keys WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
        .bind(user)
        .bind(before.unwrap_or(Uuid::max()))
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter()
        .map(|row| {
            let revoked_at: Option<DateTime<Utc>> = row.try_get("revoked_at")?;
            Ok(ApiKey {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                scopes: users::scopes(row)?,
                created_at: row.try_get::<DateTime<Utc>, _>("created_at")?.into(),
                revoked_at: revoked_at.map(Timestamp::from),
            })
        })
        .collect()
}

/// Revokes a key; `false` when the account has no such key. Doing so twice is doing so once.
pub async fn revoke(store: &Store, user: Uuid, id: Uuid, now: Timestamp) -> Result<bool, Error> {
    let found = sqlx::query("UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(user)
        .bind(now.datetime())
        .execute(store.pool())
        .await?;
    Ok(found.rows_affected() == 1)
}
