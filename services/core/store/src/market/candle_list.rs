//! Lists of candles, whose numbers stay as the database sent them.

use chrono::{DateTime, Utc};
use events::{Interval, Period, Timestamp};
use market_data::InstrumentId;
use sqlx::{
    Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use crate::{
    Error, Numeric, Store,
    pg::row::{self, indexed_time},
};

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

/// The width of a candle that can be read: those that are stored, and six hours, which are folded from hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandleWidth {
    /// A width whose candles are stored.
    Stored(Interval),
    /// Six hours, which begin at 00:00, 06:00, 12:00 and 18:00 UTC.
    SixHours,
}

impl CandleWidth {
    /// Returns the time that a candle spans.
    pub const fn span(self) -> Period {
        match self {
            Self::Stored(interval) => interval.span(),
            Self::SixHours => Period::seconds(6 * 3_600),
        }
    }
}

/// The requested candles of an instrument, of which the newest are read.
#[derive(Debug, Clone, Copy)]
pub struct NewestCandles {
    /// The number of the instrument.
    pub instrument: InstrumentId,
    /// The width of a candle.
    pub width: CandleWidth,
    /// The first time at which a candle may start.
    pub from: Timestamp,
    /// The first time at which none may start any more.
    pub to: Timestamp,
    /// The largest number of candles.
    pub limit: u16,
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
    /// The number of ticks that have changed the candle after its close.
    pub revision: i64,
}

/// The rows of a list of candles.
#[derive(Debug, Default)]
pub struct CandleRows(Vec<PgRow>);

/// A candle of a page, whose numbers are the text that the database gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleText<'page> {
    /// The start of the candle's interval.
    pub start: Timestamp,
    /// The first price in order of (time, position).
    pub open: &'page str,
    /// The highest price.
    pub high: &'page str,
    /// The lowest price.
    pub low: &'page str,
    /// The last price in order of (time, position).
    pub close: &'page str,
    /// The exact sum of the sizes, in the base asset.
    pub volume: &'page str,
    /// The number of ticks.
    pub trades: &'page str,
    /// The number of ticks that have changed the candle after its close.
    pub revision: &'page str,
}

/// A page of candles, which the database has sent as one row, so that there is no row of each candle to decode.
#[derive(Debug)]
pub struct CandlePage {
    starts: Vec<Timestamp>,
    row: PgRow,
}

/// Reads the candles of an instrument, oldest first.
pub const CANDLES: &str = "
    SELECT start, open, high, low, close, volume, trades, revision FROM candles
    WHERE instrument_id = $1 AND interval_seconds = $2 AND start >= $3 AND start < $4
    ORDER BY start LIMIT $5";

/// Reads the candles of an instrument, oldest first, as one row: their starts, and a line of numbers for each of them.
const PAGE: &str = "
    SELECT array_agg(start), string_agg(numbers, E'\\n') FROM (
        SELECT start, concat_ws(' ', open, high, low, close, volume, trades, revision) AS numbers FROM candles
        WHERE instrument_id = $1 AND interval_seconds = $2 AND start >= $3 AND start < $4
        ORDER BY start LIMIT $5) AS candle";

/// Reads the candles of an instrument, newest first.
const NEWEST: &str = "
    SELECT start, open, high, low, close, volume, trades, revision FROM candles
    WHERE instrument_id = $1 AND interval_seconds = $2 AND start >= $3 AND start < $4
    ORDER BY start DESC LIMIT $5";

/// Folds hours into candles of six hours, newest first. As many hours as the candles can have at most are read; the oldest of them
/// may be cut off from its candle only where that is beyond the limit.
const NEWEST_SIX_HOURS: &str = "
    SELECT date_bin('6 hours', start, timestamptz 'epoch'), (array_agg(open ORDER BY start))[1], max(high), min(low),
        (array_agg(close ORDER BY start DESC))[1], sum(volume), sum(trades)::bigint, sum(revision)::bigint
    FROM (SELECT start, open, high, low, close, volume, trades, revision FROM candles
          WHERE instrument_id = $1 AND interval_seconds = $2 AND start >= $3 AND start < $4
          ORDER BY start DESC LIMIT 6 * $5) AS hour
    GROUP BY 1 ORDER BY 1 DESC LIMIT $5";

