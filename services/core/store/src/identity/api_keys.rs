//! API keys, with which a user's programs act on the user's behalf, each within its scopes.

use chrono::{DateTime, Utc};
use events::Timestamp;
use sqlx::Row;
use uuid::Uuid;

use crate::{
    Error, Store,
    identity::users::{self, Scope},
    rules::TokenHash,
};

/// The largest number of active keys of an account.
pub const MOST_KEYS: i64 = 50;
/// The number of revoked keys of an account that are stored; older ones are deleted.
const MAX_REVOKED_KEYS: i64 = 50;

/// An API key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The key's id.
    pub id: Uuid,
    /// The name that the user gave the key.
    pub name: String,
    /// The scopes that requests with the key have.
    pub scopes: Vec<Scope>,
    /// The time at which the key was created.
    pub created_at: Timestamp,
    /// The time at which the key was revoked; none for an active key.
    pub revoked_at: Option<Timestamp>,
}

/// The result of a request for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The key is saved.
    Done,
    /// The account already has [`MOST_KEYS`] active keys.
    TooMany,
    /// The session that sent the request has ended meanwhile.
    SignedOut,
}

/// Saves a new key that was requested in a session. The session must still exist, so that an intruder whose sessions
/// were ended cannot leave a key behind.
pub async fn add(store: &Store, user: Uuid, session: TokenHash, key: ApiKey, token: TokenHash) -> Result<Added, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // The lock serialises requests of one account: the count below must see concurrent requests.
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
                .bind(MAX_REVOKED_KEYS)
                .execute(&mut **tx)
                .await?;
                Ok(Added::Done)
            })
        })
        .await
}

/// Returns at most `limit` keys of an account, newest first, starting after the key `before`.
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

/// Revokes a key, and returns `false` when the account has no such key. The call is idempotent.
pub async fn revoke(store: &Store, user: Uuid, id: Uuid, now: Timestamp) -> Result<bool, Error> {
    let found = sqlx::query("UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(user)
        .bind(now.datetime())
        .execute(store.pool())
        .await?;
    Ok(found.rows_affected() == 1)
}
