//! A snapshot of the ledger at one moment, read row by row for an audit. Fields that a parser could refuse are text,
//! because the audit must report a row that cannot be parsed and go on.

use std::borrow::Cow;

use events::{DepositRequested, OrderPlaced};
use ledger::rows::{AccountRow, AssetRow, DepositRow, OrderRow, OrderStateRow, PostingRow, TradeRow, TransferRow};
use rust_decimal::Decimal;
use sqlx::{Executor, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    Error, Store, bigint,
    pg::{pool::Connection, row},
    trading::{
        assets::known_asset,
        settlement::{account, deposit},
    },
};

/// A view of the database at one moment, which does not see later commits.
pub struct Snapshot {
    connection: Connection,
}

/// Begins a snapshot of the database.
pub async fn begin(store: &Store) -> Result<Snapshot, Error> {
    let mut connection = store.pool().connection().await?;
    // The transaction must not outlive the snapshot, so its connection is closed and not returned to the pool.
    connection.close_on_drop();
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    Ok(Snapshot { connection })
}

impl Snapshot {
    /// Returns the number of the last posting; 0 before the first.
    pub async fn last_posting(&mut self) -> Result<i64, Error> {
        let query = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM postings");
        Ok(query.fetch_one(&mut *self.connection).await?)
    }

    /// Returns the number of the last posting that was ever added, according to the table of batches; 0 before the
    /// first.
    pub async fn last_of_batches(&mut self) -> Result<i64, Error> {
        let query = sqlx::query_scalar("SELECT coalesce(max(last_posting), 0) FROM posting_batches");
        Ok(query.fetch_one(&mut *self.connection).await?)
    }

    /// Returns the position of a consumer; 0 before the first.
    pub async fn position(&mut self, consumer: &str) -> Result<u64, Error> {
        let query = sqlx::query_scalar::<_, i64>("SELECT stream_position FROM consumer_positions WHERE consumer = $1");
        Ok(query.bind(consumer).fetch_optional(&mut *self.connection).await?.unwrap_or_default() as u64)
    }

