//! The state of the trade-settler and the batches that change it: accounts, postings, transfers, orders and trades.

mod batch_statement;

use std::borrow::Cow;

use events::{OrderPlaced, OrderRequest, OrderStatus, Price, RejectReason, order::AlertTrigger};
use ledger::rows::{AccountRow, Changes, DepositRow, LedgerState, OrderState, PriceRow};
use market_data::MarketTicks;
use rust_decimal::Decimal;
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use self::batch_statement::statement;
use crate::{
    Error, Store, Tx,
    consumer::{batch::BatchConnection, service::Commit},
    market::ticks,
    outbox,
    pg::{row, transaction::in_task},
    trading::{assets, order_waiters::SETTLED},
};

/// The connection on which the settler commits its batches.
#[derive(Debug)]
pub struct SettlementConnection {
    store: Store,
    connection: BatchConnection,
}

impl SettlementConnection {
    /// Commits a batch and notifies those who wait for its orders.
    ///
    /// The commit runs in a task of its own, so that it goes on while the caller decides the next batch.
    pub fn settle(&self, commit: Commit<Changes>) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (store, connection) = (self.store.clone(), self.connection.clone());
        in_task(async move {
            let Commit { service, advances, effects: changes, events, dead_letters } = commit;
            let statement = statement(service, advances, &changes, &events)?;
            let publishes = !events.is_empty() || !dead_letters.is_empty();
            connection.commit(service, statement, dead_letters).await?;
            if !changes.orders.is_empty() || !changes.postings.is_empty() {
                store.notify(SETTLED);
            }
            if publishes {
                store.notify(outbox::channel(service));
            }
            Ok(())
        })
    }
}

/// Opens a connection to commit batches on.
pub async fn connect(store: &Store) -> Result<SettlementConnection, Error> {
    Ok(SettlementConnection { store: store.clone(), connection: BatchConnection::open(store).await? })
}

/// Forgets the saved sequences of stream `TICKS`, because another message than before has each number.
pub async fn forget_sequences(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query("UPDATE settlement_prices SET sequence = 0, index = 0").execute(&mut **tx).await?;
    Ok(())
}

/// Loads the settler's state.
pub async fn load(store: &Store) -> Result<LedgerState, Error> {
    let accounts = sqlx::query("SELECT * FROM accounts ORDER BY id").fetch_all(store.pool()).await?;
    let last = sqlx::query("SELECT id, hash FROM postings ORDER BY id DESC LIMIT 1");
    let last = last.fetch_optional(store.pool()).await?;
    let open = sqlx::query(
        "SELECT s.*, o.terms FROM order_states s LEFT JOIN orders o ON o.id = s.order_id
         WHERE s.status = 'open' ORDER BY s.queue_rank",
    );
    let prices = sqlx::query("SELECT * FROM settlement_prices");
    let markets = sqlx::query("SELECT * FROM settlement_markets");
    Ok(LedgerState {
        assets: assets::list(store).await?,
        accounts: accounts
            .iter()
            .map(|row| Ok((account(row)?, row.try_get("balance")?)))
            .collect::<Result<_, Error>>()?,
        last_posting: last.map(|row| Ok::<_, Error>((row.try_get("id")?, row.try_get("hash")?))).transpose()?,
        open: open.fetch_all(store.pool()).await?.iter().map(open_order).collect::<Result<_, _>>()?,
        prices: prices.fetch_all(store.pool()).await?.iter().map(price).collect::<Result<_, _>>()?,
        markets: markets.fetch_all(store.pool()).await?.iter().map(market).collect::<Result<_, _>>()?,
    })
}

/// Returns those of these orders and deposits that are settled. A message that was published again long after the first
/// time has another sequence, so its position does not show that it is settled.
pub async fn find_settled(store: &Store, orders: &[Uuid], deposits: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    // The subqueries hide the arrays from the planner, so that PostgreSQL reuses one generic plan for all batches.
    let found = sqlx::query_scalar(
        "SELECT order_id FROM order_states WHERE order_id = ANY ((SELECT $1::uuid[])::uuid[])
         UNION ALL SELECT cause FROM postings WHERE kind = 'deposit' AND cause = ANY ((SELECT $2::uuid[])::uuid[])",
    );
    Ok(found.bind(orders).bind(deposits).fetch_all(store.pool()).await?)
}

