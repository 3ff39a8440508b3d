//! The gateway's queries over market data: latest prices, ticks and candles.

use events::{Interval, Price, Size, Symbol, Timestamp, Venue, tick::TickKind};
pub use market_data::TickPosition;
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Store, bigint, market::ticks, optional_price, optional_size, pg::row, smallint};

/// The newest price of a symbol at its primary venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The symbol that is quoted.
    pub symbol: Symbol,
    /// The symbol's primary venue.
    pub venue: Venue,
    /// The price in the quote asset.
    pub price: Price,
    /// The time of the tick.
    pub at: Timestamp,
    /// The last price that was between 24 and 25 hours older, and its time; none where the history has no such price.
    pub day_ago: Option<(Price, Timestamp)>,
}

/// A stored tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickRecord {
    /// The venue that quoted the price.
    pub venue: Venue,
    /// The trade's id, which is unique within the venue and symbol.
    pub trade_id: String,
    /// The position of the tick in stream `TICKS`.
    pub position: TickPosition,
    /// The price in the quote asset.
    pub price: Price,
    /// The traded amount in the base asset, where the source reports it.
    pub size: Option<Size>,
    /// The time of the tick.
    pub at: Timestamp,
    /// The kind of the tick.
    pub kind: TickKind,
}

/// A candle of one instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candle {
    /// The start of the candle's interval.
    pub start: Timestamp,
    /// The first price in order of (time, position).
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last price in order of (time, position).
    pub close: Price,
    /// The exact sum of the sizes, in the base asset, as decimal text: it may have more digits than a `Decimal`.
    pub volume: String,
    /// The number of ticks.
    pub trades: i64,
}

/// The sort order of a list by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortOrder {
    /// The oldest entry comes first.
    Ascending,
    /// The newest entry comes first.
    Descending,
}

/// The requested part of a symbol's history.
#[derive(Debug, Clone)]
pub struct Range {
    /// The venue; `None` means the ticks of all venues, or the candles of the primary venue.
    pub venue: Option<Venue>,
    /// The start of the range, inclusive.
    pub from: Option<Timestamp>,
    /// The end of the range, exclusive.
    pub to: Option<Timestamp>,
    /// The largest number of entries.
    pub limit: i64,
}

/// A position in a list of ticks, just behind one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickCursor {
    /// The time of the last tick that was listed.
    pub at: Timestamp,
    /// The position of that tick.
    pub position: TickPosition,
}

/// Returns how many ticks of a venue, whose times are within a span, were stored from the messages behind `after` up to `until`.
/// A tick that the history had before has the sequence of its first page.
pub async fn count_ticks(
    store: &Store,
    venue: &Venue,
    times: (Timestamp, Timestamp),
    (after, until): (u64, u64),
) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM instruments instrument JOIN ticks tick ON tick.instrument_id = instrument.id
         WHERE instrument.venue = $1 AND tick.at BETWEEN $2 AND $3 AND tick.sequence > $4 AND tick.sequence <= $5",
    )
    .bind(venue.as_str())
    .bind(times.0.datetime())
    .bind(times.1.datetime())
    .bind(bigint(after))
    .bind(bigint(until))
    .fetch_one(store.pool())
    .await?;
    Ok(count as u64)
}

/// Finds the newest price of every primary instrument and the price 24 hours before it, each with one index lookup.
const LATEST: &str = "
    SELECT symbol, venue, latest.price, latest.at, day_ago.price AS day_ago_price, day_ago.at AS day_ago_at
    FROM (SELECT id, symbol, venue FROM instruments
          WHERE is_primary AND ($1::text IS NULL OR symbol = $1) AND ($2::text IS NULL OR symbol > $2)) AS instrument
    JOIN latest_prices latest ON latest.instrument_id = instrument.id
    LEFT JOIN LATERAL (
        SELECT price, at FROM ticks WHERE instrument_id = instrument.id AND at <= latest.at - interval '24 hours'
            AND at >= latest.at - interval '25 hours'
        ORDER BY at DESC, sequence DESC, index DESC LIMIT 1) AS day_ago ON true
    ORDER BY symbol LIMIT $3";

/// Reads the ticks of each instrument with one index scan, and merges at most `limit` rows of each.
const HISTORY_ASCENDING: &str = "
    SELECT venue, tick.* FROM instruments instrument CROSS JOIN LATERAL (
        SELECT trade_id, sequence, index, price, size, at, kind FROM ticks
        WHERE instrument_id = instrument.id AND at >= $3 AND at < $4 AND (at, sequence, index) > ($3, $5, $7)
        ORDER BY at, sequence, index LIMIT $6) AS tick
    WHERE symbol = $1 AND ($2::text IS NULL OR venue = $2)
    ORDER BY at, sequence, index LIMIT $6";
/// Reads the same as [`HISTORY_ASCENDING`], newest first.
const HISTORY_DESCENDING: &str = "
    SELECT venue, tick.* FROM instruments instrument CROSS JOIN LATERAL (
        SELECT trade_id, sequence, index, price, size, at, kind FROM ticks
        WHERE instrument_id = instrument.id AND at >= $3 AND at <= $4 AND (at, sequence, index) < ($4, $5, $7)
        ORDER BY at DESC, sequence DESC, index DESC LIMIT $6) AS tick
    WHERE symbol = $1 AND ($2::text IS NULL OR venue = $2)
    ORDER BY at DESC, sequence DESC, index DESC LIMIT $6";

