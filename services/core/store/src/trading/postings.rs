//! The postings that moved a user's accounts.

use events::{Asset, Timestamp};
use rust_decimal::Decimal;
use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Store, pg::row, trading::assets::scaled};

/// One posting, as it moves one user's accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// Counts from 1.
    pub id: i64,
    /// `deposit`, `hold`, `release` or `fill`.
    pub kind: String,
    /// The order or the deposit.
    pub cause: Uuid,
    /// When it was decided.
    pub at: Timestamp,
    /// Its hash, over the one before it.
    pub hash: Vec<u8>,
    /// What it moves.
    pub entries: Vec<Entry>,
}

/// One side of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `available` or `held`.
    pub account: String,
    /// Of what.
    pub asset: Asset,
    /// What comes in; below zero, what goes out. It has the asset's scale.
    pub amount: Decimal,
}

/// Both sides of each transfer that are the user's.
const POSTINGS: &str = "
    SELECT p.id, p.kind, p.cause, p.at, p.hash, own.kind AS account, own.asset, assets.scale,
        CASE WHEN own.id = t.to_account THEN t.amount ELSE -t.amount END AS amount
    FROM (SELECT * FROM postings WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3) AS p
    JOIN transfers t ON t.posting_id = p.id
    JOIN accounts own ON own.id IN (t.from_account, t.to_account) AND own.user_id = $1
    JOIN assets ON assets.code = own.asset
    ORDER BY p.id DESC, t.number, own.id = t.to_account";

/// Returns the postings below `before` that moved a user's accounts, newest first.
pub async fn list(store: &Store, user_id: Uuid, before: Option<i64>, limit: i64) -> Result<Vec<Posting>, Error> {
    let query = sqlx::query(POSTINGS).bind(user_id).bind(before.unwrap_or(i64::MAX)).bind(limit);
    let mut postings: Vec<Posting> = Vec::new();
    for row in query.fetch_all(store.pool()).await? {
        let id = row.try_get("id")?;
        if postings.last().is_none_or(|last| last.id != id) {
            postings.push(Posting {
                id,
                kind: row.try_get("kind")?,
                cause: row.try_get("cause")?,
                at: row::time(&row, "at")?,
                hash: row.try_get("hash")?,
                entries: Vec::new(),
            });
        }
        let entry = Entry {
            account: row.try_get("account")?,
            asset: row::asset(&row, "asset")?,
            amount: scaled(&row, "amount")?,
        };
        postings.last_mut().into_iter().for_each(|posting| posting.entries.push(entry.clone()));
    }
    Ok(postings)
}
