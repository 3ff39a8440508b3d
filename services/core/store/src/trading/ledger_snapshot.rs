//! The ledger as it is at one moment, read row by row by whoever verifies it. What a parser could refuse is text here: a row
//! that cannot be read must be named, and not end the verification.

use std::borrow::Cow;

use events::{DepositRequested, OrderPlaced, OrderRequest};
use rust_decimal::Decimal;
use sqlx::{Executor, Postgres, Row, pool::PoolConnection, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    Error, Store, bigint,
    pg::row,
    trading::{
        balances::known_asset,
        settlement::{AccountRow, AssetRow, PostingRow, TradeRow, TransferRow, account},
    },
};

/// A deposit as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositRow {
    /// Which.
    pub id: Uuid,
    /// Whose account.
    pub user_id: Uuid,
    /// Of what.
    pub asset: String,
    /// How much.
    pub amount: Decimal,
}

/// An order as it was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Whose.
    pub user_id: Uuid,
    /// What it is to do, as JSON.
    pub terms: String,
    /// The hash of that, by [`crate::trading::orders::fingerprint`].
    pub fingerprint: Vec<u8>,
}

impl OrderRow {
    /// What it is to do, where that can be read.
    pub fn terms(&self) -> Option<OrderRequest> {
        serde_json::from_str(&self.terms).ok()
    }
}

/// What the settler has made of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// Which.
    pub order_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// Where it stands.
    pub status: String,
    /// Why it is rejected.
    pub reason: Option<String>,
    /// What it holds.
    pub held_asset: Option<String>,
    /// How much.
    pub held: Decimal,
    /// Whether there is a trade of it.
    pub is_traded: bool,
    /// The order that this is the state of, if it is there.
    pub order: Option<OrderRow>,
}

/// One moment of the database. Nothing that is committed later is seen.
pub struct Snapshot {
    connection: PoolConnection<Postgres>,
}

/// Takes a snapshot.
pub async fn begin(store: &Store) -> Result<Snapshot, Error> {
    let mut connection = store.connection().await?;
    // The transaction must not outlive this: its connection is closed, not handed on.
    connection.close_on_drop();
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    Ok(Snapshot { connection })
}

impl Snapshot {
    /// The number of the last posting; 0 before the first.
    pub async fn last_posting(&mut self) -> Result<i64, Error> {
        let query = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM postings");
        Ok(query.fetch_one(&mut *self.connection).await?)
    }

    /// The number of the last posting that was ever added, by the batches that postings were added in; 0 before the first.
    pub async fn last_of_batches(&mut self) -> Result<i64, Error> {
        let query = sqlx::query_scalar("SELECT coalesce(max(last_posting), 0) FROM posting_batches");
        Ok(query.fetch_one(&mut *self.connection).await?)
    }

    /// How far the settler has applied a stream.
    pub async fn position(&mut self, consumer: &str) -> Result<u64, Error> {
        let query = sqlx::query_scalar::<_, i64>("SELECT stream_position FROM positions WHERE consumer = $1");
        Ok(query.bind(consumer).fetch_optional(&mut *self.connection).await?.unwrap_or_default() as u64)
    }

