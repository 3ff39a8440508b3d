//! Lists of candles, whose numbers stay as the database sent them.

use events::{Interval, Timestamp};
use market_data::InstrumentId;
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Numeric, Store, pg::row::indexed_time};

/// The requested candles of an instrument.
#[derive(Debug, Clone, Copy)]
pub struct CandleRange {
    /// The number of the instrument.
    pub instrument: InstrumentId,
    /// The width of a candle.
    pub interval: Interval,
    /// The first time at which a candle may start.
    pub from: Timestamp,
    /// The first time at which none may start any more.
    pub to: Timestamp,
    /// The largest number of candles.
    pub limit: i64,
}

/// A candle as its row has it.
#[derive(Debug, Clone, Copy)]
pub struct CandleRow<'row> {
    /// The start of the candle's interval.
    pub start: Timestamp,
    /// The first price in order of (time, position).
    pub open: Numeric<'row>,
    /// The highest price.
    pub high: Numeric<'row>,
    /// The lowest price.
    pub low: Numeric<'row>,
    /// The last price in order of (time, position).
    pub close: Numeric<'row>,
    /// The exact sum of the sizes, in the base asset.
    pub volume: Numeric<'row>,
    /// The number of ticks.
    pub trades: i64,
}

/// The rows of a list of candles, oldest first.
#[derive(Debug, Default)]
pub struct CandleRows(Vec<PgRow>);

/// Reads the candles of an instrument, oldest first.
pub const CANDLES: &str = "
    SELECT start, open, high, low, close, volume, trades FROM candles
    WHERE instrument_id = $1 AND interval_seconds = $2 AND start >= $3 AND start < $4
    ORDER BY start LIMIT $5";

/// Returns the candles of an instrument that start within a range, oldest first.
pub async fn read(store: &Store, range: CandleRange) -> Result<CandleRows, Error> {
    let CandleRange { instrument, interval, from, to, limit } = range;
    let query = sqlx::query(CANDLES)
        .bind(instrument)
        .bind(interval.span().as_seconds() as i32)
        .bind(from.datetime())
        .bind(to.datetime())
        .bind(limit);
    Ok(CandleRows(store.fetch_hot(query).await?))
}

impl CandleRows {
    /// Returns the number of candles.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no candle.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the start of a candle; none where there are fewer.
    pub fn start(&self, index: usize) -> Result<Option<Timestamp>, Error> {
        self.0.get(index).map(|row| indexed_time(row, 0)).transpose()
    }

    /// Returns the candles. A row that cannot be read is an error.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<CandleRow<'_>, Error>> {
        self.0.iter().map(read_candle)
    }
}

fn read_candle(row: &PgRow) -> Result<CandleRow<'_>, Error> {
    Ok(CandleRow {
        start: indexed_time(row, 0)?,
        open: Numeric::read(row, 1)?,
        high: Numeric::read(row, 2)?,
        low: Numeric::read(row, 3)?,
        close: Numeric::read(row, 4)?,
        volume: Numeric::read(row, 5)?,
        trades: row.try_get(6)?,
    })
}
