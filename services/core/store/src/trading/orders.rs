//! Orders as their owners placed them and as the settler has decided them, for the gateway. A placement or a
//! cancellation is saved with the event that announces it; the settler alone decides the order.

use events::{
    Amount, Asset, OrderCancelRequested, OrderPlaced, OrderRequest, OrderStatus, RejectReason, Symbol, Timestamp,
    order::AlertTrigger,
};
use ledger::hash_chain::fingerprint;
use rust_decimal::Decimal;
use sqlx::{PgExecutor, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    Error, Store, Tx, outbox,
    pg::row,
    trading::trades::{self, Trade},
};

/// An order that is not yet saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// The new order's id.
    pub id: Uuid,
    /// The id of the order's owner.
    pub user_id: Uuid,
    /// The terms that the owner requested.
    pub terms: OrderRequest,
    /// The idempotency key of the request, by which a repeated one is recognised.
    pub idempotency_key: Option<String>,
    /// The rule whose first firing places the order, if it waits for one.
    pub after_alert: Option<AlertTrigger>,
    /// The time of the request, by the gateway's clock.
    pub placed_at: Timestamp,
}

/// A saved order with the settler's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRecord {
    /// The order's id.
    pub id: Uuid,
    /// The id of the order's owner.
    pub user_id: Uuid,
    /// The terms that the owner requested.
    pub terms: OrderRequest,
    /// The id of the rule whose first firing places the order, if it waits for one.
    pub rule_id: Option<Uuid>,
    /// The time of the request, by the gateway's clock.
    pub placed_at: Timestamp,
    /// The settler's last decision; `None` before the first.
    pub decision: Option<Decision>,
}

/// The settler's last decision about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The state that the order has reached.
    pub state: OrderState,
    /// The trade that filled the order, if it is filled.
    pub trade: Option<Trade>,
}

/// The state of a decided order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    /// The order's status.
    pub status: OrderStatus,
    /// The reason of a rejection.
    pub reason: Option<RejectReason>,
    /// The asset and the amount that the open order holds.
    pub held: Option<(Asset, Amount)>,
    /// The sequence of the last page of ticks that was applied before the decision; 0 before the first.
    pub tick_sequence: u64,
    /// The time of the last decision.
    pub updated_at: Timestamp,
}

impl OrderRecord {
    /// Returns the order's status, which is `received` before the first decision.
    pub fn status(&self) -> OrderStatus {
        self.decision.as_ref().map_or(OrderStatus::Received, |decision| decision.state.status)
    }
}

impl From<NewOrder> for OrderRecord {
    fn from(order: NewOrder) -> Self {
        let NewOrder { id, user_id, terms, idempotency_key: _, after_alert, placed_at } = order;
        let rule_id = after_alert.map(|after| after.rule_id);
        Self { id, user_id, terms, rule_id, placed_at, decision: None }
    }
}

/// The result of a request to place an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The order is saved.
    New(Box<OrderRecord>),
    /// An order with the same key and the same terms was saved before.
    Duplicate(Box<OrderRecord>),
    /// An order with the same key has other terms.
    Conflict(OrderKey),
    /// The account does not exist.
    NoAccount,
}

/// The kind of key that identifies an order of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKey {
    /// The owner's own id of the order.
    ClientOrderId,
    /// The idempotency key of the request.
    IdempotencyKey,
}

/// The result of a request to cancel an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// The cancellation is requested, now or by an earlier request.
    Requested(Box<OrderRecord>),
    /// The order is final and cannot be cancelled.
    Final(OrderStatus),
    /// The user has no order with this id.
    Missing,
}

/// The filter of a list of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// The status of the orders, if only one is wanted.
    pub status: Option<OrderStatus>,
    /// The symbol of the orders, if only one is wanted.
    pub symbol: Option<Symbol>,
    /// The id of the order before which the page begins.
    pub before: Option<Uuid>,
}

macro_rules! decision_columns {
    () => {
        "s.status, s.reason, s.held_asset, s.held, s.tick_sequence AS decided_after, s.updated_at, t.order_id,
         t.posting_id, t.symbol, t.side, t.size, t.price, t.quote_amount, t.fee, t.tick_id, t.tick_sequence, t.tick_index,
         t.tick_price, t.at"
    };
}

macro_rules! records {
    ($which:literal) => {
        concat!(
            "SELECT o.id, o.user_id, o.terms, o.rule_id, o.placed_at, o.idempotency_key, ",
            decision_columns!(),
            " FROM orders o LEFT JOIN order_states s ON s.order_id = o.id LEFT JOIN trades t ON t.order_id = o.id
             WHERE ",
            $which
        )
    };
}

/// Saves an order once: a request with the same keys and terms finds the same order.
pub async fn place(store: &Store, order: NewOrder) -> Result<Placed, Error> {
    let (order, saved) = store
        .on_hot_connection(|connection| {
            Box::pin(async move {
                let saved = save(connection, &order).await?;
                Ok((order, saved))
            })
        })
        .await?;
    if saved {
        store.notify(outbox::channel(outbox::GATEWAY));
        return Ok(Placed::New(Box::new(order.into())));
    }
    store.transaction(move |tx| Box::pin(async move { known(tx, order).await })).await
}

