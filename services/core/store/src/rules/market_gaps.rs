//! Gaps in the ticks of markets, until they are judged.

use std::collections::HashMap;

use rules::{GapStage, MarketGap};
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Store, pg::row};

/// Returns the gaps that are not judged.
pub(super) async fn list_unjudged(store: &Store) -> Result<Vec<MarketGap>, Error> {
    let rows = sqlx::query("SELECT * FROM market_gaps WHERE stage <> 'judged'").fetch_all(store.pool()).await?;
    rows.iter().map(gap).collect()
}

/// Returns those of these gaps that are judged, each with the revision of the report that it was judged by.
pub async fn list_judged(store: &Store, gaps: &[&str]) -> Result<HashMap<String, u32>, Error> {
    let judged = sqlx::query_as("SELECT gap_id, revision FROM market_gaps WHERE stage = 'judged' AND gap_id = ANY($1)");
    let rows: Vec<(String, i32)> = judged.bind(gaps).fetch_all(store.pool()).await?;
    Ok(rows.into_iter().map(|(gap_id, revision)| (gap_id, revision.cast_unsigned())).collect())
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
