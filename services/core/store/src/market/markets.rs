//! How far the history of a market has come, read for many markets at once.

use events::{Symbol, Timestamp, Venue};
use market_data::InstrumentId;
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Store, pg::row};

/// What the history has of a market at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketProgress {
    /// The number of the instrument.
    pub instrument: InstrumentId,
    /// The venue of the instrument.
    pub venue: Venue,
    /// The time of its newest tick; none where it has none yet. Candles that end by then have closed.
    pub newest_at: Option<Timestamp>,
    /// The number of ticks that have changed a candle of the market after its close. As long as it stays, so do all candles
    /// that have closed.
    pub late_ticks: i64,
    /// How often what is known of its gaps has changed; 0 where it never had one.
    pub gap_changes: i64,
}

/// Finds each market by its symbol and venue, with index lookups.
const PROGRESS: &str = "
    SELECT asked.number, instrument.id, instrument.venue, latest.at, coalesce(latest.late_ticks, 0) AS late_ticks,
        coalesce(gaps.changes, 0) AS gap_changes
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (symbol, venue, number)
    CROSS JOIN LATERAL (SELECT id, venue FROM instruments
        WHERE symbol = asked.symbol AND (venue = asked.venue OR (asked.venue IS NULL AND is_primary))) AS instrument
    LEFT JOIN latest_prices latest ON latest.instrument_id = instrument.id
    LEFT JOIN feed_gap_changes gaps ON gaps.venue = instrument.venue AND gaps.symbol = asked.symbol";

/// Returns the progress of each market, in their order; none of one that is not quoted. Without a venue, the symbol's primary one
/// is meant.
pub async fn progress(
    store: &Store,
    markets: &[(Symbol, Option<Venue>)],
) -> Result<Vec<Option<MarketProgress>>, Error> {
    let query = sqlx::query(PROGRESS)
        .bind(markets.iter().map(|(symbol, _)| symbol.to_string()).collect::<Vec<_>>())
        .bind(markets.iter().map(|(_, venue)| venue.as_ref().map(Venue::to_string)).collect::<Vec<_>>());
    let rows = store.fetch_hot(query).await?;
    let mut found = vec![None; markets.len()];
    for row in &rows {
        let number: i64 = row.try_get("number")?;
        if let Some(found) = usize::try_from(number - 1).ok().and_then(|index| found.get_mut(index)) {
            *found = Some(read_progress(row)?);
        }
    }
    Ok(found)
}

fn read_progress(row: &PgRow) -> Result<MarketProgress, Error> {
    Ok(MarketProgress {
        instrument: row.try_get("id")?,
        venue: row::venue(row)?,
        newest_at: row::optional_time(row, "at")?,
        late_ticks: row.try_get("late_ticks")?,
        gap_changes: row.try_get("gap_changes")?,
    })
}
