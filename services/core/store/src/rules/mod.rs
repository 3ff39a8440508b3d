//! Rules as their owners define them, for the gateway. Every change is saved together with its event.

mod batch_statement;
pub mod engine_state;
pub mod judged;
pub mod late;
pub mod market_gaps;
pub mod past_ticks;

use ::rules::Firing;
use events::{OrderStatus, Rule, RuleChanged, RuleStatus, Symbol, Timestamp, Venue, rule::RuleChange};
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

pub use self::judged::JudgedMarket;
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
    /// The market whose ticks the rule is evaluated against; none while it has not ticked.
    pub market: Option<JudgedMarket>,
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

/// The venue of a rule, as its owner chooses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VenueChoice {
    /// The primary venue of the symbol.
    Primary,
    /// The venue of this name.
    Named(Venue),
}

impl From<VenueChoice> for Option<Venue> {
    fn from(choice: VenueChoice) -> Self {
        match choice {
            VenueChoice::Primary => None,
            VenueChoice::Named(venue) => Some(venue),
        }
    }
}

/// What the owner of a rule wants changed; what is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleUpdate {
    /// The change of the status.
    pub status: Option<RuleChange>,
    /// The new venue. Another one than before begins the rule anew, as if it was created now.
    pub venue: Option<VenueChoice>,
}

/// The result of a change of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The rule is as requested, from now on or from before.
    Done(Box<RuleRecord>),
    /// A rule of this status cannot be changed so.
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
                o.id AS order_id, coalesce(os.status, 'received') AS order_status,
                market.venue, market.last_at, market.evaluated_at
             FROM rules r LEFT JOIN rule_states s ON s.rule_id = r.id
                LEFT JOIN orders o ON o.rule_id = r.id LEFT JOIN order_states os ON os.order_id = o.id
                LEFT JOIN LATERAL (
                    SELECT venue, last_at, evaluated_at FROM market_states m
                    WHERE m.symbol = r.rule ->> 'symbol'
                        AND (m.venue = r.rule ->> 'venue' OR (r.rule ->> 'venue' IS NULL AND m.is_primary))
                    ) AS market ON true WHERE ",
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
    update(store, id, RuleUpdate { status: Some(requested), venue: None }, now).await
}

/// Changes the status and the venue of a rule by one event. The call is idempotent.
pub async fn update(store: &Store, id: Uuid, update: RuleUpdate, now: Timestamp) -> Result<Changed, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // The row is locked first, so that concurrent changes have their revisions and events in one order.
                sqlx::query("SELECT FROM rules WHERE id = $1 FOR UPDATE").bind(id).execute(&mut **tx).await?;
                let Some(row) = sqlx::query(RECORD).bind(id).fetch_optional(&mut **tx).await? else {
                    return Ok(Changed::Missing);
                };
                let RuleRecord { mut rule, status, .. } = record(&row)?;
                let to = match next_status(status, update.status) {
                    Ok(to) => to,
                    Err(RuleStatus::Deleted) => return Ok(Changed::Missing),
                    Err(status) => return Ok(Changed::Refused(status)),
                };
                let venue = update.venue.map_or_else(|| rule.venue.clone(), Option::from);
                let happened = match update.status {
                    _ if venue != rule.venue => RuleChange::VenueChanged,
                    Some(requested) if to != status => requested,
                    _ => return Ok(Changed::Done(Box::new(record(&row)?))),
                };
                rule.venue = venue;
                let revision: i64 = sqlx::query_scalar(
                    "UPDATE rules SET status = $2, rule = $3, revision = revision + 1, updated_at = $4 WHERE id = $1
                 RETURNING revision",
                )
                .bind(id)
                .bind(to.as_str())
                .bind(Json(&rule))
                .bind(now.datetime())
                .fetch_one(&mut **tx)
                .await?;
                if to == RuleStatus::Deleted {
                    orders::cancel_with(tx, &[id], None, now).await?;
                }
                add_event(tx, rule, revision, happened, to, now).await?;
                let changed = sqlx::query(RECORD).bind(id).fetch_one(&mut **tx).await?;
                Ok(Changed::Done(Box::new(record(&changed)?)))
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

/// Returns at most `limit` firings of a user's rules about a symbol, deleted rules included, between two times of ticks, which belong
/// to the range; newest first.
pub async fn list_firings_of_user(
    store: &Store,
    user: Uuid,
    symbol: &Symbol,
    (from, to): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<Firing>, Error> {
    let query = sqlx::query(
        "SELECT firing.* FROM rules CROSS JOIN LATERAL (
             SELECT * FROM firings WHERE rule_id = rules.id AND fired_at BETWEEN $3 AND $4
             ORDER BY number DESC LIMIT $5) AS firing
         WHERE rules.user_id = $1 AND rules.rule ->> 'symbol' = $2
         ORDER BY fired_at DESC, rule_id, number DESC LIMIT $5",
    );
    let query = query.bind(user).bind(symbol.as_str()).bind(from.datetime()).bind(to.datetime()).bind(limit);
    query.fetch_all(store.pool()).await?.iter().map(engine_state::firing).collect()
}

/// Returns the status after the requested change, which may be the one from before. The error is the status that allows no
/// such change.
fn next_status(from: RuleStatus, requested: Option<RuleChange>) -> Result<RuleStatus, RuleStatus> {
    match (from, requested) {
        (RuleStatus::Deleted, _) => Err(from),
        (_, Some(RuleChange::Deleted)) => Ok(RuleStatus::Deleted),
        (RuleStatus::Pending, Some(RuleChange::Confirmed)) => Ok(RuleStatus::Active),
        (_, Some(RuleChange::Confirmed)) => Ok(from),
        (RuleStatus::Active | RuleStatus::Paused, Some(RuleChange::Paused)) => Ok(RuleStatus::Paused),
        (RuleStatus::Active | RuleStatus::Paused, Some(RuleChange::Resumed)) => Ok(RuleStatus::Active),
        (RuleStatus::Pending | RuleStatus::Active | RuleStatus::Paused, None) => Ok(from),
        _ => Err(from),
    }
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
        market: judged::market(row)?,
    })
}