/// Returns those of these orders that have no row, or one with another user or other terms. A row is saved before its event
/// is published, so it was lost with a database that was restored from an older backup, or somebody else has published the
/// event.
pub async fn find_without_row(store: &Store, orders: &[&OrderPlaced]) -> Result<Vec<OrderPlaced>, Error> {
    let missing: Vec<i64> = sqlx::query_scalar(
        "SELECT number FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[]) WITH ORDINALITY
             AS placed (id, user_id, terms, number)
         WHERE NOT EXISTS (SELECT FROM orders o WHERE o.id = placed.id AND o.user_id = placed.user_id
                           AND o.terms = placed.terms)",
    )
    .bind(orders.iter().map(|order| order.order_id).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.user_id).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| Json(&order.terms)).collect::<Vec<_>>())
    .fetch_all(store.pool())
    .await?;
    let order = |number: i64| orders.get(usize::try_from(number).ok()?.checked_sub(1)?).map(|order| (*order).clone());
    Ok(missing.into_iter().filter_map(order).collect())
}

/// Returns those of these deposits that an operator has requested.
pub async fn find_deposits(store: &Store, ids: &[Uuid]) -> Result<Vec<DepositRow>, Error> {
    let found = sqlx::query("SELECT id, user_id, asset, amount FROM deposits WHERE id = ANY ($1)");
    found.bind(ids).fetch_all(store.pool()).await?.iter().map(deposit).collect()
}

pub(crate) fn account(row: &PgRow) -> Result<AccountRow, Error> {
    Ok(AccountRow {
        id: row.try_get("id")?,
        kind: Cow::Owned(row.try_get("kind")?),
        user_id: row.try_get("user_id")?,
        asset: row.try_get("asset")?,
        hash: row.try_get("hash")?,
    })
}

pub(crate) fn deposit(found: &PgRow) -> Result<DepositRow, Error> {
    Ok(DepositRow {
        id: found.try_get("id")?,
        user_id: found.try_get("user_id")?,
        asset: found.try_get("asset")?,
        amount: found.try_get("amount")?,
    })
}

fn order_state(row: &PgRow) -> Result<OrderState, Error> {
    let reason = row.try_get::<Option<&str>, _>("reason")?;
    let held_asset = row.try_get::<Option<&str>, _>("held_asset")?;
    let held_asset = held_asset.map(|_| row::asset(row, "held_asset")).transpose()?;
    let held: Decimal = row.try_get("held")?;
    let expires_at = row::optional_time(row, "awaiting_alert_until")?;
    let rule_id: Option<Uuid> = row.try_get("awaiting_alert_rule_id")?;
    Ok(OrderState {
        order_id: row.try_get("order_id")?,
        user_id: row.try_get("user_id")?,
        revision: row.try_get("revision")?,
        status: row::word(row, "status", OrderStatus::parse)?,
        reason: reason.map(|_| row::word(row, "reason", RejectReason::parse)).transpose()?,
        queue_rank: row.try_get("queue_rank")?,
        held: held_asset.map(|asset| (asset, held)),
        awaiting_alert: rule_id.map(|rule_id| AlertTrigger { rule_id, expires_at }),
        tick_sequence: row.try_get::<i64, _>("tick_sequence")? as u64,
        updated_at: row::time(row, "updated_at")?,
    })
}

fn open_order(row: &PgRow) -> Result<(OrderState, Option<OrderRequest>), Error> {
    let terms = row.try_get::<Option<Json<OrderRequest>>, _>("terms")?;
    Ok((order_state(row)?, terms.map(|Json(terms)| terms)))
}

fn price(row: &PgRow) -> Result<PriceRow, Error> {
    Ok(PriceRow {
        symbol: row::symbol(row)?,
        venue: row::venue(row)?,
        is_primary: row.try_get("is_primary")?,
        tick_id: row.try_get("tick_id")?,
        price: Price::new(row.try_get("price")?)?,
        at: row::time(row, "at")?,
        position: ticks::position(row)?,
    })
}

fn market(row: &PgRow) -> Result<MarketTicks, Error> {
    let Json(ids) = row.try_get("ids")?;
    Ok(MarketTicks { symbol: row::symbol(row)?, venue: row::venue(row)?, at: row::time(row, "at")?, ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_every_reason_of_a_rejection() {
        let schema = include_str!("../../../migrations/0001_initial.sql");
        let unknown = RejectReason::ALL.iter().find(|reason| !schema.contains(&format!("'{}'", reason.as_str())));
        assert_eq!(unknown, None);
    }
}
