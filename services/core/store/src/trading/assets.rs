//! The assets that accounts may hold, and the scale of each.

use std::sync::PoisonError;

use events::Asset;
use ledger::rows::AssetRow;
use rust_decimal::Decimal;
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Store, pg::row};

/// What an asset is, which decides what it may be traded for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetKind {
    /// A currency or a coin, in which other assets may be quoted.
    Currency,
    /// A share, which is traded in a currency where an order names none.
    Share {
        /// The currency that the share is traded in.
        quote: Asset,
    },
}

/// Returns what an asset is; none where accounts may not hold it.
pub async fn find_kind(store: &Store, code: &Asset) -> Result<Option<AssetKind>, Error> {
    let query = sqlx::query("SELECT quote FROM assets WHERE code = $1").bind(code.as_str());
    query.fetch_optional(store.pool()).await?.as_ref().map(kind).transpose()
}

/// Returns those of these assets that accounts may hold.
pub async fn find(store: &Store, codes: &[Asset]) -> Result<Vec<AssetRow>, Error> {
    if let Some(known) = cached(store, codes) {
        return Ok(known);
    }
    let texts: Vec<&str> = codes.iter().map(Asset::as_str).collect();
    let query = sqlx::query("SELECT code, scale FROM assets WHERE code = ANY($1)").bind(texts);
    let found: Vec<AssetRow> =
        query.fetch_all(store.pool()).await?.iter().map(known_asset).collect::<Result<_, _>>()?;
    store.scales.write().unwrap_or_else(PoisonError::into_inner).extend(found.iter().cloned());
    Ok(found)
}

/// Returns all of these assets if the cache has all of them.
fn cached(store: &Store, codes: &[Asset]) -> Option<Vec<AssetRow>> {
    let scales = store.scales.read().unwrap_or_else(PoisonError::into_inner);
    codes.iter().map(|code| Some((code.clone(), *scales.get(code)?))).collect()
}

/// Adds an asset that accounts may hold, and returns `false` when it exists already, with any scale. The currency of a share
/// must exist.
pub async fn add(store: &Store, (code, scale): &AssetRow, kind: &AssetKind) -> Result<bool, Error> {
    let quote = match kind {
        AssetKind::Currency => None,
        AssetKind::Share { quote } => Some(quote.as_str()),
    };
    let added = sqlx::query("INSERT INTO assets (code, scale, quote) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(code.as_str())
        .bind(i16::try_from(*scale).unwrap_or(i16::MAX))
        .bind(quote)
        .execute(store.pool())
        .await?;
    Ok(added.rows_affected() == 1)
}

/// Returns all assets, ordered by code.
pub async fn list(store: &Store) -> Result<Vec<AssetRow>, Error> {
    let rows = sqlx::query("SELECT code, scale FROM assets ORDER BY code").fetch_all(store.pool()).await?;
    rows.iter().map(known_asset).collect()
}

/// Returns all assets with what each is, ordered by code.
pub async fn list_with_kinds(store: &Store) -> Result<Vec<(AssetRow, AssetKind)>, Error> {
    let rows = sqlx::query("SELECT code, scale, quote FROM assets ORDER BY code").fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((known_asset(row)?, kind(row)?))).collect()
}

pub(crate) fn known_asset(row: &PgRow) -> Result<AssetRow, Error> {
    Ok((row::asset(row, "code")?, scale(row)?))
}

fn kind(row: &PgRow) -> Result<AssetKind, Error> {
    Ok(match row.try_get::<Option<&str>, _>("quote")? {
        Some(_) => AssetKind::Share { quote: row::asset(row, "quote")? },
        None => AssetKind::Currency,
    })
}

fn scale(row: &PgRow) -> Result<u32, sqlx::Error> {
    Ok(row.try_get::<i16, _>("scale")?.unsigned_abs().into())
}

/// Reads an amount and gives it the scale of its asset.
pub(crate) fn scaled(row: &PgRow, column: &str) -> Result<Decimal, sqlx::Error> {
    let mut amount: Decimal = row.try_get(column)?;
    amount.rescale(scale(row)?);
    Ok(amount)
}
