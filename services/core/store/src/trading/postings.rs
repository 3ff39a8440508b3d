//! The postings that moved a user's accounts.

use events::{Asset, Timestamp};
use rust_decimal::Decimal;
use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Store, pg::row, trading::assets::scaled};

/// A posting, reduced to the entries of one user's accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// The number of the posting, counted from 1.
    pub id: i64,
    /// The kind: `deposit`, `hold`, `release` or `fill`.
    pub kind: String,
    /// The id of the order or the deposit that caused the posting.
    pub cause: Uuid,
    /// The time at which the settler decided the posting.
    pub at: Timestamp,
    /// The hash of the posting, which covers the hash of the one before it.
    pub hash: Vec<u8>,
    /// The entries of the user's accounts.
    pub entries: Vec<Entry>,
}

/// One side of a transfer, on an account of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The account's kind: `available` or `held`.
    pub account: String,
    /// The asset of the account.
    pub asset: Asset,
    /// The amount that is added to the account; a negative amount is withdrawn. It has the asset's scale.
    pub amount: Decimal,
}

/// Selects the sides of each transfer that are on accounts of the user.
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