/// Returns one order of a user.
pub async fn find(store: &Store, user_id: Uuid, id: Uuid) -> Result<Option<OrderRecord>, Error> {
    let query = sqlx::query(records!("o.user_id = $1 AND o.id = $2"));
    let row = query.bind(user_id).bind(id).fetch_optional(store.pool()).await?;
    row.as_ref().map(record).transpose()
}

/// Returns the orders of a user, newest first.
pub async fn list(store: &Store, user_id: Uuid, filter: &OrderFilter, limit: i64) -> Result<Vec<OrderRecord>, Error> {
    let query = sqlx::query(records!(
        "o.user_id = $1 AND o.id < $2 AND ($3::text IS NULL OR coalesce(s.status, 'received') = $3)
            AND ($4::text IS NULL OR o.terms ->> 'symbol' = $4)
         ORDER BY o.id DESC LIMIT $5"
    ));
    let rows = query
        .bind(user_id)
        .bind(filter.before.unwrap_or(Uuid::max()))
        .bind(filter.status.map(OrderStatus::as_str))
        .bind(filter.symbol.as_ref().map(Symbol::as_str))
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(record).collect()
}

/// Returns the settler's decisions about those of these orders that are decided.
pub(crate) async fn find_decisions(store: &Store, ids: &[Uuid]) -> Result<Vec<(Uuid, Decision)>, Error> {
    // The subquery hides the array from the planner, so that PostgreSQL plans once and not for every notification.
    let query = sqlx::query(concat!(
        "SELECT s.order_id AS id, ",
        decision_columns!(),
        " FROM order_states s LEFT JOIN trades t ON t.order_id = s.order_id
         WHERE s.order_id = ANY ((SELECT $1::uuid[])::uuid[])"
    ));
    let rows = query.bind(ids).fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, decision(row)?))).collect()
}

/// Requests the cancellation of a user's order from the settler, unless the order is final.
pub async fn request_cancel(store: &Store, user_id: Uuid, id: Uuid, now: Timestamp) -> Result<Cancellation, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                let query = sqlx::query(records!("o.user_id = $1 AND o.id = $2"));
                let Some(row) = query.bind(user_id).bind(id).fetch_optional(&mut **tx).await? else {
                    return Ok(Cancellation::Missing);
                };
                let found = record(&row)?;
                if found.status().is_final() {
                    return Ok(Cancellation::Final(found.status()));
                }
                outbox::add(tx, outbox::GATEWAY, &[cancellation(&found, CancelReason::Requested, now).to_message()])
                    .await?;
                Ok(Cancellation::Requested(found.into()))
            })
        })
        .await
}

/// Saves an order with the event that announces it, as a part of the caller's transaction.
pub(crate) async fn insert(tx: &mut Tx, order: NewOrder) -> Result<Placed, Error> {
    if save(&mut **tx, &order).await? {
        tx.notify(outbox::channel(outbox::GATEWAY));
        return Ok(Placed::New(Box::new(order.into())));
    }
    known(tx, order).await
}

/// Saves an order and its event in one statement. It returns `false` when the order was saved before or the account does
/// not exist.
async fn save(executor: impl PgExecutor<'_>, order: &NewOrder) -> Result<bool, Error> {
    let NewOrder { id, user_id, terms, idempotency_key, after_alert, placed_at } = order.clone();
    let event = OrderPlaced { order_id: id, user_id, terms: terms.clone(), after_alert, placed_at }.to_message();
    // The account is locked, because it must not be erased while an order of it is saved. Of two equal requests at the
    // same time, the second waits here for the first one's commit.
    let statement = concat!(
        "WITH saved AS (
             INSERT INTO orders (id, user_id, terms, rule_id, client_order_id, idempotency_key, fingerprint, placed_at)
             SELECT $6, $7, $8, $9, $10, $11, $12, $13 FROM (SELECT FROM users WHERE id = $7 FOR KEY SHARE) AS account
             WHERE NOT EXISTS (SELECT FROM order_idempotency_keys WHERE user_id = $7 AND idempotency_key = $11)
             ON CONFLICT DO NOTHING RETURNING id
         ) ",
        outbox::add_from!("saved")
    );
    let row = outbox::bind(statement, outbox::GATEWAY, event)
        .bind(id)
        .bind(user_id)
        .bind(Json(&order.terms))
        .bind(after_alert.map(|after| after.rule_id))
        .bind(terms.client_order_id)
        .bind(idempotency_key)
        .bind(fingerprint(&order.terms)?)
        .bind(placed_at.datetime())
        .fetch_optional(executor)
        .await?;
    Ok(row.is_some())
}