    /// Lists every account with its balance, ordered by number.
    pub async fn accounts(&mut self) -> Result<Vec<(AccountRow, Decimal)>, Error> {
        let rows = sqlx::query("SELECT * FROM accounts ORDER BY id").fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| Ok((account(row)?, row.try_get("balance")?))).collect()
    }

    /// Lists the assets that accounts may hold, with their decimal places.
    pub async fn assets(&mut self) -> Result<Vec<AssetRow>, Error> {
        let rows = sqlx::query("SELECT code, scale FROM assets").fetch_all(&mut *self.connection).await?;
        rows.iter().map(known_asset).collect()
    }

    /// Lists the next postings after a number.
    pub async fn postings(&mut self, after: i64, limit: i64) -> Result<Vec<PostingRow>, Error> {
        let query = sqlx::query("SELECT * FROM postings WHERE id > $1 ORDER BY id LIMIT $2").bind(after).bind(limit);
        query.fetch_all(&mut *self.connection).await?.iter().map(posting).collect()
    }

    /// Lists the transfers of the postings from one number to another; without a last number, at most a million from
    /// the first one on.
    pub async fn transfers(&mut self, first: i64, last: Option<i64>) -> Result<Vec<TransferRow>, Error> {
        let query = sqlx::query(
            "SELECT * FROM transfers WHERE posting_id BETWEEN $1 AND $2 ORDER BY posting_id, number LIMIT 1000000",
        );
        let rows = query.bind(first).bind(last.unwrap_or(i64::MAX)).fetch_all(&mut *self.connection).await?;
        rows.iter().map(transfer).collect()
    }

    /// Lists the trades of the postings from one number to another.
    pub async fn trades(&mut self, first: i64, last: i64) -> Result<Vec<TradeRow>, Error> {
        let query = sqlx::query(
            "SELECT t.* FROM postings p JOIN trades t ON t.order_id = p.cause WHERE p.kind = 'fill' AND p.id BETWEEN $1 AND $2",
        );
        query.bind(first).bind(last).fetch_all(&mut *self.connection).await?.iter().map(trade).collect()
    }

    /// Lists those trades of the postings from one number to another whose tick the history does not hold, although the
    /// history-writer has read the stream up to it, and keeps the ticks of its month. A tick is found by its id, time and
    /// price: the stream may have been created anew since, and the tick published again.
    pub async fn trades_without_tick(&mut self, first: i64, last: i64) -> Result<Vec<TradeRow>, Error> {
        let query = sqlx::query(
            // As the history has ids: without the time that one is derived from, and with another slash before one that begins
            // with one.
            "SELECT t.* FROM postings p JOIN trades t ON t.order_id = p.cause JOIN orders o ON o.id = p.cause
             WHERE p.kind = 'fill' AND p.id BETWEEN $1 AND $2
               AND t.tick_sequence <= (SELECT stream_position FROM consumer_positions WHERE consumer = 'history-writer')
               AND NOT EXISTS (SELECT FROM dropped_tick_months
                               WHERE first_day = date_trunc('month', t.tick_at AT TIME ZONE 'UTC')::date)
               AND NOT EXISTS (SELECT FROM instruments i JOIN ticks k ON k.instrument_id = i.id
                               WHERE i.symbol = t.symbol AND i.venue = coalesce(o.terms ->> 'venue', i.venue)
                                 AND k.at = t.tick_at AND k.price = t.tick_price
                                 AND k.trade_id = CASE
                                     WHEN t.tick_id LIKE '/%' THEN '/' || t.tick_id
                                     WHEN t.tick_id ~ '^[1-9][0-9]*/(?!/)' AND split_part(t.tick_id, '/', 1)
                                         = (extract(epoch FROM t.tick_at) * 1000000)::bigint::text
                                         THEN substring(t.tick_id FROM strpos(t.tick_id, '/'))
                                     ELSE t.tick_id END)
             ORDER BY p.id",
        );
        query.bind(first).bind(last).fetch_all(&mut *self.connection).await?.iter().map(trade).collect()
    }

    /// Lists the orders of trades whose posting is missing or belongs to another order, at most 100.
    pub async fn orphaned_trades(&mut self) -> Result<Vec<Uuid>, Error> {
        let query = sqlx::query_scalar(
            "SELECT t.order_id FROM trades t LEFT JOIN postings p ON p.id = t.posting_id AND p.kind = 'fill'
             WHERE p.cause IS DISTINCT FROM t.order_id ORDER BY t.order_id LIMIT 100",
        );
        Ok(query.fetch_all(&mut *self.connection).await?)
    }

    /// Lists the orders of trades without an order state, at most 100.
    pub async fn trades_without_state(&mut self) -> Result<Vec<Uuid>, Error> {
        let query = sqlx::query_scalar(
            "SELECT t.order_id FROM trades t LEFT JOIN order_states s ON s.order_id = t.order_id
             WHERE s.order_id IS NULL ORDER BY t.order_id LIMIT 100",
        );
        Ok(query.fetch_all(&mut *self.connection).await?)
    }

    /// Lists the orders of the postings from one number to another, with their ids.
    pub async fn orders(&mut self, first: i64, last: i64) -> Result<Vec<(Uuid, OrderRow)>, Error> {
        let query = sqlx::query(
            "SELECT o.id, o.user_id AS owner, o.terms::text AS terms, o.fingerprint FROM orders o
             WHERE o.id IN (SELECT cause FROM postings WHERE kind <> 'deposit' AND id BETWEEN $1 AND $2)",
        );
        let rows = query.bind(first).bind(last).fetch_all(&mut *self.connection).await?;
        rows.iter().map(|found| Ok((found.try_get("id")?, order(found)?))).collect()
    }

    /// Lists the deposits of the postings from one number to another.
    pub async fn deposits(&mut self, first: i64, last: i64) -> Result<Vec<DepositRow>, Error> {
        let query = sqlx::query(
            "SELECT d.* FROM postings p JOIN deposits d ON d.id = p.cause
             WHERE p.kind = 'deposit' AND p.id BETWEEN $1 AND $2",
        );
        query.bind(first).bind(last).fetch_all(&mut *self.connection).await?.iter().map(deposit).collect()
    }

    /// Lists the next order states after an order.
    pub async fn order_states(&mut self, after: Uuid, limit: i64) -> Result<Vec<OrderStateRow>, Error> {
        let query = sqlx::query(
            "SELECT s.*, t.order_id IS NOT NULL AS is_traded, o.user_id AS owner, o.terms::text AS terms, o.fingerprint
             FROM order_states s LEFT JOIN orders o ON o.id = s.order_id LEFT JOIN trades t ON t.order_id = s.order_id
             WHERE s.order_id > $1 ORDER BY s.order_id LIMIT $2",
        );
        query.bind(after).bind(limit).fetch_all(&mut *self.connection).await?.iter().map(state).collect()
    }

    /// Returns those of these orders, each given with its sequence, that the table lacks, or has with another user, another
    /// request or no order state, and that are not dead-lettered.
    pub async fn mismatched_orders(&mut self, stream: &str, orders: &[(u64, OrderPlaced)]) -> Result<Vec<Uuid>, Error> {
        let query = sqlx::query_scalar(
            "SELECT given.id FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::bigint[])
                 AS given (id, user_id, terms, sequence)
             LEFT JOIN orders o ON o.id = given.id AND o.user_id = given.user_id AND o.terms = given.terms
             LEFT JOIN order_states s ON s.order_id = given.id
             WHERE (o.id IS NULL OR s.order_id IS NULL)
               AND NOT EXISTS (SELECT FROM dead_letters WHERE stream = $5 AND sequence = given.sequence)",
        );
        let query = query.bind(orders.iter().map(|(_, order)| order.order_id).collect::<Vec<_>>());
        let query = query.bind(orders.iter().map(|(_, order)| order.user_id).collect::<Vec<_>>());
        let query = query.bind(orders.iter().map(|(_, order)| Json(&order.terms)).collect::<Vec<_>>());
        let query = query.bind(orders.iter().map(|(sequence, _)| bigint(*sequence)).collect::<Vec<_>>());
        Ok(query.bind(stream).fetch_all(&mut *self.connection).await?)
    }

    /// Returns those of these deposits, each given with its sequence, that the table lacks or has with other fields, or
    /// that are neither posted nor dead-lettered.
    pub async fn mismatched_deposits(
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
        fee_bp: found.try_get("fee_bp")?,
        tick_id: found.try_get("tick_id")?,
        tick_sequence: found.try_get("tick_sequence")?,
        tick_index: found.try_get("tick_index")?,
        tick_price: found.try_get("tick_price")?,
        tick_at: row::time(found, "tick_at")?,
        at: row::time(found, "at")?,
        hash: found.try_get("hash")?,
    })
}

fn order(found: &PgRow) -> Result<OrderRow, Error> {
    Ok(OrderRow {
        user_id: found.try_get("owner")?,
        terms: found.try_get("terms")?,
        fingerprint: found.try_get("fingerprint")?,
    })
}

fn state(found: &PgRow) -> Result<OrderStateRow, Error> {
    let owner: Option<Uuid> = found.try_get("owner")?;
    Ok(OrderStateRow {
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
