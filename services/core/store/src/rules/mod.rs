//! Rules as their owners made them, for the gateway. Every change is saved with the fact that says so.

pub mod engine_state;

use ::rules::Firing;
use events::{OrderStatus, Rule, RuleChanged, RuleStatus, Timestamp, rule::RuleChange};
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    Error, Store, Tx, outbox,
    trading::orders::{self, NewOrder, Placed},
};

/// A SHA-256 hash of a secret that is not kept.
pub type TokenHash = [u8; 32];

/// A rule and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRecord {
    /// As it was made.
    pub rule: Rule,
    /// Its status: the engine's `done` or `expired` where it has said so, else its owner's.
    pub status: RuleStatus,
    /// How often it has fired, suppressed firings included.
    pub firings: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The account it belongs to; none for one that only its token manages.
    pub user_id: Option<Uuid>,
    /// The order that its first firing places, and where that stands.
    pub order: Option<(Uuid, OrderStatus)>,
}

/// A rule that is to be saved.
#[derive(Debug, Clone)]
pub struct NewRule {
    /// The rule with its id.
    pub rule: Rule,
    /// The status that it begins with.
    pub status: RuleStatus,
    /// The hash of the token that manages it.
    pub manage_token: TokenHash,
    /// The account that owns it; none for a rule that only its token manages.
    pub user_id: Option<Uuid>,
    /// The order that its first firing places.
    pub order: Option<NewOrder>,
    /// The time of the request.
    pub created_at: Timestamp,
}

/// The result of a request for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It is saved.
    Done,
    /// The account is gone.
    NoAccount,
    /// Its order has the `client_order_id` of another one; nothing is saved.
    OrderNameTaken,
}

/// What a change of status came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It has the status it was asked to have, now or already.
    Done(Box<RuleRecord>),
    /// It cannot go there from the status it has.
    Refused(RuleStatus),
    /// There is no such rule, or it is deleted.
    Missing,
}

macro_rules! records {
    ($which:literal) => {
        concat!(
            "SELECT r.rule, r.manage_token_hash, r.created_at, r.user_id, coalesce(s.firing_count, 0) AS firing_count,
                CASE WHEN r.status <> 'deleted' AND s.status IN ('done', 'expired') THEN s.status
                     ELSE r.status END AS status,
                o.id AS order_id, coalesce(os.status, 'received') AS order_status
             FROM rules r LEFT JOIN rule_states s ON s.rule_id = r.id
                LEFT JOIN orders o ON o.rule_id = r.id LEFT JOIN order_states os ON os.order_id = o.id WHERE ",
            $which
        )
    };
}

const RECORD: &str = records!("r.id = $1");

/// Saves a new rule together with the order that its first firing places.
pub async fn create(store: &Store, new: NewRule) -> Result<Created, Error> {
    let NewRule { rule, status, manage_token, user_id, order, created_at } = new;
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // First, so that nothing is written when there is an order of that name.
                if let Some(order) = order {
                    match orders::insert(tx, order).await? {
                        Placed::New(_) => {}
                        Placed::NoAccount => return Ok(Created::NoAccount),
                        Placed::Duplicate(_) | Placed::Conflict(_) => return Ok(Created::OrderNameTaken),
                    }
                }
                // The account is held: it must not be erased while it gets something new.
                let made = sqlx::query(
                    "INSERT INTO rules (id, status, rule, manage_token_hash, created_at, updated_at, user_id)
                 SELECT $1, $2, $3, $4, $5, $5, $6
                 WHERE $6 IS NULL OR EXISTS (SELECT FROM users WHERE id = $6 FOR KEY SHARE)",
                )
                .bind(rule.id)
                .bind(status.as_str())
                .bind(Json(&rule))
                .bind(manage_token.as_slice())
                .bind(created_at.datetime())
                .bind(user_id)
                .execute(&mut **tx)
                .await?;
                if made.rows_affected() == 0 {
                    return Ok(Created::NoAccount);
                }
                add_event(tx, rule, 1, RuleChange::Created, status, created_at).await?;
                Ok(Created::Done)
            })
        })
        .await
}

/// A rule, also one that is deleted, and the hash of its token.
pub async fn find(store: &Store, id: Uuid) -> Result<Option<(RuleRecord, TokenHash)>, Error> {
    let row = sqlx::query(RECORD).bind(id).fetch_optional(store.pool()).await?;
    let found = row.map(|row| {
        let hash: Vec<u8> = row.try_get("manage_token_hash")?;
        let hash = hash.try_into().map_err(|_| sqlx::Error::Decode("a token hash of a wrong length".into()))?;
        Ok((record(&row)?, hash))
    });
    found.transpose()
}

/// An account's rules that are not deleted, newest first, from before the rule `before`.
pub async fn list(store: &Store, user: Uuid, before: Option<Uuid>, limit: i64) -> Result<Vec<RuleRecord>, Error> {
    let rows =
        sqlx::query(records!("r.user_id = $1 AND r.id < $2 AND r.status <> 'deleted' ORDER BY r.id DESC LIMIT $3"))
            .bind(user)
            .bind(before.unwrap_or(Uuid::max()))
            .bind(limit)
            .fetch_all(store.pool())
            .await?;
    rows.iter().map(record).collect()
}

