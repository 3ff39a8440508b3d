//! The state of the alert-engine, which is saved in the transaction that advances the engine's stream positions.

use std::collections::HashMap;

use events::{Price, Rule, RuleChanged, RuleStatus, Timestamp, rule::RuleChange};
use rules::{Changes, EngineState, Firing, MarketState, RuleState, Sample, Suppression};
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::{batch_statement::statement, market_gaps};
use crate::{
    Error, Store, Tx,
    consumer::{batch::BatchConnection, service::Commit},
    market::ticks,
    optional_price,
    pg::row,
};

/// Forgets the saved sequences of stream `TICKS`, because another message than before has each number. A rule that a tick was
/// evaluated against since it became active remains so, and a rule that waits for its first tick waits on.
pub async fn forget_sequences(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query(
        "UPDATE rule_states s SET active_after = CASE WHEN EXISTS (
             SELECT FROM rules r JOIN market_states m ON m.symbol = r.rule ->> 'symbol'
                 AND (m.venue = s.venue OR (s.venue IS NULL AND m.is_primary))
             WHERE r.id = s.rule_id AND m.last_sequence > s.active_after) THEN 0 ELSE 1 END
         WHERE status <> 'deleted'",
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query("UPDATE market_states SET last_sequence = 1").execute(&mut **tx).await?;
    sqlx::query("UPDATE market_gaps SET known_until = 0 WHERE stage <> 'judged'").execute(&mut **tx).await?;
    Ok(())
}

/// Returns the saved state of the engine.
pub async fn load(store: &Store) -> Result<EngineState, Error> {
    let markets = sqlx::query(
        "SELECT symbol, venue, is_primary, last_sequence, last_at, last_price, newest_ids FROM market_states",
    );
    let samples = sqlx::query(
        "SELECT symbol, venue, grain_seconds, slot, at, price FROM market_samples
         ORDER BY symbol, venue, grain_seconds, slot",
    );
    let rules = sqlx::query(
        "SELECT rule, s.* FROM rule_states s JOIN rules r ON r.id = s.rule_id
         WHERE s.status <> 'deleted'",
    );
    Ok(EngineState {
        markets: markets.fetch_all(store.pool()).await?.iter().map(market).collect::<Result<_, _>>()?,
        samples: samples.fetch_all(store.pool()).await?.iter().map(sample).collect::<Result<_, _>>()?,
        rules: rules.fetch_all(store.pool()).await?.iter().map(rule).collect::<Result<_, _>>()?,
        gaps: market_gaps::list_unjudged(store).await?,
    })
}

/// Returns the revisions that were applied of those of these rules that have a state, deleted ones included.
pub async fn list_revisions(store: &Store, rules: &[Uuid]) -> Result<HashMap<Uuid, i64>, Error> {
    // The subquery hides the array from the planner, so that PostgreSQL reuses one generic plan.
    let query =
        sqlx::query_as("SELECT rule_id, revision FROM rule_states WHERE rule_id = ANY ((SELECT $1::uuid[])::uuid[])");
    Ok(query.bind(rules).fetch_all(store.pool()).await?.into_iter().collect())
}

/// Returns the last change of those of the rules that have a row, as far as the rows tell it.
pub async fn last_changes(store: &Store, rules: &[Uuid]) -> Result<HashMap<Uuid, RuleChanged>, Error> {
    let query = "SELECT rule, revision, status, updated_at FROM rules WHERE id = ANY ((SELECT $1::uuid[])::uuid[])";
    let rows = sqlx::query(query).bind(rules).fetch_all(store.pool()).await?;
    rows.iter().map(last_change).map(|change| change.map(|change| (change.rule.id, change))).collect()
}

/// Saves changes in a transaction, as a batch does.
pub async fn save(tx: &mut Tx, changes: &Changes) -> Result<(), Error> {
    statement("", Vec::new(), changes, &[])?.execute(&mut **tx).await.map(|_| ())
}

/// The connection on which the engine commits its batches.
#[derive(Debug)]
pub struct EngineConnection(BatchConnection);

