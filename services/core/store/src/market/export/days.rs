//! The days of a market: which have rows, what the database has of each, and which the archive has.

use events::{Interval, Timestamp};
use market_data::InstrumentId;
use sqlx::Row;

use crate::{Error, Store};

/// A range of times, whose end does not belong to it.
pub type TimeRange = (Timestamp, Timestamp);

/// What the database has of a range of ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickSummary {
    /// The number of ticks.
    pub rows: u64,
    /// The exact sum of the prices, without zeros behind the last digit.
    pub price_sum: String,
    /// The exact sum of the sizes.
    pub size_sum: String,
}

/// What the database has of a range of candles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandleSummary {
    /// The number of candles.
    pub rows: u64,
    /// The start of the first candle; none where there is none.
    pub first: Option<Timestamp>,
    /// The start of the last candle.
    pub last: Option<Timestamp>,
    /// The number of ticks of all candles.
    pub trades: String,
    /// The exact sums of open, high, low, close and volume, without zeros behind the last digit.
    pub sums: [String; 5],
}

/// Returns the time of the first tick of an instrument within a range.
pub async fn first_tick(store: &Store, instrument: InstrumentId, range: TimeRange) -> Result<Option<Timestamp>, Error> {
    let query = "SELECT at FROM ticks WHERE instrument_id = $1 AND at >= $2 AND at < $3 ORDER BY at LIMIT 1";
    time_of_tick(store, query, instrument, range).await
}

/// Returns the time of the last tick of an instrument within a range.
pub async fn last_tick(store: &Store, instrument: InstrumentId, range: TimeRange) -> Result<Option<Timestamp>, Error> {
    let query = "SELECT at FROM ticks WHERE instrument_id = $1 AND at >= $2 AND at < $3 ORDER BY at DESC LIMIT 1";
    time_of_tick(store, query, instrument, range).await
}

/// Returns the time that a query about the ticks of an instrument within a range selects.
async fn time_of_tick(
    store: &Store,
    query: &'static str,
    instrument: InstrumentId,
    (from, to): TimeRange,
) -> Result<Option<Timestamp>, Error> {
    let query = sqlx::query_scalar(query).bind(instrument).bind(from.datetime()).bind(to.datetime());
    let at: Option<chrono::DateTime<chrono::Utc>> = query.fetch_optional(store.pool()).await?;
    Ok(at.map(Timestamp::from))
}

/// Returns the start of the first candle of an instrument within a range.
pub async fn first_candle(
    store: &Store,
    (instrument, interval): (InstrumentId, Interval),
    (from, to): TimeRange,
) -> Result<Option<Timestamp>, Error> {
    let start: Option<chrono::DateTime<chrono::Utc>> = sqlx::query_scalar(
        "SELECT start FROM candles WHERE instrument_id = $1 AND interval_seconds = $2 AND start >= $3 AND start < $4
         ORDER BY start LIMIT 1",
    )
    .bind(instrument)
    .bind(interval.span().as_seconds() as i32)
    .bind(from.datetime())
    .bind(to.datetime())
    .fetch_optional(store.pool())
    .await?;
    Ok(start.map(Timestamp::from))
}

/// Counts the ticks of an instrument within a range.
pub async fn count_ticks(store: &Store, instrument: InstrumentId, (from, to): TimeRange) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM ticks WHERE instrument_id = $1 AND at >= $2 AND at < $3")
        .bind(instrument)
        .bind(from.datetime())
        .bind(to.datetime())
        .fetch_one(store.pool())
        .await?;
    Ok(count.unsigned_abs())
}

/// Returns the number and the exact sums of the ticks of an instrument within a range.
pub async fn summarize_ticks(
    store: &Store,
    instrument: InstrumentId,
    (from, to): TimeRange,
) -> Result<TickSummary, Error> {
    let row = sqlx::query(
        "SELECT count(*), trim_scale(coalesce(sum(price), 0))::text, trim_scale(coalesce(sum(size), 0))::text
         FROM ticks WHERE instrument_id = $1 AND at >= $2 AND at < $3",
    )
    .bind(instrument)
    .bind(from.datetime())
    .bind(to.datetime())
    .fetch_one(store.pool())
    .await?;
    let rows: i64 = row.try_get(0)?;
    Ok(TickSummary { rows: rows.unsigned_abs(), price_sum: row.try_get(1)?, size_sum: row.try_get(2)? })
}

/// Returns the number, the edges and the exact sums of the candles of an instrument that start within a range.
pub async fn summarize_candles(
    store: &Store,
    (instrument, interval): (InstrumentId, Interval),
    (from, to): TimeRange,
) -> Result<CandleSummary, Error> {
    let row = sqlx::query(
        "SELECT count(*), min(start), max(start), coalesce(sum(trades), 0)::text,
            trim_scale(coalesce(sum(open), 0))::text, trim_scale(coalesce(sum(high), 0))::text,
            trim_scale(coalesce(sum(low), 0))::text, trim_scale(coalesce(sum(close), 0))::text,
            trim_scale(coalesce(sum(volume), 0))::text
         FROM candles WHERE instrument_id = $1 AND interval_seconds = $2 AND start >= $3 AND start < $4",
    )
    .bind(instrument)
    .bind(interval.span().as_seconds() as i32)
    .bind(from.datetime())
    .bind(to.datetime())
    .fetch_one(store.pool())
    .await?;
    let rows: i64 = row.try_get(0)?;
    let time = |index: usize| -> Result<Option<Timestamp>, Error> {
        let at: Option<chrono::DateTime<chrono::Utc>> = row.try_get(index)?;
        Ok(at.map(Timestamp::from))
    };
    Ok(CandleSummary {
        rows: rows.unsigned_abs(),
        first: time(1)?,
        last: time(2)?,
        trades: row.try_get(3)?,
        sums: [row.try_get(4)?, row.try_get(5)?, row.try_get(6)?, row.try_get(7)?, row.try_get(8)?],
    })
}
