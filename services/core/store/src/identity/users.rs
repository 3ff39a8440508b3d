//! People who sign in, and whom a token speaks for.

use events::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, rules::TokenHash};

/// What somebody may do besides their own business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    User,
    /// Deposits.
    Operator,
}

impl Role {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
        }
    }

    /// What a word says.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Operator].into_iter().find(|role| role.as_str() == text)
    }
}

/// What an API key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To look at accounts, orders, trades and the ledger.
    Read,
    /// To place orders and to cancel them.
    Trade,
    /// To do everything with alerts.
    Alerts,
}

impl Scope {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Trade => "trade",
            Self::Alerts => "alerts",
        }
    }

    /// What a word says.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Trade, Self::Alerts].into_iter().find(|scope| scope.as_str() == text)
    }
}

/// An account whose address has said yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Stays in the ledger when all else is erased.
    pub id: Uuid,
    /// As it was written at the sign-up; the same address in other letters is no other account.
    pub email: String,
    /// What they may do besides.
    pub role: Role,
    /// When the address said yes.
    pub created_at: Timestamp,
}

/// Whose session this is, unless it has ended by `now`.
pub async fn find_by_session(store: &Store, token: TokenHash, now: Timestamp) -> Result<Option<User>, Error> {
    let mut connection = store.hot_connection().await?;
    let row = sqlx::query(
        "SELECT users.* FROM sessions JOIN users ON users.id = sessions.user_id
         WHERE sessions.token_hash = $1 AND sessions.expires_at > $2",
    )
    .bind(token.as_slice())
    .bind(now.datetime())
    .fetch_optional(&mut *connection)
    .await?;
    connection.keep();
    row.as_ref().map(user).transpose()
}

/// Gives the account of an address a role; `false` when there is no such account.
pub async fn set_role(store: &Store, address: &str, role: Role) -> Result<bool, Error> {
    let changed = sqlx::query("UPDATE users SET role = $2 WHERE lower(email) = lower($1)")
        .bind(address)
        .bind(role.as_str())
        .execute(store.pool())
        .await?;
    Ok(changed.rows_affected() == 1)
}

/// Whose API key this is and what it may be used for, unless it is revoked.
pub async fn find_by_api_key(store: &Store, token: TokenHash) -> Result<Option<(User, Vec<Scope>)>, Error> {
    let mut connection = store.hot_connection().await?;
    let row = sqlx::query(
        "SELECT users.*, api_keys.scopes FROM api_keys JOIN users ON users.id = api_keys.user_id
         WHERE api_keys.token_hash = $1 AND api_keys.revoked_at IS NULL",
    )
    .bind(token.as_slice())
    .fetch_optional(&mut *connection)
    .await?;
    connection.keep();
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
    let words: Vec<String> = row.try_get("scopes")?;
    let scopes = words.iter().map(|word| Scope::parse(word)).collect::<Option<_>>();
    Ok(scopes.ok_or_else(|| sqlx::Error::Decode("an unknown scope".into()))?)
}