/// Finds the order that has one of the keys of a request already.
async fn known(tx: &mut Tx, request: NewOrder) -> Result<Placed, Error> {
    let NewOrder { user_id, terms, idempotency_key, .. } = request;
    let key = idempotency_key.as_deref();
    let rows = sqlx::query(records!(
        "o.user_id = $1 AND (o.idempotency_key = $2 OR o.client_order_id = $3
            OR o.id = (SELECT order_id FROM order_idempotency_keys WHERE user_id = $1 AND idempotency_key = $2))"
    ))
    .bind(user_id)
    .bind(key)
    .bind(&terms.client_order_id)
    .fetch_all(&mut **tx)
    .await?;
    let mut same = None;
    for row in &rows {
        let found = record(row)?;
        let by_client = terms.client_order_id.is_some() && found.terms.client_order_id == terms.client_order_id;
        let by_key = key.is_some() && row.try_get::<Option<&str>, _>("idempotency_key")? == key;
        if found.terms != terms {
            return Ok(Placed::Conflict(if by_client && !by_key {
                OrderKey::ClientOrderId
            } else {
                OrderKey::IdempotencyKey
            }));
        }
        if let Some(key) = key.filter(|_| !by_key) {
            add_idempotency_key(tx, &found, key).await?;
        }
        same = Some(found);
    }
    Ok(same.map_or(Placed::NoAccount, |found| Placed::Duplicate(found.into())))
}

/// Stores a further idempotency key of an order, so that later requests with this key find it.
async fn add_idempotency_key(tx: &mut Tx, order: &OrderRecord, key: &str) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO order_idempotency_keys (user_id, idempotency_key, order_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(order.user_id)
    .bind(key)
    .bind(order.id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The reason of a cancellation request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelReason {
    /// The owner requests the cancellation, or the account is erased.
    Requested,
    /// The order's alert has ended. An order that the alert has already placed stays open.
    AlertEnded,
}

/// Requests the cancellation of the orders that wait for these rules, and of all orders of an account. It is a part of
/// the transaction that ends the rules or the account.
pub(crate) async fn cancel_with(
    tx: &mut Tx,
    rules: &[Uuid],
    account: Option<Uuid>,
    now: Timestamp,
) -> Result<(), Error> {
    let query = sqlx::query(records!(
        "((o.rule_id = ANY($1) AND (s.order_id IS NULL OR s.awaiting_alert_rule_id IS NOT NULL)) OR o.user_id = $2)
            AND coalesce(s.status, 'received') IN ('received', 'open')
         ORDER BY o.id"
    ));
    let rows = query.bind(rules).bind(account).fetch_all(&mut **tx).await?;
    let orders: Vec<OrderRecord> = rows.iter().map(record).collect::<Result<_, _>>()?;
    let events = orders.iter().map(|order| {
        let reason = if account == Some(order.user_id) { CancelReason::Requested } else { CancelReason::AlertEnded };
        cancellation(order, reason, now).to_message()
    });
    outbox::add(tx, outbox::GATEWAY, &events.collect::<Vec<_>>()).await
}

pub(crate) fn cancellation(order: &OrderRecord, reason: CancelReason, now: Timestamp) -> OrderCancelRequested {
    // The id is derived from the order and not random, so that a repeated request is recognised as a duplicate.
    let name: &[u8] = match reason {
        CancelReason::Requested => b"cancel",
        CancelReason::AlertEnded => b"cancel with alert",
    };
    OrderCancelRequested {
        request_id: Uuid::new_v5(&order.id, name),
        order_id: order.id,
        user_id: order.user_id,
        symbol: order.terms.symbol.clone(),
        requested_at: now,
        only_while_waiting_for_alert: reason == CancelReason::AlertEnded,
    }
}

pub(crate) fn record(row: &PgRow) -> Result<OrderRecord, Error> {
    let decided: Option<&str> = row.try_get("status")?;
    Ok(OrderRecord {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        terms: row.try_get::<Json<OrderRequest>, _>("terms")?.0,
        rule_id: row.try_get("rule_id")?,
        placed_at: row::time(row, "placed_at")?,
        decision: decided.map(|_| decision(row)).transpose()?,
    })
}

fn decision(row: &PgRow) -> Result<Decision, Error> {
    let traded: Option<i64> = row.try_get("posting_id")?;
    Ok(Decision { state: state(row)?, trade: traded.map(|_| trades::trade(row)).transpose()? })
}

fn state(row: &PgRow) -> Result<OrderState, Error> {
    let reason: Option<&str> = row.try_get("reason")?;
    let held: Decimal = row.try_get("held")?;
    Ok(OrderState {
        status: row::word(row, "status", OrderStatus::parse)?,
        reason: reason.map(|_| row::word(row, "reason", RejectReason::parse)).transpose()?,
        held: if held.is_zero() { None } else { Some((row::asset(row, "held_asset")?, Amount::new(held)?)) },
        tick_sequence: row.try_get::<i64, _>("decided_after")? as u64,
        updated_at: row::time(row, "updated_at")?,
    })
}
