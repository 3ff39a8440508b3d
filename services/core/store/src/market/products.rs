//! What lists of products show of each symbol at its primary venue: how finely it is quoted, and its last day.

use events::{Price, Symbol, Timestamp, Venue};
use market_data::InstrumentId;
use sqlx::{Row, postgres::PgRow};

use crate::{
    Error, Store,
    market::{
        candle_list::{CandleRow, read_candle},
        queries::Latest,
    },
    pg::row,
};

/// A symbol at its primary venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The number of the instrument.
    pub instrument: InstrumentId,
    /// The symbol that is quoted.
    pub symbol: Symbol,
    /// The symbol's primary venue.
    pub venue: Venue,
    /// The newest price that the history has.
    pub price: Price,
    /// The number of decimal places of the finest price in the newest candles.
    pub price_places: u32,
}

/// Reads the finest price from the newest hundred days and the newest hundred hours: an index lookup for each, however long the
/// history is.
const PRODUCTS: &str = "
    SELECT instrument.id, symbol, venue, latest.price, greatest(min_scale(latest.price), finest.scale) AS scale
    FROM (SELECT id, symbol, venue FROM instruments
          WHERE is_primary AND ($1::text[] IS NULL OR symbol = ANY ($1))) AS instrument
    JOIN latest_prices latest ON latest.instrument_id = instrument.id
    LEFT JOIN LATERAL (
        SELECT max(greatest(min_scale(open), min_scale(high), min_scale(low), min_scale(close))) AS scale FROM (
            (SELECT open, high, low, close FROM candles
             WHERE instrument_id = instrument.id AND interval_seconds = 86400 ORDER BY start DESC LIMIT 100)
            UNION ALL
            (SELECT open, high, low, close FROM candles
             WHERE instrument_id = instrument.id AND interval_seconds = 3600 ORDER BY start DESC LIMIT 100)) AS candle
        ) AS finest ON true
    ORDER BY symbol LIMIT $2";

/// Returns at most `limit` products, in the order of their symbols.
pub async fn list(store: &Store, limit: i64) -> Result<Vec<Product>, Error> {
    read(store, None, limit).await
}

/// Returns one product; none of a symbol that no venue has quoted.
pub async fn find(store: &Store, symbol: &Symbol) -> Result<Option<Product>, Error> {
    Ok(read(store, Some(vec![symbol.to_string()]), 1).await?.pop())
}

async fn read(store: &Store, only: Option<Vec<String>>, limit: i64) -> Result<Vec<Product>, Error> {
    let rows = sqlx::query(PRODUCTS).bind(only).bind(limit).fetch_all(store.pool()).await?;
    rows.iter().map(read_product).collect()
}

fn read_product(row: &PgRow) -> Result<Product, Error> {
    Ok(Product {
        instrument: row.try_get("id")?,
        symbol: row::symbol(row)?,
        venue: row::venue(row)?,
        price: Price::new(row.try_get("price")?)?,
        price_places: row.try_get::<i32, _>("scale")?.unsigned_abs(),
    })
}

/// Returns the symbols with their primary venues, at most `limit`, in the order of the symbols.
pub async fn names(store: &Store, limit: i64) -> Result<Vec<(Symbol, Venue)>, Error> {
    let query = sqlx::query("SELECT symbol, venue FROM instruments WHERE is_primary ORDER BY symbol LIMIT $1");
    let rows = query.bind(limit).fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((row::symbol(row)?, row::venue(row)?))).collect()
}

/// What an instrument did in a day. The numbers are exact decimal text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRange {
    /// The highest price.
    pub high: String,
    /// The lowest price.
    pub low: String,
    /// The sum of the sizes, in the base asset.
    pub volume: String,
}

impl DayRange {
    /// Returns the range of a day of which nothing but its last price is known.
    pub fn of(price: Price) -> Self {
        Self { high: price.to_string(), low: price.to_string(), volume: "0".into() }
    }
}

/// Sums up the minutes that start within the day before a time.
const DAY_RANGES: &str = "
    SELECT asked.number, range.high::text, range.low::text, range.volume::text
    FROM unnest($1::int[], $2::timestamptz[]) WITH ORDINALITY AS asked (instrument, newest, number)
    CROSS JOIN LATERAL (
        SELECT max(high) AS high, min(low) AS low, sum(volume) AS volume FROM candles
        WHERE instrument_id = asked.instrument AND interval_seconds = 60
            AND start > asked.newest - interval '24 hours' AND start <= asked.newest) AS range
    WHERE range.high IS NOT NULL";

/// Returns what each instrument did in the 24 hours up to the time beside it, in whole minutes and in their order; none without a
/// tick.
pub async fn day_ranges(
    store: &Store,
    instruments: &[(InstrumentId, Timestamp)],
) -> Result<Vec<Option<DayRange>>, Error> {
    let query = sqlx::query(DAY_RANGES)
        .bind(instruments.iter().map(|(instrument, _)| *instrument).collect::<Vec<_>>())
        .bind(instruments.iter().map(|(_, newest)| newest.datetime()).collect::<Vec<_>>());
    let mut ranges = vec![None; instruments.len()];
    for row in &store.fetch_hot(query).await? {
        let number: i64 = row.try_get(0)?;
        if let Some(range) = usize::try_from(number - 1).ok().and_then(|index| ranges.get_mut(index)) {
            *range = Some(DayRange { high: row.try_get(1)?, low: row.try_get(2)?, volume: row.try_get(3)? });
        }
    }
    Ok(ranges)
}

/// Returns what an instrument did in the 24 hours up to its latest price, which the history may not have yet.
pub async fn day_range(store: &Store, latest: &Latest) -> Result<DayRange, Error> {
    let ranges = day_ranges(store, &[(latest.instrument, latest.at)]).await?;
    Ok(ranges.into_iter().flatten().next().unwrap_or_else(|| DayRange::of(latest.price)))
}

/// Reads the hours of the last day of pairs. The day ends with the newest tick of each.
const DAY_HOURS: &str = "
    SELECT hour.*, symbol
    FROM (SELECT id, symbol FROM instruments
          WHERE is_primary AND strpos(symbol, '-') > 0 ORDER BY symbol LIMIT $1) AS instrument
    JOIN latest_prices latest ON latest.instrument_id = instrument.id
    CROSS JOIN LATERAL (
        SELECT start, open, high, low, close, volume, trades, revision FROM candles
        WHERE instrument_id = instrument.id AND interval_seconds = 3600
            AND start > latest.at - interval '24 hours' AND start <= latest.at) AS hour
    ORDER BY symbol, start DESC";

/// The hours of the last day of many symbols, by symbol and then newest first.
#[derive(Debug)]
pub struct DayHours(Vec<PgRow>);

/// Returns the candles of the hours that start within the last day, of at most `limit` pairs at their primary venues.
pub async fn day_hours(store: &Store, limit: i64) -> Result<DayHours, Error> {
    Ok(DayHours(sqlx::query(DAY_HOURS).bind(limit).fetch_all(store.pool()).await?))
}

impl DayHours {
    /// Returns each symbol with one of its hours. A row that cannot be read is an error.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&str, CandleRow<'_>), Error>> {
        self.0.iter().map(|row| Ok((row.try_get("symbol")?, read_candle(row)?)))
    }
}