/// Returns the newest candles of an instrument that start within a range, newest first.
pub async fn read_newest(store: &Store, newest: NewestCandles) -> Result<CandleRows, Error> {
    let NewestCandles { instrument, width, from, to, limit } = newest;
    let (query, stored) = match width {
        CandleWidth::Stored(interval) => (NEWEST, interval),
        CandleWidth::SixHours => (NEWEST_SIX_HOURS, Interval::Hour),
    };
    let query = sqlx::query(query)
        .bind(instrument)
        .bind(stored.span().as_seconds() as i32)
        .bind(first_start(from, width).datetime())
        .bind(first_start(to, width).datetime())
        .bind(i64::from(limit));
    Ok(CandleRows(store.fetch_hot(query).await?))
}

/// Returns the first time at or behind `time` at which a candle can start.
fn first_start(time: Timestamp, width: CandleWidth) -> Timestamp {
    let span = width.span().micros();
    let start = time.micros().div_euclid(span) * span;
    let start = if start == time.micros() { start } else { start.saturating_add(span) };
    Timestamp::from_micros(start).unwrap_or(Timestamp::LAST)
}

/// Returns the candles of an instrument that start within a range, oldest first.
pub async fn read(store: &Store, range: CandleRange) -> Result<CandleRows, Error> {
    Ok(CandleRows(store.fetch_hot(in_range(CANDLES, range)).await?))
}

/// Returns the candles of an instrument that start within a range, oldest first, as text.
pub async fn read_page(store: &Store, range: CandleRange) -> Result<CandlePage, Error> {
    let row = store.fetch_hot(in_range(PAGE, range)).await?.pop();
    let row = row.ok_or_else(|| row::unreadable("an aggregate has no row"))?;
    let starts: Option<Vec<DateTime<Utc>>> = row.try_get(0)?;
    Ok(CandlePage { starts: starts.unwrap_or_default().into_iter().map(Timestamp::from).collect(), row })
}

fn in_range(query: &'static str, range: CandleRange) -> Query<'static, Postgres, PgArguments> {
    let CandleRange { instrument, interval, from, to, limit } = range;
    sqlx::query(query)
        .bind(instrument)
        .bind(interval.span().as_seconds() as i32)
        .bind(from.datetime())
        .bind(to.datetime())
        .bind(limit)
}

impl CandlePage {
    /// Returns the number of candles.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns whether there is no candle.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Returns the start of a candle; none where there are fewer.
    pub fn start(&self, index: usize) -> Option<Timestamp> {
        self.starts.get(index).copied()
    }

    /// Returns the candles. Text that lacks a number is an error.
    pub fn iter(&self) -> Result<impl ExactSizeIterator<Item = Result<CandleText<'_>, Error>>, Error> {
        let text: Option<&str> = self.row.try_get(1)?;
        let mut lines = text.unwrap_or_default().split('\n');
        Ok(self.starts.iter().map(move |start| {
            let mut numbers = lines.next().unwrap_or_default().split(' ');
            let mut number = || numbers.next().ok_or_else(|| row::unreadable("a number of a candle is missing"));
            Ok(CandleText {
                start: *start,
                open: number()?,
                high: number()?,
                low: number()?,
                close: number()?,
                volume: number()?,
                trades: number()?,
                revision: number()?,
            })
        }))
    }
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

    /// Returns the part of the range that they were read of behind the last of them; none where there are no more.
    pub fn rest(&self, range: CandleRange) -> Result<Option<CandleRange>, Error> {
        let Some(last) = self.0.last().filter(|_| self.len() as i64 >= range.limit) else { return Ok(None) };
        let behind = Timestamp::from_micros(indexed_time(last, 0)?.micros() + 1);
        Ok(behind.ok().map(|from| CandleRange { from, ..range }))
    }

    /// Returns the candles. A row that cannot be read is an error.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Result<CandleRow<'_>, Error>> + ExactSizeIterator {
        self.0.iter().map(read_candle)
    }
}

/// Reads the columns of a candle, which are the first ones of the row.
pub(super) fn read_candle(row: &PgRow) -> Result<CandleRow<'_>, Error> {
    Ok(CandleRow {
        start: indexed_time(row, 0)?,
        open: Numeric::read(row, 1)?,
        high: Numeric::read(row, 2)?,
        low: Numeric::read(row, 3)?,
        close: Numeric::read(row, 4)?,
        volume: Numeric::read(row, 5)?,
        trades: row.try_get(6)?,
        revision: row.try_get(7)?,
    })
}
