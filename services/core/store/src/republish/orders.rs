//! Deposits, orders and what became of them.

use events::{
    Amount, DepositRequested, OrderPlaced, OrderRequest, OrderStatus, OrderUpdated, OutboundMessage, RejectReason,
    Timestamp, TradeSettled, order::AlertTrigger,
};
use sqlx::{Row, postgres::PgRow, types::Json};

use crate::{
    Error, Tx,
    pg::row,
    trading::{
        orders::{CancelReason, cancellation, record},
        trades::{Trade, trade},
    },
};

/// Returns the deposits without a posting. Nothing is given to an account that was deleted.
pub(super) async fn unposted_deposits(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    let rows = sqlx::query(
        "SELECT d.* FROM deposits d JOIN users u ON u.id = d.user_id
         WHERE d.requested_at < now() - interval '3 minutes'
             AND NOT EXISTS (SELECT FROM postings p WHERE p.kind = 'deposit' AND p.cause = d.id)
         ORDER BY d.requested_at, d.id LIMIT $1",
    );
    rows.bind(limit).fetch_all(&mut **tx).await?.iter().map(deposit).collect()
}

/// Returns the orders without a state. Those of an account that was deleted are of no use to anybody.
pub(super) async fn undecided(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    let rows = sqlx::query(
        "SELECT o.*, r.rule ->> 'expires_at' AS rule_expires_at
         FROM orders o JOIN users u ON u.id = o.user_id LEFT JOIN rules r ON r.id = o.rule_id
         WHERE o.placed_at < now() - interval '3 minutes'
             AND NOT EXISTS (SELECT FROM order_states s WHERE s.order_id = o.id)
         ORDER BY o.placed_at, o.id LIMIT $1",
    );
    rows.bind(limit).fetch_all(&mut **tx).await?.iter().map(placed).collect()
}

/// Returns the cancellations of orders that still wait for a rule that is deleted, and of open ones of an account that is.
pub(super) async fn uncancelled(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    let rows = sqlx::query(
        "SELECT o.*, NULL AS status, u.id IS NULL AS is_erased, coalesce(r.updated_at, now()) AS ended_at
         FROM orders o LEFT JOIN users u ON u.id = o.user_id LEFT JOIN order_states s ON s.order_id = o.id
             LEFT JOIN rules r ON r.id = o.rule_id AND r.status = 'deleted'
         WHERE CASE WHEN u.id IS NULL THEN s.status = 'open'
             ELSE r.updated_at < now() - interval '3 minutes'
                 AND (s.order_id IS NULL OR (s.status = 'open' AND s.awaiting_alert_rule_id IS NOT NULL)) END
         ORDER BY o.placed_at, o.id LIMIT $1",
    );
    let event = |row: &PgRow| {
        let is_erased: bool = row.try_get("is_erased")?;
        let reason = if is_erased { CancelReason::Requested } else { CancelReason::AlertEnded };
        Ok(cancellation(&record(row)?, reason, row::time(row, "ended_at")?).to_message())
    };
    rows.bind(limit).fetch_all(&mut **tx).await?.iter().map(event).collect()
}

/// Returns the trades, rejections and expiries of the last 30 days, for which stream `TRADES` holds them, that the owners of
/// the orders were not notified of.
pub(super) async fn unnotified(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    // Postings are numbered in the order of their batches, which have the time of the database; trades have that of ticks.
    let trades = sqlx::query(
        "SELECT t.* FROM trades t JOIN users u ON u.id = t.user_id
         WHERE t.posting_id >= (SELECT min(first_posting) FROM posting_batches WHERE posted_at > now() - interval '30 days')
             AND t.posting_id < (SELECT coalesce(min(first_posting), 9223372036854775807) FROM posting_batches
                                 WHERE posted_at > now() - interval '3 minutes')
             AND NOT EXISTS (SELECT FROM deliveries d WHERE d.source_id = t.order_id::text || '-1')
             AND NOT EXISTS (SELECT FROM batched_sources b WHERE b.source_id = t.order_id::text || '-1')
         ORDER BY t.posting_id LIMIT $1",
    );
    let ends = sqlx::query(
        "SELECT s.*, o.terms FROM order_states s JOIN orders o ON o.id = s.order_id JOIN users u ON u.id = s.user_id
         WHERE s.status IN ('rejected', 'expired')
             AND greatest(s.updated_at, o.placed_at) BETWEEN now() - interval '30 days' AND now() - interval '3 minutes'
             AND NOT EXISTS (SELECT FROM deliveries d WHERE d.source_id = s.order_id::text || '-r' || s.revision)
             AND NOT EXISTS (SELECT FROM batched_sources b WHERE b.source_id = s.order_id::text || '-r' || s.revision)
         ORDER BY s.updated_at, s.order_id LIMIT $1",
    );
    let trades = trades.bind(limit).fetch_all(&mut **tx).await?;
    let ends = ends.bind(limit - trades.len() as i64).fetch_all(&mut **tx).await?;
    trades.iter().map(settled).chain(ends.iter().map(ended)).collect()
}

fn deposit(row: &PgRow) -> Result<OutboundMessage, Error> {
    let request = DepositRequested {
        deposit_id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        asset: row::asset(row, "asset")?,
        amount: Amount::new(row.try_get("amount")?)?,
        requested_at: row::time(row, "requested_at")?,
    };
    Ok(request.to_message())
}

fn placed(row: &PgRow) -> Result<OutboundMessage, Error> {
    let Json(terms) = row.try_get::<Json<OrderRequest>, _>("terms")?;
    let expires_at = row.try_get::<Option<&str>, _>("rule_expires_at")?;
    let expires_at = expires_at.map(str::parse::<Timestamp>).transpose().map_err(row::unreadable)?;
    let rule_id: Option<uuid::Uuid> = row.try_get("rule_id")?;
    let placed = OrderPlaced {
        order_id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        terms,
        after_alert: rule_id.map(|rule_id| AlertTrigger { rule_id, expires_at }),
        placed_at: row::time(row, "placed_at")?,
    };
    Ok(placed.to_message())
}

fn settled(row: &PgRow) -> Result<OutboundMessage, Error> {
    let Trade {
        order_id,
        posting_id,
        symbol,
        side,
        size,
        price,
        quote_amount,
        fee,
        tick_id,
        tick_sequence,
        tick_index,
        tick_price,
        at,
    } = trade(row)?;
    let (id, user_id) = (TradeSettled::id_of(order_id), row.try_get("user_id")?);
    let settled = TradeSettled {
        id,
        order_id,
        user_id,
        symbol,
        side,
        size,
        price,
        quote_amount,
        fee,
        tick_id,
        tick_sequence,
        tick_index,
        tick_price,
        posting_id,
        at,
    };
    Ok(settled.to_message())
}

fn ended(row: &PgRow) -> Result<OutboundMessage, Error> {
    let Json(terms) = row.try_get::<Json<OrderRequest>, _>("terms")?;
    let reason = row.try_get::<Option<&str>, _>("reason")?;
    let reason = reason.map(|reason| row::known("reason", reason, RejectReason::parse)).transpose()?;
    let updated = OrderUpdated {
        order_id: row.try_get("order_id")?,
        revision: row.try_get("revision")?,
        user_id: row.try_get("user_id")?,
        symbol: terms.symbol,
        status: row::word(row, "status", OrderStatus::parse)?,
        reason,
        tick_sequence: row.try_get::<i64, _>("tick_sequence")? as u64,
        at: row::time(row, "updated_at")?,
    };
    Ok(updated.to_message())
}