/// Reads the candles of one instrument: the given venue's, or the primary venue's.
const CANDLES: &str = "
    SELECT start, open, high, low, close, volume::text AS volume, trades FROM candles
    WHERE instrument_id = (SELECT id FROM instruments
                           WHERE symbol = $1 AND (venue = $2 OR ($2::text IS NULL AND is_primary)))
        AND interval_seconds = $3 AND start >= $4 AND start < $5
    ORDER BY start LIMIT $6";

/// Returns whether any venue has quoted a symbol.
pub async fn is_quoted(store: &Store, symbol: &Symbol) -> Result<bool, Error> {
    let query = "SELECT EXISTS (SELECT FROM instruments WHERE symbol = $1)";
    Ok(sqlx::query_scalar(query).bind(symbol.as_str()).fetch_one(store.pool()).await?)
}

/// Returns the newest price of one symbol.
pub async fn latest(store: &Store, symbol: &Symbol) -> Result<Option<Latest>, Error> {
    Ok(find_latest(store, Some(symbol), None, 1).await?.pop())
}

/// Returns the newest prices of at most `limit` symbols after `after`, in the order of the symbols.
pub async fn list_latest(store: &Store, after: Option<&Symbol>, limit: i64) -> Result<Vec<Latest>, Error> {
    find_latest(store, None, after, limit).await
}

async fn find_latest(
    store: &Store,
    only: Option<&Symbol>,
    after: Option<&Symbol>,
    limit: i64,
) -> Result<Vec<Latest>, Error> {
    let rows = sqlx::query(LATEST)
        .bind(only.map(Symbol::as_str))
        .bind(after.map(Symbol::as_str))
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read_latest).collect()
}

/// Returns the ticks of a symbol behind `cursor`, in order of (time, position).
pub async fn list_ticks(
    store: &Store,
    symbol: &Symbol,
    range: &Range,
    order: SortOrder,
    cursor: Option<TickCursor>,
) -> Result<Vec<TickRecord>, Error> {
    let from = range.from.unwrap_or(Timestamp::EPOCH);
    let to = range.to.unwrap_or(Timestamp::LAST);
    // The first position lies before every tick of its time, which includes `from` and excludes `to`.
    let first = TickPosition::default();
    let (query, from, to, position) = match (order, cursor) {
        (SortOrder::Ascending, None) => (HISTORY_ASCENDING, from, to, first),
        (SortOrder::Ascending, Some(cursor)) => (HISTORY_ASCENDING, cursor.at.max(from), to, cursor.position),
        (SortOrder::Descending, None) => (HISTORY_DESCENDING, from, to, first),
        (SortOrder::Descending, Some(cursor)) => (HISTORY_DESCENDING, from, cursor.at.min(to), cursor.position),
    };
    let rows = sqlx::query(query)
        .bind(symbol.as_str())
        .bind(range.venue.as_ref().map(Venue::as_str))
        .bind(from.datetime())
        .bind(to.datetime())
        .bind(bigint(position.sequence))
        .bind(range.limit)
        .bind(smallint(position.index))
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read_tick).collect()
}

/// Returns the candles of a symbol that start within the range, oldest first.
pub async fn list_candles(
    store: &Store,
    symbol: &Symbol,
    interval: Interval,
    range: &Range,
) -> Result<Vec<Candle>, Error> {
    let rows = sqlx::query(CANDLES)
        .bind(symbol.as_str())
        .bind(range.venue.as_ref().map(Venue::as_str))
        .bind(interval.span().as_seconds() as i32)
        .bind(range.from.unwrap_or(Timestamp::EPOCH).datetime())
        .bind(range.to.unwrap_or(Timestamp::LAST).datetime())
        .bind(range.limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read_candle).collect()
}

fn venue(row: &PgRow) -> Result<Venue, Error> {
    Ok(Venue::parse(row.try_get("venue")?).map_err(|error| sqlx::Error::Decode(error.into()))?)
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp, Error> {
    Ok(row.try_get::<chrono::DateTime<chrono::Utc>, _>(column)?.into())
}

fn read_latest(row: &PgRow) -> Result<Latest, Error> {
    let symbol = Symbol::parse(row.try_get("symbol")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let price = Price::new(row.try_get("price")?)?;
    let day_ago_price = optional_price(row.try_get("day_ago_price")?)?;
    let day_ago = day_ago_price.zip(row::optional_time(row, "day_ago_at")?);
    Ok(Latest { symbol, venue: venue(row)?, price, at: time(row, "at")?, day_ago })
}

fn read_tick(row: &PgRow) -> Result<TickRecord, Error> {
    Ok(TickRecord {
        venue: venue(row)?,
        trade_id: ticks::trade_id(row)?,
        position: ticks::position(row)?,
        price: Price::new(row.try_get("price")?)?,
        size: optional_size(row.try_get("size")?)?,
        at: time(row, "at")?,
        kind: ticks::kind(row)?,
    })
}

fn read_candle(row: &PgRow) -> Result<Candle, Error> {
    let price = |column: &str| -> Result<Price, Error> { Ok(Price::new(row.try_get(column)?)?) };
    Ok(Candle {
        start: time(row, "start")?,
        open: price("open")?,
        high: price("high")?,
        low: price("low")?,
        close: price("close")?,
        volume: row.try_get("volume")?,
        trades: row.try_get("trades")?,
    })
}