/// Opens a connection to commit batches on.
pub async fn connect(store: &Store) -> Result<EngineConnection, Error> {
    BatchConnection::open(store).await.map(EngineConnection)
}

impl EngineConnection {
    /// Commits a batch in one statement, in a task of its own. Returns the rows of the outbox that hold its events; none where
    /// dead letters stand beside them.
    pub fn commit(
        &self,
        commit: Commit<Changes>,
    ) -> impl Future<Output = Result<Option<Vec<i64>>, Error>> + Send + use<> {
        let connection = self.0.clone();
        let Commit { service, advances, effects, events, dead_letters } = commit;
        async move {
            let statement = statement(service, advances, &effects, &events)?;
            connection.commit(service, statement, dead_letters).await
        }
    }
}

fn market(row: &PgRow) -> Result<MarketState, Error> {
    let (symbol, venue) = (row::symbol(row)?, row::venue(row)?);
    let Json(newest_ids) = row.try_get("newest_ids")?;
    Ok(MarketState {
        symbol,
        venue,
        is_primary: row.try_get("is_primary")?,
        last_sequence: row.try_get::<i64, _>("last_sequence")? as u64,
        last_at: row::time(row, "last_at")?,
        last_price: Price::new(row.try_get("last_price")?)?,
        newest_ids,
    })
}

fn sample(row: &PgRow) -> Result<Sample, Error> {
    let (symbol, venue) = (row::symbol(row)?, row::venue(row)?);
    Ok(Sample {
        symbol,
        venue,
        grain_seconds: row.try_get("grain_seconds")?,
        slot: row.try_get("slot")?,
        at: row::time(row, "at")?,
        price: Price::new(row.try_get("price")?)?,
    })
}

fn rule(row: &PgRow) -> Result<(Rule, RuleState), Error> {
    let rule: Json<Rule> = row.try_get("rule")?;
    let state = RuleState {
        rule_id: row.try_get("rule_id")?,
        revision: row.try_get("revision")?,
        status: row::word(row, "status", RuleStatus::parse)?,
        venue: row::optional_venue(row)?,
        active_after: row.try_get::<i64, _>("active_after")? as u64,
        active_since: row::time(row, "active_since")?,
        reference: reference(row)?,
        firings: row.try_get("firing_count")?,
        last_fired_at: row::optional_time(row, "last_fired_at")?,
    };
    Ok((rule.0, state))
}

pub(crate) fn last_change(row: &PgRow) -> Result<RuleChanged, Error> {
    let Json(rule) = row.try_get("rule")?;
    let status = row::word(row, "status", RuleStatus::parse)?;
    let happened = match status {
        RuleStatus::Pending => RuleChange::Created,
        RuleStatus::Paused => RuleChange::Paused,
        RuleStatus::Deleted => RuleChange::Deleted,
        RuleStatus::Active | RuleStatus::Done | RuleStatus::Expired => RuleChange::Resumed,
    };
    Ok(RuleChanged { rule, revision: row.try_get("revision")?, happened, status, at: row::time(row, "updated_at")? })
}

pub(crate) fn firing(row: &PgRow) -> Result<Firing, Error> {
    let (symbol, venue) = (row::symbol(row)?, row::venue(row)?);
    Ok(Firing {
        rule_id: row.try_get("rule_id")?,
        number: row.try_get("number")?,
        symbol,
        venue,
        fired_at: row::time(row, "fired_at")?,
        price: Price::new(row.try_get("price")?)?,
        reference: reference(row)?,
        change_percent: row.try_get("change_percent")?,
        trade_id: row.try_get("trade_id")?,
        position: ticks::position(row)?,
        suppressed: row.try_get::<Option<&str>, _>("suppressed")?.and_then(Suppression::parse),
        incomplete_since: row::optional_time(row, "incomplete_since")?,
    })
}

fn reference(row: &PgRow) -> Result<Option<(Price, Timestamp)>, Error> {
    let price = optional_price(row.try_get("reference_price")?)?;
    Ok(price.zip(row::optional_time(row, "reference_at")?))
}
