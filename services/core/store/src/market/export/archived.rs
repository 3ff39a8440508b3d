//! Which days are in the archive, as the archiver has compared them.

use std::collections::HashMap;

use events::{Interval, Period, Timestamp};
use market_data::{InstrumentId, Month};
use sqlx::{Row, postgres::PgRow};

use super::{
    days::{count_ticks, first_tick},
    ticks::{Market, markets},
};
use crate::{Error, Store, bigint, pg::row};

/// A day whose ticks are not all in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnarchivedDay {
    /// The market that has them.
    pub market: Market,
    /// The start of the day.
    pub day: Timestamp,
    /// The number of ticks in the database.
    pub stored: u64,
    /// The number of ticks in the archive.
    pub archived: u64,
}

/// Notes that an archive was found to have that many ticks of a day, as many as the database. `archive` is its address.
pub async fn mark_archived(
    store: &Store,
    (instrument, day): (InstrumentId, Timestamp),
    archive: &str,
    ticks: u64,
) -> Result<(), Error> {
    let mark = "INSERT INTO archived_days (instrument_id, day, archive, ticks) VALUES ($1, $2, $3, $4)
        ON CONFLICT (instrument_id, day) DO UPDATE SET (archive, ticks, verified_at) = (EXCLUDED.archive, EXCLUDED.ticks, now())";
    let mark = sqlx::query(mark).bind(instrument).bind(day.datetime().date_naive()).bind(archive).bind(bigint(ticks));
    mark.execute(store.pool()).await?;
    Ok(())
}

/// Takes back that an archive has a day: it was found to differ from the database or from its manifest. A day of a month that was
/// dropped stays noted, because what the archive has lost is an error and not a day that it never had.
pub async fn unmark_archived(
    store: &Store,
    (instrument, day): (InstrumentId, Timestamp),
    archive: &str,
) -> Result<(), Error> {
    let unmark = sqlx::query(
        "DELETE FROM archived_days WHERE instrument_id = $1 AND day = $2 AND archive = $3
             AND NOT EXISTS (SELECT FROM dropped_tick_months WHERE first_day = date_trunc('month', day)::date)",
    );
    unmark.bind(instrument).bind(day.datetime().date_naive()).bind(archive).execute(store.pool()).await?;
    Ok(())
}

/// Returns the number of ticks that an archive was found to have of a day; 0 where it was never compared.
pub async fn archived_ticks(
    store: &Store,
    (instrument, day): (InstrumentId, Timestamp),
    archive: &str,
) -> Result<u64, Error> {
    let ticks: Option<i64> =
        sqlx::query_scalar("SELECT ticks FROM archived_days WHERE instrument_id = $1 AND day = $2 AND archive = $3")
            .bind(instrument)
            .bind(day.datetime().date_naive())
            .bind(archive)
            .fetch_optional(store.pool())
            .await?;
    Ok(ticks.unwrap_or_default().unsigned_abs())
}

/// Reads the candles of days, each of which counts the ticks of its day, along the primary key.
const FIRST_UNARCHIVED: &str = "
    SELECT instrument.id, first.start FROM instruments instrument CROSS JOIN LATERAL (
        SELECT start FROM candles
        WHERE instrument_id = instrument.id AND interval_seconds = $1 AND start < $2
            AND NOT EXISTS (SELECT FROM archived_days marked
                WHERE marked.instrument_id = instrument.id AND day = (start AT TIME ZONE 'UTC')::date
                    AND archive = $3 AND ticks = trades)
            AND NOT EXISTS (SELECT FROM dropped_tick_months
                WHERE first_day = date_trunc('month', start AT TIME ZONE 'UTC')::date)
        ORDER BY start LIMIT 1) AS first";

/// Returns the first day before a time of which an archive was not found to have as many ticks as the database, of each instrument
/// that has such a day. Days whose ticks were dropped are none.
pub async fn first_unarchived_days(
    store: &Store,
    archive: &str,
    before: Timestamp,
) -> Result<HashMap<InstrumentId, Timestamp>, Error> {
    let rows = sqlx::query(FIRST_UNARCHIVED)
        .bind(Interval::Day.span().as_seconds() as i32)
        .bind(before.datetime())
        .bind(archive)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(|row: &PgRow| Ok((row.try_get("id")?, row::time(row, "start")?))).collect()
}

/// Returns the first day of a month whose ticks are not all in an archive; none where all are.
pub async fn unarchived_day(store: &Store, month: Month, archive: &str) -> Result<Option<UnarchivedDay>, Error> {
    let (start, end) = (Timestamp::from(month.start()), Timestamp::from(month.next().start()));
    for market in markets(store, None, None).await? {
        let mut from = start;
        while let Some(at) = first_tick(store, market.instrument, (from, end)).await? {
            let day = at.floor(Interval::Day);
            from = day.after(Period::DAY);
            let stored = count_ticks(store, market.instrument, (day, from)).await?;
            let archived = archived_ticks(store, (market.instrument, day), archive).await?;
            if stored != archived {
                return Ok(Some(UnarchivedDay { market, day, stored, archived }));
            }
        }
    }
    Ok(None)
}
