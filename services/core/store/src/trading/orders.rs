//! Orders as their owners placed them and as the settler has decided them, for the gateway. What is placed or taken back
//! is saved with the fact that says so; what becomes of it is the settler's.

use events::{
    Amount, Asset, OrderCancelRequested, OrderPlaced, OrderRequest, OrderStatus, OutboundMessage, RejectReason, Symbol,
    Timestamp, order::AlertTrigger,
};
use ledger::hash_chain::fingerprint;
use rust_decimal::Decimal;
use sqlx::{PgExecutor, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    Error, Store, Tx,
    outbox::{self, relay},
    pg::row,
    trading::trades::{self, Trade},
};

/// An order that is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Drawn for it.
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// What it is to do.
    pub terms: OrderRequest,
    /// The name of the request, by which a repeated one is known.
    pub idempotency_key: Option<String>,
    /// The rule whose first firing places it.
    pub after_alert: Option<AlertTrigger>,
    /// When, by the gateway's clock.
    pub placed_at: Timestamp,
}

/// An order and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRecord {
    /// Names it.
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// What it is to do.
    pub terms: OrderRequest,
    /// The rule whose first firing places it.
    pub rule_id: Option<Uuid>,
    /// When it was saved.
    pub placed_at: Timestamp,
    /// What the settler has made of it; `None` is on its way.
    pub decision: Option<Decision>,
}

/// What the settler has made of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// How it stands.
    pub state: OrderState,
    /// How it traded.
    pub trade: Option<Trade>,
}

/// How a decided order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it is rejected.
    pub reason: Option<RejectReason>,
    /// What it holds while it is open.
    pub held: Option<(Asset, Amount)>,
    /// The last tick that was applied before this was decided; 0 before the first.
    pub tick_sequence: u64,
    /// When it was decided.
    pub updated_at: Timestamp,
}

impl OrderRecord {
    /// Where it stands.
    pub fn status(&self) -> OrderStatus {
        self.decision.as_ref().map_or(OrderStatus::Received, |decision| decision.state.status)
    }
}

impl OrderState {
    /// What the settler has saved.
    pub(crate) fn of(saved: &ledger::rows::OrderState) -> Result<Self, Error> {
        let ledger::rows::OrderState { status, reason, held, tick_sequence, updated_at, .. } = saved;
        let held = held.as_ref().map(|(asset, amount)| Ok::<_, Error>((asset.clone(), Amount::new(*amount)?)));
        Ok(Self {
            status: *status,
            reason: *reason,
            held: held.transpose()?,
            tick_sequence: *tick_sequence,
            updated_at: *updated_at,
        })
    }
}

impl From<NewOrder> for OrderRecord {
    fn from(order: NewOrder) -> Self {
        let NewOrder { id, user_id, terms, idempotency_key: _, after_alert, placed_at } = order;
        let rule_id = after_alert.map(|after| after.rule_id);
        Self { id, user_id, terms, rule_id, placed_at, decision: None }
    }
}

/// What a request to place an order came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is saved.
    New(Box<OrderRecord>),
    /// It was saved before, by the same name and with the same terms.
    Duplicate(Box<OrderRecord>),
    /// An order of the same name has other terms.
    Conflict(OrderKey),
    /// The account is gone.
    NoAccount,
}

/// What names an order of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKey {
    /// Its owner's own name for it.
    ClientOrderId,
    /// The name of the request.
    IdempotencyKey,
}

/// What a request to take an order back came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// The settler is asked, now or already.
    Requested(Box<OrderRecord>),
    /// Nothing more can happen to it.
    Final(OrderStatus),
    /// The user has no such order.
    Missing,
}

/// Which orders of somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Those that stand so.
    pub status: Option<OrderStatus>,
    /// Those that trade this.
    pub symbol: Option<Symbol>,
    /// Those older than this one.
    pub before: Option<Uuid>,
}

