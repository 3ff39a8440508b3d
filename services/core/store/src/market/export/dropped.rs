//! Days whose ticks the database has no more: what it still knows of them.
//!
//! Candles stay when a month of ticks is dropped, and a candle of a day counts the ticks of that day.

use events::{Interval, Timestamp};
use sqlx::{Row, postgres::PgRow};

use super::ticks::{Market, TickSelection};
use crate::{
    Error, Store,
    pg::row::{self, indexed_time},
};

/// A day of a market whose ticks were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedDay {
    /// The market that had them.
    pub market: Market,
    /// The start of the day.
    pub day: Timestamp,
    /// The number of ticks that the database had.
    pub ticks: u64,
    /// The number of ticks that an archive was found to have of it; 0 where none was.
    pub archived: u64,
}

/// Reads the candles of days in months that were dropped.
const DAYS: &str = "
    SELECT start, venue, symbol, instrument.id, trades, coalesce(archived.ticks, 0)
    FROM dropped_tick_months month CROSS JOIN instruments instrument
    JOIN candles ON instrument_id = instrument.id AND interval_seconds = $5
        AND start >= month.first_day::timestamp AT TIME ZONE 'UTC'
        AND start < (month.first_day + interval '1 month') AT TIME ZONE 'UTC'
    LEFT JOIN archived_days archived ON archived.instrument_id = instrument.id AND archived.day = (start AT TIME ZONE 'UTC')::date
    WHERE symbol = $1 AND ($2::text IS NULL OR venue = $2) AND start > $3::timestamptz - interval '24 hours' AND start < $4
    ORDER BY start, instrument.id";

/// Returns the days of a selection whose ticks were dropped, in order of day and instrument. The caller asks for a month or less.
pub async fn dropped_days(store: &Store, selection: &TickSelection) -> Result<Vec<DroppedDay>, Error> {
    let TickSelection { symbol, venue, from, to } = selection;
    let rows = sqlx::query(DAYS)
        .bind(symbol.as_str())
        .bind(venue.as_ref().map(events::Venue::as_str))
        .bind(from.datetime())
        .bind(to.datetime())
        .bind(Interval::Day.span().as_seconds() as i32)
        .fetch_all(store.pool())
        .await?;
    let read = |row: &PgRow| {
        let market = Market { venue: row::venue(row)?, symbol: row::symbol(row)?, instrument: row.try_get(3)? };
        let (ticks, archived): (i64, i64) = (row.try_get(4)?, row.try_get(5)?);
        let (ticks, archived) = (ticks.unsigned_abs(), archived.unsigned_abs());
        Ok(DroppedDay { market, day: indexed_time(row, 0)?, ticks, archived })
    };
    rows.iter().map(read).collect()
}
