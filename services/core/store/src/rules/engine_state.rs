//! The state of the alert-engine, which is saved in the transaction that advances the engine's stream positions.

use std::collections::HashMap;

use events::{Price, Rule, RuleChanged, RuleStatus, Timestamp, Venue, rule::RuleChange};
use rules::{Changes, EngineState, Firing, MarketState, RuleState, Sample, Suppression};
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::market_gaps;
use crate::{Error, Store, Tx, bigint, market::ticks, optional_price, pg::row, smallint};

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

/// Saves the changes of a batch.
pub async fn save(tx: &mut Tx, changes: &Changes) -> Result<(), Error> {
    save_markets(tx, &changes.markets).await?;
    save_samples(tx, &changes.samples).await?;
    for expired in &changes.expired_samples {
        sqlx::query("DELETE FROM market_samples WHERE symbol = $1 AND venue = $2 AND grain_seconds = $3 AND slot < $4")
            .bind(expired.symbol.as_str())
            .bind(expired.venue.as_str())
            .bind(expired.grain_seconds)
            .bind(expired.before_slot)
            .execute(&mut **tx)
            .await?;
    }
    save_rules(tx, &changes.rules).await?;
    save_firings(tx, &changes.firings).await?;
    market_gaps::save(tx, &changes.gaps).await
}

async fn save_markets(tx: &mut Tx, markets: &[MarketState]) -> Result<(), Error> {
    if markets.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO market_states (symbol, venue, is_primary, last_sequence, last_at, last_price, newest_ids)
         SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[], $4::bigint[], $5::timestamptz[], $6::numeric[],
                              $7::jsonb[])
         ON CONFLICT (symbol, venue) DO UPDATE SET last_sequence = EXCLUDED.last_sequence,
             last_at = EXCLUDED.last_at, last_price = EXCLUDED.last_price, newest_ids = EXCLUDED.newest_ids,
             evaluated_at = now()",
    )
    .bind(markets.iter().map(|market| market.symbol.as_str()).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| market.venue.as_str()).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| market.is_primary).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| bigint(market.last_sequence)).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| market.last_at.datetime()).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| market.last_price.decimal()).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| Json(&market.newest_ids)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn save_samples(tx: &mut Tx, samples: &[Sample]) -> Result<(), Error> {
    if samples.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO market_samples (symbol, venue, grain_seconds, slot, at, price)
         SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::timestamptz[], $6::numeric[])
         ON CONFLICT (symbol, venue, grain_seconds, slot) DO UPDATE SET at = EXCLUDED.at, price = EXCLUDED.price",
    )
    .bind(samples.iter().map(|sample| sample.symbol.as_str()).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.venue.as_str()).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.grain_seconds).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.slot).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.at.datetime()).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.price.decimal()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn save_rules(tx: &mut Tx, rules: &[RuleState]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO rule_states (rule_id, revision, status, active_after, reference_price, reference_at, firing_count,
                                  last_fired_at, venue, active_since)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::numeric[], $6::timestamptz[],
                              $7::bigint[], $8::timestamptz[], $9::text[], $10::timestamptz[])
         ON CONFLICT (rule_id) DO UPDATE SET revision = EXCLUDED.revision, status = EXCLUDED.status, venue = EXCLUDED.venue,
             active_after = EXCLUDED.active_after, active_since = EXCLUDED.active_since,
             reference_price = EXCLUDED.reference_price,
             reference_at = EXCLUDED.reference_at, firing_count = EXCLUDED.firing_count, last_fired_at = EXCLUDED.last_fired_at",
    )
    .bind(rules.iter().map(|rule| rule.rule_id).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.revision).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.status.as_str()).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| bigint(rule.active_after)).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.reference.map(|(price, _)| price.decimal())).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.reference.map(|(_, at)| at.datetime())).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.firings).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.last_fired_at.map(Timestamp::datetime)).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.venue.as_ref().map(Venue::as_str)).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.active_since.datetime()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn save_firings(tx: &mut Tx, firings: &[Firing]) -> Result<(), Error> {
    if firings.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO firings (rule_id, number, symbol, venue, fired_at, price, reference_price, reference_at,
                              change_percent, trade_id, sequence, index, suppressed, incomplete_since)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::numeric[],
                              $7::numeric[], $8::timestamptz[], $9::numeric[], $10::text[], $11::bigint[], $12::smallint[],
                              $13::text[], $14::timestamptz[])",
    )
    .bind(firings.iter().map(|firing| firing.rule_id).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.number).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.symbol.as_str()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.venue.as_str()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.fired_at.datetime()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.price.decimal()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.reference.map(|(price, _)| price.decimal())).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.reference.map(|(_, at)| at.datetime())).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.change_percent).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.trade_id.as_str()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| bigint(firing.position.sequence)).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| smallint(firing.position.index)).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.suppressed.map(Suppression::as_str)).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.incomplete_since.map(Timestamp::datetime)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
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
