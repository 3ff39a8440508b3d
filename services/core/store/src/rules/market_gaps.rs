//! Gaps in the ticks of markets, until they are judged.

use std::collections::HashSet;

use events::Timestamp;
use rules::{GapStage, MarketGap};
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Store, Tx, bigint, pg::row};

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

/// Saves gaps as they are now. One that is judged stays so.
pub(super) async fn save(tx: &mut Tx, gaps: &[MarketGap]) -> Result<(), Error> {
    if gaps.is_empty() {
        return Ok(());
    }
    let columns = |gap: &MarketGap| match gap.stage {
        GapStage::Missing => ("missing", 0, false),
        GapStage::Known { until, is_complete } => ("known", bigint(until), is_complete),
        GapStage::Judged => ("judged", 0, false),
    };
    sqlx::query(
        "INSERT INTO market_gaps AS there (gap_id, symbol, venue, revision, gap_from, gap_to, stage, known_until, is_complete)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::timestamptz[], $6::timestamptz[], $7::text[],
                              $8::bigint[], $9::boolean[])
         ON CONFLICT (gap_id) DO UPDATE SET revision = EXCLUDED.revision, gap_from = EXCLUDED.gap_from,
             gap_to = EXCLUDED.gap_to, stage = EXCLUDED.stage, known_until = EXCLUDED.known_until,
             is_complete = EXCLUDED.is_complete, saved_at = now()
         WHERE there.stage <> 'judged'",
    )
    .bind(gaps.iter().map(|gap| gap.gap_id.as_str()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| gap.symbol.as_str()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| gap.venue.as_str()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| gap.revision.cast_signed()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| gap.from.datetime()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| gap.to.map(Timestamp::datetime)).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| columns(gap).0).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| columns(gap).1).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| columns(gap).2).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
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