    /// Every account with its balance, by number.
    pub async fn accounts(&mut self) -> Result<Vec<(AccountRow, Decimal)>, Error> {
        let rows = sqlx::query("SELECT * FROM accounts ORDER BY id").fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| Ok((account(row)?, row.try_get("balance")?))).collect()
    }

    /// What accounts may hold, and with how many places.
    pub async fn assets(&mut self) -> Result<Vec<AssetRow>, Error> {
        let rows = sqlx::query("SELECT code, scale FROM assets").fetch_all(&mut *self.connection).await?;
        rows.iter().map(known_asset).collect()
    }

    /// The next postings behind a number.
    pub async fn postings(&mut self, after: i64, most: i64) -> Result<Vec<PostingRow>, Error> {
        let query = sqlx::query("SELECT * FROM postings WHERE id > $1 ORDER BY id LIMIT $2").bind(after).bind(most);
        query.fetch_all(&mut *self.connection).await?.iter().map(posting).collect()
    }

    /// The transfers of the postings from one number to another; of all that are left with `None` as the last.
    pub async fn transfers(&mut self, first: i64, last: Option<i64>) -> Result<Vec<TransferRow>, Error> {
        let query = sqlx::query(
            "SELECT * FROM transfers WHERE posting_id BETWEEN $1 AND $2 ORDER BY posting_id, number LIMIT 1000000",
        );
        let rows = query.bind(first).bind(last.unwrap_or(i64::MAX)).fetch_all(&mut *self.connection).await?;
        rows.iter().map(transfer).collect()
    }

    /// The trades of the postings from one number to another.
    pub async fn trades(&mut self, first: i64, last: i64) -> Result<Vec<TradeRow>, Error> {
        let query = sqlx::query(
            "SELECT t.* FROM postings p JOIN trades t ON t.order_id = p.cause WHERE p.kind = 'fill' AND p.id BETWEEN $1 AND $2",
        );
        query.bind(first).bind(last).fetch_all(&mut *self.connection).await?.iter().map(trade).collect()
    }

    /// Trades whose posting is none of them.
    pub async fn strayed_trades(&mut self) -> Result<Vec<Uuid>, Error> {
        let query = sqlx::query_scalar(
            "SELECT t.order_id FROM trades t LEFT JOIN postings p ON p.id = t.posting_id AND p.kind = 'fill'
             WHERE p.cause IS DISTINCT FROM t.order_id ORDER BY t.order_id LIMIT 100",
        );
        Ok(query.fetch_all(&mut *self.connection).await?)
    }

    /// Trades of orders that nothing has become of.
    pub async fn trades_without_state(&mut self) -> Result<Vec<Uuid>, Error> {
        let query = sqlx::query_scalar(
            "SELECT t.order_id FROM trades t LEFT JOIN order_states s ON s.order_id = t.order_id
             WHERE s.order_id IS NULL ORDER BY t.order_id LIMIT 100",
        );
        Ok(query.fetch_all(&mut *self.connection).await?)
    }

    /// The orders of the postings from one number to another, with their ids.
    pub async fn orders(&mut self, first: i64, last: i64) -> Result<Vec<(Uuid, OrderRow)>, Error> {
        let query = sqlx::query(
            "SELECT o.id, o.user_id AS owner, o.terms::text AS terms, o.fingerprint FROM orders o
             WHERE o.id IN (SELECT cause FROM postings WHERE kind <> 'deposit' AND id BETWEEN $1 AND $2)",
        );
        let rows = query.bind(first).bind(last).fetch_all(&mut *self.connection).await?;
        rows.iter().map(|found| Ok((found.try_get("id")?, order(found)?))).collect()
    }

    /// The deposits of the postings from one number to another.
    pub async fn deposits(&mut self, first: i64, last: i64) -> Result<Vec<DepositRow>, Error> {
        let query = sqlx::query(
            "SELECT d.* FROM postings p JOIN deposits d ON d.id = p.cause
             WHERE p.kind = 'deposit' AND p.id BETWEEN $1 AND $2",
        );
        query.bind(first).bind(last).fetch_all(&mut *self.connection).await?.iter().map(deposit).collect()
    }

    /// The states of orders, behind one order.
    pub async fn order_states(&mut self, after: Uuid, most: i64) -> Result<Vec<StateRow>, Error> {
        let query = sqlx::query(
            "SELECT s.*, t.order_id IS NOT NULL AS is_traded, o.user_id AS owner, o.terms::text AS terms, o.fingerprint
             FROM order_states s LEFT JOIN orders o ON o.id = s.order_id LEFT JOIN trades t ON t.order_id = s.order_id
             WHERE s.order_id > $1 ORDER BY s.order_id LIMIT $2",
        );
        query.bind(after).bind(most).fetch_all(&mut *self.connection).await?.iter().map(state).collect()
    }

    /// Which of these orders the table lacks, or has as somebody else's or with other terms, or without a state.
    pub async fn orders_amiss(&mut self, orders: &[OrderPlaced]) -> Result<Vec<Uuid>, Error> {
        let query = sqlx::query_scalar(
            "SELECT given.id FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[]) AS given (id, user_id, terms)
             LEFT JOIN orders o ON o.id = given.id AND o.user_id = given.user_id AND o.terms = given.terms
             LEFT JOIN order_states s ON s.order_id = given.id
             WHERE o.id IS NULL OR s.order_id IS NULL",
        );
        let query = query.bind(orders.iter().map(|order| order.order_id).collect::<Vec<_>>());
        let query = query.bind(orders.iter().map(|order| order.user_id).collect::<Vec<_>>());
        let query = query.bind(orders.iter().map(|order| Json(&order.terms)).collect::<Vec<_>>());
        Ok(query.fetch_all(&mut *self.connection).await?)
    }

    /// Which of these deposits, each with its place in a stream, the table lacks or has otherwise, or are neither posted nor
    /// given up.
    pub async fn deposits_amiss(
        &mut self,
        stream: &str,
        deposits: &[(u64, DepositRequested)],
    ) -> Result<Vec<Uuid>, Error> {
        let query = sqlx::query_scalar(
            "SELECT given.id FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::numeric[], $5::bigint[])
                 AS given (id, user_id, asset, amount, sequence)
             LEFT JOIN deposits d ON (d.id, d.user_id, d.asset, d.amount) = (given.id, given.user_id, given.asset, given.amount)
             LEFT JOIN postings p ON p.cause = given.id AND p.kind = 'deposit'
             WHERE (d.id IS NULL OR p.id IS NULL)
               AND NOT EXISTS (SELECT FROM dead_letters WHERE stream = $6 AND sequence = given.sequence)",
        );
        let query = query.bind(deposits.iter().map(|(_, deposit)| deposit.deposit_id).collect::<Vec<_>>());
        let query = query.bind(deposits.iter().map(|(_, deposit)| deposit.user_id).collect::<Vec<_>>());
        let query = query.bind(deposits.iter().map(|(_, deposit)| deposit.asset.to_string()).collect::<Vec<_>>());
        let query = query.bind(deposits.iter().map(|(_, deposit)| deposit.amount.decimal()).collect::<Vec<_>>());
        let query = query.bind(deposits.iter().map(|(sequence, _)| bigint(*sequence)).collect::<Vec<_>>());
        Ok(query.bind(stream).fetch_all(&mut *self.connection).await?)
    }
}

