//! The settler's memory and what a batch makes of it: accounts, postings, transfers, orders, trades.
//!
//! Rows are as they are stored, not as the parsers would have them: whoever verifies the ledger must be able to read a row
//! that was tampered with.

mod batch_statement;

use std::{borrow::Cow, sync::Arc};

use events::{Asset, DeadLetter, OrderRequest, OrderStatus, OutboundMessage, Price, RejectReason, Symbol, Timestamp};
use rust_decimal::Decimal;
use sqlx::{Postgres, Row, pool::PoolConnection, postgres::PgRow, types::Json};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::batch_statement::Statement;
use crate::{
    Error, Store,
    consumer::{dead_letters, position::Advance},
    outbox::relay,
    pg::{row, transaction::in_task},
    trading::balances::known_asset,
};

/// The channel that says that orders or deposits have been settled.
pub const SETTLED: &str = "orders_settled";

/// What can hold an asset; the balance is moved by the database, as transfers are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Counts from 1.
    pub id: i64,
    /// `available` or `held` of a user; `house`, `fees`, `issued`.
    pub kind: Cow<'static, str>,
    /// Whose.
    pub user_id: Option<Uuid>,
    /// Of what.
    pub asset: String,
    /// Of all this.
    pub hash: Vec<u8>,
}

/// Transfers that happen together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostingRow {
    /// Counts from 1 without a gap.
    pub id: i64,
    /// `deposit`, `hold`, `release` or `fill`.
    pub kind: Cow<'static, str>,
    /// Whose account it concerns.
    pub user_id: Uuid,
    /// The order or the deposit.
    pub cause: Uuid,
    /// The time of what caused it.
    pub at: Timestamp,
    /// Of the posting before; empty for the first.
    pub previous_hash: Vec<u8>,
    /// Of all this and the transfers.
    pub hash: Vec<u8>,
}

/// So much of an asset goes from one account to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferRow {
    /// The posting it belongs to.
    pub posting_id: i64,
    /// Counts the posting's transfers from 1.
    pub number: i16,
    /// Of what.
    pub asset: String,
    /// Which gets less.
    pub from_account: i64,
    /// Which gets more.
    pub to_account: i64,
    /// How much, above zero.
    pub amount: Decimal,
    /// Of all this.
    pub hash: Vec<u8>,
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    /// Which.
    pub order_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// Counts its changes from 1.
    pub revision: i32,
    /// Never `received`.
    pub status: OrderStatus,
    /// Why it is rejected.
    pub reason: Option<RejectReason>,
    /// Its place among those that wait.
    pub place: i64,
    /// What it holds while it is open.
    pub held: Option<(Asset, Decimal)>,
    /// The rule whose firing it waits for, and when that rule's time is over.
    pub parked: Option<(Uuid, Option<Timestamp>)>,
    /// The last tick that was applied before this was decided.
    pub tick_sequence: u64,
    /// The time of what decided it.
    pub updated_at: Timestamp,
}

/// An order has traded, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeRow {
    /// Which.
    pub order_id: Uuid,
    /// The ledger's posting.
    pub posting_id: i64,
    /// Whose.
    pub user_id: Uuid,
    /// What.
    pub symbol: String,
    /// `buy` or `sell`.
    pub side: Cow<'static, str>,
    /// How much of the base.
    pub size: Decimal,
    /// What one cost.
    pub price: Decimal,
    /// What all of it cost or brought, before the fee.
    pub quote_amount: Decimal,
    /// The fee.
    pub fee: Decimal,
    /// The tick that priced it.
    pub tick_sequence: i64,
    /// Its price.
    pub tick_price: Decimal,
    /// When.
    pub at: Timestamp,
    /// Of all this.
    pub hash: Vec<u8>,
}

/// The newest applied tick of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRow {
    /// Of what.
    pub symbol: Symbol,
    /// How much.
    pub price: Price,
    /// When.
    pub at: Timestamp,
    /// Its place in stream `TICKS`.
    pub sequence: u64,
}

/// An asset, and how many decimal places an amount of it has.
pub type AssetRow = (Asset, u32);

/// All that the settler remembers, read at the beginning of a session.
#[derive(Debug, Default)]
pub struct LedgerState {
    /// What may be traded.
    pub assets: Vec<AssetRow>,
    /// Every account with what is in it.
    pub accounts: Vec<(AccountRow, Decimal)>,
    /// The number and the hash of the last posting.
    pub last_posting: Option<(i64, Vec<u8>)>,
    /// Orders that are open, in the order in which they became so; without terms where the order's row is missing.
    pub open: Vec<(OrderState, Option<OrderRequest>)>,
    /// The newest price of each symbol.
    pub prices: Vec<PriceRow>,
}

/// What a batch has changed.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    /// Accounts that were opened.
    pub accounts: Vec<AccountRow>,
    /// What was posted.
    pub postings: Vec<PostingRow>,
    /// Their transfers.
    pub transfers: Vec<TransferRow>,
    /// Orders that were decided, each once, as it stands now.
    pub orders: Vec<OrderState>,
    /// What was traded.
    pub trades: Vec<TradeRow>,
    /// Prices that are newer.
    pub prices: Vec<PriceRow>,
}

/// What one transaction of the settler is to hold.
#[derive(Debug, Default)]
pub struct Batch {
    /// How far it takes the consumers that it was read from.
    pub advances: Vec<Advance>,
    /// What became of accounts and orders.
    pub changes: Changes,
    /// What is to be published.
    pub facts: Vec<OutboundMessage>,
    /// What is given up.
    pub dead: Vec<DeadLetter>,
}

