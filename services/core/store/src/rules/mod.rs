//! Rules as their owners define them, for the gateway. Every change is saved together with its event.

pub mod engine_state;

use ::rules::Firing;
use events::{OrderStatus, Rule, RuleChanged, RuleStatus, Timestamp, rule::RuleChange};
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    Error, Store, Tx, outbox,
    trading::orders::{self, NewOrder, Placed},
};

/// The SHA-256 hash of a token, which is not stored itself.
pub type TokenHash = [u8; 32];

/// A rule with its current status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRecord {
    /// The rule as its owner defined it.
    pub rule: Rule,
    /// The rule's status: `done` or `expired` where the engine has set it, otherwise the status that the owner set.
    pub status: RuleStatus,
    /// The number of firings, including suppressed ones.
    pub firings: i64,
    /// The time at which the rule was created.
    pub created_at: Timestamp,
    /// The account that owns the rule; none for a rule that only its token manages.
    pub user_id: Option<Uuid>,
    /// The id and the status of the order that the first firing places.
    pub order: Option<(Uuid, OrderStatus)>,
}

/// A rule that is to be saved.
#[derive(Debug, Clone)]
pub struct NewRule {
    /// The rule, including its id.
    pub rule: Rule,
    /// The initial status of the rule.
    pub status: RuleStatus,
    /// The hash of the token that manages it.
    pub manage_token: TokenHash,
    /// The account that owns it; none for a rule that only its token manages.
    pub user_id: Option<Uuid>,
    /// The order that the first firing places.
    pub order: Option<NewOrder>,
    /// The time of the request.
    pub created_at: Timestamp,
}

/// The result of a request for a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The rule is saved.
    Done,
    /// The account does not exist.
    NoAccount,
    /// The rule's order has the `client_order_id` of another order; nothing is saved.
    OrderNameTaken,
}

/// The result of a change of status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The rule has the requested status, from now on or from before.
    Done(Box<RuleRecord>),
    /// The rule cannot change to the requested status from this one.
    Refused(RuleStatus),
    /// The rule does not exist or is deleted.
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
                // The order comes first, so that nothing is written when its `client_order_id` is in use.
                if let Some(order) = order {
                    match orders::insert(tx, order).await? {
                        Placed::New(_) => {}
                        Placed::NoAccount => return Ok(Created::NoAccount),
                        Placed::Duplicate(_) | Placed::Conflict(_) => return Ok(Created::OrderNameTaken),
                    }
                }
                // The lock on the account blocks its erasure, which would otherwise miss the new rule.
                let added = sqlx::query(
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
                if added.rows_affected() == 0 {
                    return Ok(Created::NoAccount);
                }
                add_event(tx, rule, 1, RuleChange::Created, status, created_at).await?;
                Ok(Created::Done)
            })
        })
        .await
}

/// Returns a rule, also a deleted one, and the hash of its token.
pub async fn find(store: &Store, id: Uuid) -> Result<Option<(RuleRecord, TokenHash)>, Error> {
    let row = sqlx::query(RECORD).bind(id).fetch_optional(store.pool()).await?;
    let found = row.map(|row| {
        let hash: Vec<u8> = row.try_get("manage_token_hash")?;
        let hash = hash.try_into().map_err(|_| sqlx::Error::Decode("a token hash of a wrong length".into()))?;
        Ok((record(&row)?, hash))
    });
    found.transpose()
}

/// Returns at most `limit` rules of an account, newest first, starting after the rule `before`. Deleted rules are left
/// out.
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

/// Returns the confirmed rules of an address that belong to no account, in the order of [`list`].
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

/// Assigns a rule of [`list_adoptable`] to the account of its address. The call is idempotent. Returns none when the
/// account does not own the rule afterwards, or the rule is deleted.
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

/// Changes the status of a rule as `requested`. The call is idempotent.
pub async fn change(store: &Store, id: Uuid, requested: RuleChange, now: Timestamp) -> Result<Changed, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // The row is locked first, so that concurrent changes have their revisions and events in one order.
                sqlx::query("SELECT FROM rules WHERE id = $1 FOR UPDATE").bind(id).execute(&mut **tx).await?;
                let Some(row) = sqlx::query(RECORD).bind(id).fetch_optional(&mut **tx).await? else {
                    return Ok(Changed::Missing);
                };
                let mut found = record(&row)?;
                let to = match (found.status, requested) {
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
                add_event(tx, found.rule.clone(), revision, requested, to, now).await?;
                Ok(Changed::Done(Box::new(found)))
            })
        })
        .await
}

/// Returns at most `limit` firings of a rule with numbers below `before`, newest first.
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
