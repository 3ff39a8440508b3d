//! The balances of a user's accounts.

use events::Asset;
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::{Error, Store, pg::row, trading::assets::scaled};

/// A user's balance of one asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The asset of the two amounts.
    pub asset: Asset,
    /// The amount that orders may use.
    pub available: Decimal,
    /// The amount that open orders hold.
    pub held: Decimal,
}

/// Returns a user's balances as of one moment, ordered by asset.
pub async fn list(store: &Store, user_id: Uuid) -> Result<Vec<Balance>, Error> {
    let rows = sqlx::query(
        "SELECT asset, scale, coalesce(sum(balance) FILTER (WHERE kind = 'available'), 0) AS available,
            coalesce(sum(balance) FILTER (WHERE kind = 'held'), 0) AS held
         FROM accounts JOIN assets ON assets.code = accounts.asset
         WHERE user_id = $1 GROUP BY asset, scale ORDER BY asset",
    )
    .bind(user_id)
    .fetch_all(store.pool())
    .await?;
    let balance = |row: &PgRow| {
        Ok(Balance {
            asset: row::asset(row, "asset")?,
            available: scaled(row, "available")?,
            held: scaled(row, "held")?,
        })
    };
    rows.iter().map(balance).collect()
}