fn posting(found: &PgRow) -> Result<PostingRow, Error> {
    Ok(PostingRow {
        id: found.try_get("id")?,
        kind: Cow::Owned(found.try_get("kind")?),
        user_id: found.try_get("user_id")?,
        cause: found.try_get("cause")?,
        at: row::time(found, "at")?,
        previous_hash: found.try_get("previous_hash")?,
        hash: found.try_get("hash")?,
    })
}

fn transfer(found: &PgRow) -> Result<TransferRow, Error> {
    Ok(TransferRow {
        posting_id: found.try_get("posting_id")?,
        number: found.try_get("number")?,
        asset: found.try_get("asset")?,
        from_account: found.try_get("from_account")?,
        to_account: found.try_get("to_account")?,
        amount: found.try_get("amount")?,
        hash: found.try_get("hash")?,
    })
}

fn trade(found: &PgRow) -> Result<TradeRow, Error> {
    Ok(TradeRow {
        order_id: found.try_get("order_id")?,
        posting_id: found.try_get("posting_id")?,
        user_id: found.try_get("user_id")?,
        symbol: found.try_get("symbol")?,
        side: Cow::Owned(found.try_get("side")?),
        size: found.try_get("size")?,
        price: found.try_get("price")?,
        quote_amount: found.try_get("quote_amount")?,
        fee: found.try_get("fee")?,
        tick_sequence: found.try_get("tick_sequence")?,
        tick_price: found.try_get("tick_price")?,
        at: row::time(found, "at")?,
        hash: found.try_get("hash")?,
    })
}

fn deposit(found: &PgRow) -> Result<DepositRow, Error> {
    Ok(DepositRow {
        id: found.try_get("id")?,
        user_id: found.try_get("user_id")?,
        asset: found.try_get("asset")?,
        amount: found.try_get("amount")?,
    })
}

fn order(found: &PgRow) -> Result<OrderRow, Error> {
    Ok(OrderRow {
        user_id: found.try_get("owner")?,
        terms: found.try_get("terms")?,
        fingerprint: found.try_get("fingerprint")?,
    })
}

fn state(found: &PgRow) -> Result<StateRow, Error> {
    let owner: Option<Uuid> = found.try_get("owner")?;
    Ok(StateRow {
        order_id: found.try_get("order_id")?,
        user_id: found.try_get("user_id")?,
        status: found.try_get("status")?,
        reason: found.try_get("reason")?,
        held_asset: found.try_get("held_asset")?,
        held: found.try_get("held")?,
        is_traded: found.try_get("is_traded")?,
        order: owner.map(|_| order(found)).transpose()?,
    })
}