/// Where batches are committed: a connection of its own, on which what the statement needs stays warm.
#[derive(Debug)]
pub struct SettlementConnection {
    store: Store,
    connection: Arc<Mutex<PoolConnection<Postgres>>>,
}

impl SettlementConnection {
    /// Commits a batch of `service`, and tells those who wait for its orders.
    ///
    /// It runs in a task of its own, so that it goes on while the caller decides the next batch.
    pub fn settle(
        &self,
        service: &'static str,
        batch: Batch,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (store, connection) = (self.store.clone(), self.connection.clone());
        in_task(async move {
            let Batch { advances, changes, facts, dead } = batch;
            let statement = Statement::new(service, advances, &changes, &facts)?;
            if dead.is_empty() {
                statement.execute(&mut **connection.lock().await).await?;
            } else {
                let given_up = store.transaction(move |tx| {
                    Box::pin(async move {
                        dead_letters::add(tx, service, &dead).await?;
                        statement.execute(&mut **tx).await
                    })
                });
                given_up.await?;
            }
            if !changes.orders.is_empty() || !changes.postings.is_empty() {
                store.order_waiters().tell(&changes);
                store.notify(SETTLED);
            }
            if !facts.is_empty() {
                relay::wake(&store, service);
            }
            Ok(())
        })
    }
}

/// Takes a connection to commit batches on.
pub async fn connect(store: &Store) -> Result<SettlementConnection, Error> {
    Ok(SettlementConnection { store: store.clone(), connection: Arc::new(Mutex::new(store.connection().await?)) })
}

/// Forgets sequences of a stream `TICKS` that is no more.
pub async fn reset_sequences(store: &Store) -> Result<(), Error> {
    sqlx::query("UPDATE settlement_prices SET sequence = 0").execute(store.pool()).await?;
    Ok(())
}

/// Reads the settler's memory.
pub async fn load(store: &Store) -> Result<LedgerState, Error> {
    let accounts = sqlx::query("SELECT * FROM accounts ORDER BY id").fetch_all(store.pool()).await?;
    let last = sqlx::query("SELECT id, hash FROM postings ORDER BY id DESC LIMIT 1");
    let last = last.fetch_optional(store.pool()).await?;
    let open = sqlx::query(
        "SELECT s.*, o.terms FROM order_states s LEFT JOIN orders o ON o.id = s.order_id
         WHERE s.status = 'open' ORDER BY s.place",
    );
    let prices = sqlx::query("SELECT * FROM settlement_prices");
    Ok(LedgerState {
        assets: all_assets(store).await?,
        accounts: accounts
            .iter()
            .map(|row| Ok((account(row)?, row.try_get("balance")?)))
            .collect::<Result<_, Error>>()?,
        last_posting: last.map(|row| Ok::<_, Error>((row.try_get("id")?, row.try_get("hash")?))).transpose()?,
        open: open.fetch_all(store.pool()).await?.iter().map(open_order).collect::<Result<_, _>>()?,
        prices: prices.fetch_all(store.pool()).await?.iter().map(price).collect::<Result<_, _>>()?,
    })
}

/// What may be traded, and how exactly.
pub async fn all_assets(store: &Store) -> Result<Vec<AssetRow>, Error> {
    let rows = sqlx::query("SELECT code, scale FROM assets ORDER BY code").fetch_all(store.pool()).await?;
    rows.iter().map(known_asset).collect()
}

/// Which of these orders and deposits are decided already: a message that was published again long after the first
/// time has another place in the stream.
pub async fn find_settled(store: &Store, orders: &[Uuid], deposits: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    // A plan that does not look into the arrays is made once and not for every batch.
    let found = sqlx::query_scalar(
        "SELECT order_id FROM order_states WHERE order_id = ANY ((SELECT $1::uuid[])::uuid[])
         UNION ALL SELECT cause FROM postings WHERE kind = 'deposit' AND cause = ANY ((SELECT $2::uuid[])::uuid[])",
    );
    Ok(found.bind(orders).bind(deposits).fetch_all(store.pool()).await?)
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

fn order_state(row: &PgRow) -> Result<OrderState, Error> {
    let reason = row.try_get::<Option<&str>, _>("reason")?;
    let held_asset = row.try_get::<Option<&str>, _>("held_asset")?;
    let held_asset = held_asset.map(|_| row::asset(row, "held_asset")).transpose()?;
    let held: Decimal = row.try_get("held")?;
    let parked_until = row::optional_time(row, "parked_until")?;
    Ok(OrderState {
        order_id: row.try_get("order_id")?,
        user_id: row.try_get("user_id")?,
        revision: row.try_get("revision")?,
        status: row::word(row, "status", OrderStatus::parse)?,
        reason: reason.map(|_| row::word(row, "reason", RejectReason::parse)).transpose()?,
        place: row.try_get("place")?,
        held: held_asset.map(|asset| (asset, held)),
        parked: row.try_get::<Option<Uuid>, _>("parked_rule")?.map(|rule| (rule, parked_until)),
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
        price: Price::new(row.try_get("price")?)?,
        at: row::time(row, "at")?,
        sequence: row.try_get::<i64, _>("sequence")? as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_every_reason_of_a_rejection() {
        let schema = include_str!("../../../migrations/0006_ledger_bounds.sql");
        let unknown = RejectReason::ALL.iter().find(|reason| !schema.contains(&format!("'{}'", reason.as_str())));
        assert_eq!(unknown, None);
    }
}
