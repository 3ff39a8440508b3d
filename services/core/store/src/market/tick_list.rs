//! Lists of ticks, whose numbers stay as the database sent them.

use events::{Symbol, Timestamp, Venue, tick::TickKind};
pub use market_data::TickPosition;
use sqlx::{Row, postgres::PgRow};

pub use super::tick_rows::ColumnId;
use crate::{
    Error, Numeric, Store, bigint,
    market::{tick_rows, ticks},
    pg::row::indexed_time,
    smallint,
};

/// A stored tick.
#[derive(Debug, Clone, Copy)]
pub struct TickRow<'row> {
    /// The venue that quoted the price.
    pub venue: &'row str,
    /// The trade's id, which is unique within the venue and symbol.
    pub trade_id: ColumnId<'row>,
    /// The position of the tick in stream `TICKS`.
    pub position: TickPosition,
    /// The price in the quote asset.
    pub price: Numeric<'row>,
    /// The traded amount in the base asset, where the source reports it.
    pub size: Option<Numeric<'row>>,
    /// The time of the tick.
    pub at: Timestamp,
    /// The kind of the tick.
    pub kind: TickKind,
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
pub struct TickRange {
    /// The venue; `None` means the ticks of all venues.
    pub venue: Option<Venue>,
    /// The start of the range, inclusive.
    pub from: Option<Timestamp>,
    /// The end of the range, exclusive.
    pub to: Option<Timestamp>,
    /// The largest number of ticks.
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

/// The rows of a list of ticks.
#[derive(Debug)]
pub struct TickRows(Vec<PgRow>);

/// Reads the ticks of each instrument with one index scan, and merges at most `limit` rows of each.
const ASCENDING: &str = "
    SELECT venue, tick.* FROM instruments instrument CROSS JOIN LATERAL (
        SELECT trade_id, sequence, index, price, size, at, kind FROM ticks
        WHERE instrument_id = instrument.id AND at >= $3 AND at < $4 AND (at, sequence, index) > ($3, $5, $7)
        ORDER BY at, sequence, index LIMIT $6) AS tick
    WHERE symbol = $1 AND ($2::text IS NULL OR venue = $2)
    ORDER BY at, sequence, index LIMIT $6";
/// Reads the ticks of each instrument with one index scan, newest first, and merges at most `limit` rows of each.
pub const DESCENDING: &str = "
    SELECT venue, tick.* FROM instruments instrument CROSS JOIN LATERAL (
        SELECT trade_id, sequence, index, price, size, at, kind FROM ticks
        WHERE instrument_id = instrument.id AND at >= $3 AND at <= $4 AND (at, sequence, index) < ($4, $5, $7)
        ORDER BY at DESC, sequence DESC, index DESC LIMIT $6) AS tick
    WHERE symbol = $1 AND ($2::text IS NULL OR venue = $2)
    ORDER BY at DESC, sequence DESC, index DESC LIMIT $6";

/// Returns the ticks of a symbol behind `cursor`, in order of (time, position).
pub async fn read(
    store: &Store,
    symbol: &Symbol,
    range: &TickRange,
    order: SortOrder,
    cursor: Option<TickCursor>,
) -> Result<TickRows, Error> {
    let from = range.from.unwrap_or(Timestamp::EPOCH);
    let to = range.to.unwrap_or(Timestamp::LAST);
    // The first position lies before every tick of its time, which includes `from` and excludes `to`.
    let first = TickPosition::default();
    let (query, from, to, position) = match (order, cursor) {
        (SortOrder::Ascending, None) => (ASCENDING, from, to, first),
        (SortOrder::Ascending, Some(cursor)) => (ASCENDING, cursor.at.max(from), to, cursor.position),
        (SortOrder::Descending, None) => (DESCENDING, from, to, first),
        (SortOrder::Descending, Some(cursor)) => (DESCENDING, from, cursor.at.min(to), cursor.position),
    };
    let query = sqlx::query(query)
        .bind(symbol.to_string())
        .bind(range.venue.as_ref().map(Venue::to_string))
        .bind(from.datetime())
        .bind(to.datetime())
        .bind(bigint(position.sequence))
        .bind(range.limit)
        .bind(smallint(position.index));
    Ok(TickRows(store.fetch_hot(query).await?))
}

impl TickRows {
    /// Returns the number of ticks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no tick.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ticks. A row that cannot be read is an error.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<TickRow<'_>, Error>> {
        self.0.iter().map(read_tick)
    }
}

fn read_tick(row: &PgRow) -> Result<TickRow<'_>, Error> {
    let (sequence, index): (i64, i16) = (row.try_get(2)?, row.try_get(3)?);
    let at = indexed_time(row, 6)?;
    Ok(TickRow {
        venue: row.try_get(0)?,
        trade_id: tick_rows::full_id(row.try_get(1)?, at),
        position: TickPosition { sequence: sequence as u64, index: index as u16 },
        price: Numeric::read(row, 4)?,
        size: Numeric::read_optional(row, 5)?,
        at,
        kind: ticks::kind(row.try_get(7)?)?,
    })
}