/// The rules of an address that has said yes to them and that belong to no account, in the same order.
pub async fn list_adoptable(
    store: &Store,
    address: &str,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<RuleRecord>, Error> {
    let rows = sqlx::query(records!(
        "lower(r.rule #>> '{notify,email}') = lower($1) AND r.user_id IS NULL
         AND r.status NOT IN ('pending', 'deleted') AND r.id < $2 ORDER BY r.id DESC LIMIT $3"
    ))
    .bind(address)
    .bind(before.unwrap_or(Uuid::max()))
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(record).collect()
}

/// Gives a rule of [`Store::adoptable_rules`] to the account of its address; doing so twice is doing so once.
pub async fn adopt(store: &Store, id: Uuid, user: Uuid, address: &str) -> Result<Option<RuleRecord>, Error> {
    sqlx::query(
        "UPDATE rules SET user_id = $2 WHERE id = $1 AND user_id IS NULL
         AND lower(rule #>> '{notify,email}') = lower($3) AND status NOT IN ('pending', 'deleted')",
    )
    .bind(id)
    .bind(user)
    .bind(address)
    .execute(store.pool())
    .await?;
    let found = find(store, id).await?.map(|(record, _)| record);
    Ok(found.filter(|record| record.user_id == Some(user) && record.status != RuleStatus::Deleted))
}

/// Moves a rule to the status that `happening` leads to; doing so twice is doing so once.
pub async fn change(store: &Store, id: Uuid, happening: RuleChange, now: Timestamp) -> Result<Changed, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // The row is locked first: two changes of one rule are numbered and told in one order.
                sqlx::query("SELECT FROM rules WHERE id = $1 FOR UPDATE").bind(id).execute(&mut **tx).await?;
                let Some(row) = sqlx::query(RECORD).bind(id).fetch_optional(&mut **tx).await? else {
                    return Ok(Changed::Missing);
                };
                let mut found = record(&row)?;
                let to = match (found.status, happening) {
                    (RuleStatus::Deleted, _) => return Ok(Changed::Missing),
                    (_, RuleChange::Deleted) => RuleStatus::Deleted,
                    (RuleStatus::Pending, RuleChange::Confirmed) => RuleStatus::Active,
                    (RuleStatus::Active, RuleChange::Paused) => RuleStatus::Paused,
                    (RuleStatus::Paused, RuleChange::Resumed) => RuleStatus::Active,
                    (RuleStatus::Paused, RuleChange::Paused)
                    | (RuleStatus::Active, RuleChange::Resumed)
                    | (_, RuleChange::Confirmed) => return Ok(Changed::Done(Box::new(found))),
                    (status, _) => return Ok(Changed::Refused(status)),
                };
                let revision: i64 = sqlx::query_scalar(
                    "UPDATE rules SET status = $2, revision = revision + 1, updated_at = $3 WHERE id = $1
                 RETURNING revision",
                )
                .bind(id)
                .bind(to.as_str())
                .bind(now.datetime())
                .fetch_one(&mut **tx)
                .await?;
                found.status = to;
                if to == RuleStatus::Deleted {
                    orders::cancel_with(tx, &[id], None, now).await?;
                }
                add_event(tx, found.rule.clone(), revision, happening, to, now).await?;
                Ok(Changed::Done(Box::new(found)))
            })
        })
        .await
}

/// A rule's firings, newest first, of numbers below `before`.
pub async fn list_firings(store: &Store, rule: Uuid, before: Option<i64>, limit: i64) -> Result<Vec<Firing>, Error> {
    let rows = sqlx::query("SELECT * FROM firings WHERE rule_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3")
        .bind(rule)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(engine_state::firing).collect()
}

async fn add_event(
    tx: &mut Tx,
    rule: Rule,
    revision: i64,
    happened: RuleChange,
    status: RuleStatus,
    at: Timestamp,
) -> Result<(), Error> {
    let event = RuleChanged { rule, revision, happened, status, at };
    outbox::add(tx, outbox::GATEWAY, &[event.to_message()]).await
}

fn record(row: &PgRow) -> Result<RuleRecord, Error> {
    let order: Option<Uuid> = row.try_get("order_id")?;
    let order_status = OrderStatus::parse(row.try_get("order_status")?)
        .ok_or_else(|| sqlx::Error::Decode("an unknown order status".into()))?;
    Ok(RuleRecord {
        rule: row.try_get::<Json<Rule>, _>("rule")?.0,
        status: RuleStatus::parse(row.try_get("status")?)
            .ok_or_else(|| sqlx::Error::Decode("an unknown rule status".into()))?,
        firings: row.try_get("firing_count")?,
        user_id: row.try_get("user_id")?,
        created_at: row.try_get::<chrono::DateTime<chrono::Utc>, _>("created_at")?.into(),
        order: order.map(|id| (id, order_status)),
    })
}