macro_rules! decision_columns {
    () => {
        "s.status, s.reason, s.held_asset, s.held, s.tick_sequence AS decided_after, s.updated_at, t.order_id,
         t.posting_id, t.symbol, t.side, t.size, t.price, t.quote_amount, t.fee, t.tick_sequence, t.tick_price, t.at"
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

/// Saves an order, once: the same names and terms again are the same order.
pub async fn place(store: &Store, order: NewOrder) -> Result<Placed, Error> {
    let mut connection = store.hot_connection().await?;
    let saved = save(&mut *connection, &order).await?;
    connection.keep();
    if let Some(committed) = saved {
        relay::enqueue(store, outbox::GATEWAY, committed);
        return Ok(Placed::New(Box::new(order.into())));
    }
    store.transaction(move |tx| Box::pin(async move { known(tx, order).await })).await
}

/// One order of a user.
pub async fn find(store: &Store, user_id: Uuid, id: Uuid) -> Result<Option<OrderRecord>, Error> {
    let query = sqlx::query(records!("o.user_id = $1 AND o.id = $2"));
    let row = query.bind(user_id).bind(id).fetch_optional(store.pool()).await?;
    row.as_ref().map(record).transpose()
}

/// A user's orders, newest first.
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

/// What the settler has decided about those of these orders that it has decided something about.
pub(crate) async fn find_decisions(store: &Store, ids: &[Uuid]) -> Result<Vec<(Uuid, Decision)>, Error> {
    // A plan that does not look into the array is made once and not for every notice.
    let query = sqlx::query(concat!(
        "SELECT s.order_id AS id, ",
        decision_columns!(),
        " FROM order_states s LEFT JOIN trades t ON t.order_id = s.order_id
         WHERE s.order_id = ANY ((SELECT $1::uuid[])::uuid[])"
    ));
    let rows = query.bind(ids).fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, decision(row)?))).collect()
}

/// Asks the settler to take a user's order back, unless nothing more can happen to it.
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
                outbox::add(tx, outbox::GATEWAY, &[cancellation(&found, Because::Asked, now).to_message()]).await?;
                Ok(Cancellation::Requested(found.into()))
            })
        })
        .await
}

/// Saves an order with the fact that says so, in the transaction of something else.
pub(crate) async fn insert(tx: &mut Tx, order: NewOrder) -> Result<Placed, Error> {
    if save(&mut **tx, &order).await?.is_some() {
        tx.notify(outbox::channel(outbox::GATEWAY));
        return Ok(Placed::New(Box::new(order.into())));
    }
    known(tx, order).await
}

/// By one statement, which answers with the fact and its row; none when the order was known or there is no such account.
async fn save(executor: impl PgExecutor<'_>, order: &NewOrder) -> Result<Option<(i64, OutboundMessage)>, Error> {
    let NewOrder { id, user_id, terms, idempotency_key, after_alert, placed_at } = order.clone();
    let fact = OrderPlaced { order_id: id, user_id, terms: terms.clone(), after_alert, placed_at }.to_message();
    // The account is held: it must not be erased while it gets something new. And of two equal requests at a time the
    // second waits here for the first one's commit.
    let statement = concat!(
        "WITH saved AS (
             INSERT INTO orders (id, user_id, terms, rule_id, client_order_id, idempotency_key, fingerprint, placed_at)
             SELECT $6, $7, $8, $9, $10, $11, $12, $13 FROM (SELECT FROM users WHERE id = $7 FOR KEY SHARE) AS account
             WHERE NOT EXISTS (SELECT FROM order_idempotency_keys WHERE user_id = $7 AND idempotency_key = $11)
             ON CONFLICT DO NOTHING RETURNING id
         ) ",
        outbox::add_from!("saved")
    );
    let row = outbox::bind(statement, outbox::GATEWAY, fact.clone())
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
    Ok(row.map(|row| (row, fact)))
}

/// The order that has one of the names of a request already.
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
            remember(tx, &found, key).await?;
        }
        same = Some(found);
    }
    Ok(same.map_or(Placed::NoAccount, |found| Placed::Duplicate(found.into())))
}

/// From here on this key names the order too, and no other.
async fn remember(tx: &mut Tx, order: &OrderRecord, key: &str) -> Result<(), Error> {
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

/// Why an order is to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    /// Its owner wants it, or goes.
    Asked,
    /// Its alert has ended: one that the alert has placed already stays.
    AlertEnded,
}

/// Asks the settler to take back the orders that wait for rules, and all of an account, in the transaction that ends those.
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
    let facts = orders.iter().map(|order| {
        let because = if account == Some(order.user_id) { Because::Asked } else { Because::AlertEnded };
        cancellation(order, because, now).to_message()
    });
    outbox::add(tx, outbox::GATEWAY, &facts.collect::<Vec<_>>()).await
}

fn cancellation(order: &OrderRecord, because: Because, now: Timestamp) -> OrderCancelRequested {
    // Derived, not drawn: to ask again for the same is to ask once.
    let name: &[u8] = match because {
        Because::Asked => b"cancel",
        Because::AlertEnded => b"cancel with alert",
    };
    OrderCancelRequested {
        request_id: Uuid::new_v5(&order.id, name),
        order_id: order.id,
        user_id: order.user_id,
        symbol: order.terms.symbol.clone(),
        requested_at: now,
        only_while_waiting_for_alert: because == Because::AlertEnded,
    }
}

fn record(row: &PgRow) -> Result<OrderRecord, Error> {
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
