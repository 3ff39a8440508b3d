//! Users, their roles, and the users that session tokens and API keys belong to.

use events::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, rules::TokenHash};

/// The rights of a user beyond their own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user has no further rights.
    User,
    /// The user may make deposits to accounts.
    Operator,
}

impl Role {
    /// Returns the name of the role in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
        }
    }

    /// Returns the role with this name, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Operator].into_iter().find(|role| role.as_str() == text)
    }
}

/// A group of requests that an API key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The key may read accounts, orders, trades and the ledger.
    Read,
    /// The key may place orders and cancel them.
    Trade,
    /// The key may read and change alerts.
    Alerts,
}

impl Scope {
    /// Returns the name of the scope in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Trade => "trade",
            Self::Alerts => "alerts",
        }
    }

    /// Returns the scope with this name, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Trade, Self::Alerts].into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A user whose sign-up is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id, which stays in the ledger when all other data are erased.
    pub id: Uuid,
    /// The address as it was written at the sign-up. Addresses are compared without regard to case.
    pub email: String,
    /// The user's rights beyond their own account.
    pub role: Role,
    /// The time at which the account was created.
    pub created_at: Timestamp,
}

/// Returns the user of a session that has not ended by `now`.
pub async fn find_by_session(store: &Store, token: TokenHash, now: Timestamp) -> Result<Option<User>, Error> {
    let query = sqlx::query(
        "SELECT users.* FROM sessions JOIN users ON users.id = sessions.user_id
         WHERE sessions.token_hash = $1 AND sessions.expires_at > $2",
    );
    let row = store
        .on_hot_connection(|connection| {
            let query = query.bind(token.to_vec()).bind(now.datetime());
            Box::pin(async move { Ok(query.fetch_optional(connection).await?) })
        })
        .await?;
    row.as_ref().map(user).transpose()
}

/// Sets the role of the account with an address, and returns `false` when there is no such account.
pub async fn set_role(store: &Store, address: &str, role: Role) -> Result<bool, Error> {
    let changed = sqlx::query("UPDATE users SET role = $2 WHERE lower(email) = lower($1)")
        .bind(address)
        .bind(role.as_str())
        .execute(store.pool())
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// Returns the user of an API key and the key's scopes, unless the key is revoked.
pub async fn find_by_api_key(store: &Store, token: TokenHash) -> Result<Option<(User, Vec<Scope>)>, Error> {
    let query = sqlx::query(
        "SELECT users.*, api_keys.scopes FROM api_keys JOIN users ON users.id = api_keys.user_id
         WHERE api_keys.token_hash = $1 AND api_keys.revoked_at IS NULL",
    );
    let row = store
        .on_hot_connection(|connection| {
            let query = query.bind(token.to_vec());
            Box::pin(async move { Ok(query.fetch_optional(connection).await?) })
        })
        .await?;
    row.map(|row| Ok((user(&row)?, scopes(&row)?))).transpose()
}

pub(crate) fn user(row: &PgRow) -> Result<User, Error> {
    Ok(User {
        id: row.try_get("id")?,
        email: row.try_get("email")?,
        role: Role::parse(row.try_get("role")?).ok_or_else(|| sqlx::Error::Decode("an unknown role".into()))?,
        created_at: row.try_get::<chrono::DateTime<chrono::Utc>, _>("created_at")?.into(),
    })
}

pub(crate) fn scopes(row: &PgRow) -> Result<Vec<Scope>, Error> {
    let names: Vec<String> = row.try_get("scopes")?;
    let scopes = names.iter().map(|name| Scope::parse(name)).collect::<Option<_>>();
    Ok(scopes.ok_or_else(|| sqlx::Error::Decode("an unknown scope".into()))?)
}
