//! What somebody has, what was traded, and the ledger behind it, as the settler wrote them; read only.

use std::sync::PoisonError;

use events::{Amount, Asset, Price, Side, Size, Symbol, Timestamp};
use ledger::rows::{AssetRow, TradeRow};
use rust_decimal::Decimal;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, pg::row};

/// What an account holds of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Of what.
    pub asset: Asset,
    /// What orders may use.
    pub available: Decimal,
    /// What open orders hold.
    pub held: Decimal,
}

/// How an order traded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// Which order.
    pub order_id: Uuid,
    /// The ledger's posting.
    pub posting_id: i64,
    /// What was traded.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// How much of the base.
    pub size: Size,
    /// What one cost.
    pub price: Price,
    /// What all of it cost or brought, before the fee.
    pub quote_amount: Amount,
    /// The fee, in the quote.
    pub fee: Amount,
    /// The tick that priced it.
    pub tick_sequence: u64,
    /// Its price.
    pub tick_price: Price,
    /// When it was decided.
    pub at: Timestamp,
}

impl Trade {
    /// What the settler has saved.
    pub(crate) fn of(saved: &TradeRow) -> Result<Self, Error> {
        Ok(Self {
            order_id: saved.order_id,
            posting_id: saved.posting_id,
            symbol: Symbol::parse(&saved.symbol).map_err(row::unreadable)?,
            side: row::known("side", &saved.side, Side::parse)?,
            size: Size::new(saved.size)?,
            price: Price::new(saved.price)?,
            quote_amount: Amount::new(saved.quote_amount)?,
            fee: Amount::new(saved.fee)?,
            tick_sequence: saved.tick_sequence as u64,
            tick_price: Price::new(saved.tick_price)?,
            at: saved.at,
        })
    }
}

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

/// Those of these assets that accounts may hold.
pub async fn find_assets(store: &Store, codes: &[Asset]) -> Result<Vec<AssetRow>, Error> {
    if let Some(known) = cached_assets(store, codes) {
        return Ok(known);
    }
    let texts: Vec<&str> = codes.iter().map(Asset::as_str).collect();
    let query = sqlx::query("SELECT code, scale FROM assets WHERE code = ANY($1)").bind(texts);
    let found: Vec<AssetRow> =
        query.fetch_all(store.pool()).await?.iter().map(known_asset).collect::<Result<_, _>>()?;
    store.scales.write().unwrap_or_else(PoisonError::into_inner).extend(found.iter().cloned());
    Ok(found)
}

/// All of these assets, when all were found before.
fn cached_assets(store: &Store, codes: &[Asset]) -> Option<Vec<AssetRow>> {
    let scales = store.scales.read().unwrap_or_else(PoisonError::into_inner);
    codes.iter().map(|code| Some((code.clone(), *scales.get(code)?))).collect()
}

/// Lets accounts hold an asset; `false` when they may already, whatever its scale.
pub async fn add_asset(store: &Store, (code, scale): &AssetRow) -> Result<bool, Error> {
    let added = sqlx::query("INSERT INTO assets (code, scale) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(code.as_str())
        .bind(i16::try_from(*scale).unwrap_or(i16::MAX))
        .execute(store.pool())
        .await?;
    Ok(added.rows_affected() == 1)
}

/// What a user has, by asset: all of it at one moment.
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

/// A user's trades, newest first, of postings below `before`; only those of one order, if it is given.
pub async fn list_trades(
    store: &Store,
    user_id: Uuid,
    order_id: Option<Uuid>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Trade>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM trades WHERE user_id = $1 AND posting_id < $2 AND ($3::uuid IS NULL OR order_id = $3)
         ORDER BY posting_id DESC LIMIT $4",
    )
    .bind(user_id)
    .bind(before.unwrap_or(i64::MAX))
    .bind(order_id)
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(trade).collect()
}

/// What moved a user's accounts, newest first, below `before`.
pub async fn list_postings(
    store: &Store,
    user_id: Uuid,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Posting>, Error> {
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

pub(crate) fn trade(row: &PgRow) -> Result<Trade, Error> {
    Ok(Trade {
        order_id: row.try_get("order_id")?,
        posting_id: row.try_get("posting_id")?,
        symbol: row::symbol(row)?,
        side: row::word(row, "side", Side::parse)?,
        size: Size::new(row.try_get("size")?)?,
        price: Price::new(row.try_get("price")?)?,
        quote_amount: Amount::new(row.try_get("quote_amount")?)?,
        fee: Amount::new(row.try_get("fee")?)?,
        tick_sequence: row.try_get::<i64, _>("tick_sequence")? as u64,
        tick_price: Price::new(row.try_get("tick_price")?)?,
        at: row::time(row, "at")?,
    })
}

pub(crate) fn known_asset(row: &PgRow) -> Result<AssetRow, Error> {
    Ok((row::asset(row, "code")?, scale(row)?))
}

fn scale(row: &PgRow) -> Result<u32, sqlx::Error> {
    Ok(row.try_get::<i16, _>("scale")?.unsigned_abs().into())
}

/// An amount with the places that its asset has.
fn scaled(row: &PgRow, column: &str) -> Result<Decimal, sqlx::Error> {
    let mut amount: Decimal = row.try_get(column)?;
    amount.rescale(scale(row)?);
    Ok(amount)
}
