//! The gaps that answers about prices rest on.

use events::{Symbol, Timestamp, Venue, feed::GapState};
use market_data::{GapOutcome, GapSpan};
use sqlx::postgres::PgRow;

use super::progress::trade_id;
use crate::{Error, Store, pg::row};

/// The most gaps of one range. Where there are more, everything behind the last of them counts as incomplete.
const MAX_GAPS: i64 = 5_000;

/// Returns the gaps of a market that touch a range of time, in the order of their beginnings. A gap in which nothing was missing is
/// left out.
pub async fn list(
    store: &Store,
    (symbol, venue): (&Symbol, &Venue),
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<GapSpan>, Error> {
    let rows = sqlx::query(
        "SELECT gap_from, gap_to, state FROM feed_gaps
         WHERE symbol = $1 AND venue = $2
             AND gap_from < $4 AND (gap_to IS NULL OR gap_to >= $3) AND (state <> 'filled' OR filled > 0)
         ORDER BY gap_from LIMIT $5",
    )
    .bind(symbol.as_str())
    .bind(venue.as_str())
    .bind(from.datetime())
    .bind(to.datetime())
    .bind(MAX_GAPS)
    .fetch_all(store.pool())
    .await?;
    let mut gaps = rows.iter().map(span).collect::<Result<Vec<_>, _>>()?;
    if let Some(last) = gaps.last_mut().filter(|_| rows.len() as i64 >= MAX_GAPS) {
        *last = GapSpan { to: None, outcome: GapOutcome::Missing, ..*last };
    }
    Ok(gaps)
}

/// A gap in the trades of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolGap {
    /// The venue whose trades were missed.
    pub venue: Venue,
    /// The time of the last trade before it.
    pub from: Timestamp,
    /// The time of the first trade after it; none while it is open.
    pub to: Option<Timestamp>,
    /// What became of its trades.
    pub state: GapState,
    /// The first id that is missing, or was, where ids say something.
    pub first_missing_id: Option<u64>,
    /// The last one, where it is known.
    pub last_missing_id: Option<u64>,
}

/// Returns at most `limit` gaps of a symbol that touch a range of time, in the order of their beginnings. A gap in which nothing was
/// missing is left out.
pub async fn list_of_symbol(
    store: &Store,
    (symbol, venue): (&Symbol, Option<&Venue>),
    (from, to): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<SymbolGap>, Error> {
    let rows = sqlx::query(
        "SELECT venue, gap_from, gap_to, state, first_missing_id, last_missing_id FROM feed_gaps
         WHERE symbol = $1 AND ($2::text IS NULL OR venue = $2)
             AND gap_from <= $4 AND (gap_to IS NULL OR gap_to >= $3) AND (state <> 'filled' OR filled > 0)
         ORDER BY gap_from, venue LIMIT $5",
    )
    .bind(symbol.as_str())
    .bind(venue.map(Venue::as_str))
    .bind(from.datetime())
    .bind(to.datetime())
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    let gap = |row: &PgRow| {
        Ok(SymbolGap {
            venue: row::venue(row)?,
            from: row::time(row, "gap_from")?,
            to: row::optional_time(row, "gap_to")?,
            state: row::word(row, "state", GapState::parse)?,
            first_missing_id: trade_id(row, "first_missing_id")?,
            last_missing_id: trade_id(row, "last_missing_id")?,
        })
    };
    rows.iter().map(gap).collect()
}

fn span(row: &PgRow) -> Result<GapSpan, Error> {
    let outcome = match row::word(row, "state", GapState::parse)? {
        GapState::Filled => GapOutcome::Backfilled,
        GapState::Open | GapState::Filling | GapState::Unfillable => GapOutcome::Missing,
    };
    Ok(GapSpan { from: row::time(row, "gap_from")?, to: row::optional_time(row, "gap_to")?, outcome })
}
