//! Gaps in the ticks of markets, until they are judged.

use std::collections::HashSet;

use rules::{GapStage, MarketGap};
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Store, pg::row};

/// Returns the gaps that are not judged.
pub(super) async fn list_unjudged(store: &Store) -> Result<Vec<MarketGap>, Error> {
    let rows = sqlx::query("SELECT * FROM market_gaps WHERE stage <> 'judged'").fetch_all(store.pool()).await?;
    rows.iter().map(gap).collect()
}

/// Returns those of these gaps that are judged.
pub async fn list_judged(store: &Store, gaps: &[&str]) -> Result<HashSet<String>, Error> {
    let judged = sqlx::query_scalar("SELECT gap_id FROM market_gaps WHERE stage = 'judged' AND gap_id = ANY($1)");
    Ok(judged.bind(gaps).fetch_all(store.pool()).await?.into_iter().collect())
}

fn gap(row: &PgRow) -> Result<MarketGap, Error> {
    let until = row.try_get::<i64, _>("known_until")? as u64;
    let is_complete = row.try_get("is_complete")?;
    Ok(MarketGap {
        gap_id: row.try_get("gap_id")?,
        symbol: row::symbol(row)?,
        venue: row::venue(row)?,
        revision: row.try_get::<i32, _>("revision")?.cast_unsigned(),
        from: row::time(row, "gap_from")?,
        to: row::optional_time(row, "gap_to")?,
        stage: row::word(row, "stage", |word| match word {
            "missing" => Some(GapStage::Missing),
            "known" => Some(GapStage::Known { until, is_complete }),
            "judged" => Some(GapStage::Judged),
            _ => None,
        })?,
    })
}
