//! Pages of whole ticks.

use events::{
    Symbol, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use market_data::{InstrumentId, StoredTick, TickPosition};
use sqlx::{Row, postgres::PgRow};

use crate::{
    Error, Numeric, Store, bigint,
    market::{
        tick_list::ColumnId,
        tick_rows,
        ticks::{kind, source},
    },
    pg::row::{self, indexed_time},
    smallint,
};

/// A symbol at a venue that has been quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Market {
    /// The venue that quotes it.
    pub venue: Venue,
    /// The symbol that is quoted.
    pub symbol: Symbol,
    /// The number of the instrument.
    pub instrument: InstrumentId,
}

/// The ticks that are exported: those of one symbol within a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickSelection {
    /// The symbol of the ticks.
    pub symbol: Symbol,
    /// The venue; `None` means the ticks of all venues.
    pub venue: Option<Venue>,
    /// The start of the range, inclusive.
    pub from: Timestamp,
    /// The end of the range, exclusive.
    pub to: Timestamp,
}

/// The place behind a tick in a selection. Unlike the cursor of a list it tells any two ticks apart: positions of two creations
/// of the stream may be equal. Bookmarks are in the order of the ticks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TickBookmark {
    at: Timestamp,
    position: TickPosition,
    instrument: InstrumentId,
    column_id: String,
}

/// A stored tick with all its columns.
#[derive(Debug, Clone, Copy)]
pub struct ExportedTick<'row> {
    /// The venue that quoted the price.
    pub venue: &'row str,
    /// The time of the tick.
    pub at: Timestamp,
    /// The price in the quote asset.
    pub price: Numeric<'row>,
    /// The traded amount in the base asset, where the source reports it.
    pub size: Option<Numeric<'row>>,
    /// The id, which is unique within the venue and symbol.
    pub id: ColumnId<'row>,
    /// The kind of the tick.
    pub kind: TickKind,
    /// The way by which it was received.
    pub source: TickSource,
    /// The time at which it was received.
    pub received_at: Timestamp,
    /// The position of the tick in stream `TICKS`.
    pub position: TickPosition,
}

impl<'tick> From<StoredTick<'tick>> for ExportedTick<'tick> {
    /// Takes a tick that comes from elsewhere. It is written as its row would be.
    fn from(tick: StoredTick<'tick>) -> Self {
        Self {
            venue: tick.venue.as_str(),
            at: tick.at,
            price: tick.price.decimal().into(),
            size: tick.size.map(|size| size.decimal().into()),
            id: ColumnId { micros: None, rest: tick.id },
            kind: tick.kind,
            source: tick.source,
            received_at: tick.received_at,
            position: tick.position,
        }
    }
}

/// A page of ticks in order of (time, position).
#[derive(Debug)]
pub struct ExportedTicks(Vec<PgRow>);

/// Reads the ticks of each instrument with one index scan, and merges at most `limit` rows of each.
const TICKS: &str = "
    SELECT venue, instrument.id, tick.* FROM instruments instrument CROSS JOIN LATERAL (
        SELECT trade_id, sequence, index, price, size, at, received_at, kind, source FROM ticks
        WHERE instrument_id = instrument.id AND at >= $3 AND at < $4
            AND (at, sequence, index, instrument_id, trade_id) > ($3, $5, $6, $7, $8)
        ORDER BY at, sequence, index, trade_id LIMIT $9) AS tick
    WHERE symbol = $1 AND ($2::text IS NULL OR venue = $2)
    ORDER BY at, sequence, index, instrument.id, trade_id LIMIT $9";

/// Returns at most `limit` ticks of a selection behind a bookmark, oldest first.
pub async fn ticks(
    store: &Store,
    selection: &TickSelection,
    after: Option<&TickBookmark>,
    limit: u16,
) -> Result<ExportedTicks, Error> {
    let TickSelection { symbol, venue, from, to } = selection;
    // The first position lies before every tick of its time.
    let position = after.map(|after| after.position).unwrap_or_default();
    let rows = sqlx::query(TICKS)
        .bind(symbol.as_str())
        .bind(venue.as_ref().map(Venue::as_str))
        .bind(after.map_or(*from, |after| after.at).datetime())
        .bind(to.datetime())
        .bind(bigint(position.sequence))
        .bind(smallint(position.index))
        .bind(after.map_or(0, |after| after.instrument))
        .bind(after.map_or("", |after| &after.column_id))
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    Ok(ExportedTicks(rows))
}

/// Returns the markets that have been quoted, in order of venue and symbol, those of one venue or symbol only where they are given.
pub async fn markets(store: &Store, venue: Option<&Venue>, symbol: Option<&Symbol>) -> Result<Vec<Market>, Error> {
    let rows = sqlx::query(
        "SELECT venue, symbol, id FROM instruments
         WHERE ($1::text IS NULL OR venue = $1) AND ($2::text IS NULL OR symbol = $2) ORDER BY venue, symbol",
    )
    .bind(venue.map(Venue::as_str))
    .bind(symbol.map(Symbol::as_str))
    .fetch_all(store.pool())
    .await?;
    let read = |row| Ok(Market { venue: row::venue(row)?, symbol: row::symbol(row)?, instrument: row.try_get("id")? });
    rows.iter().map(read).collect()
}

impl TickBookmark {
    /// Returns the place behind a tick of an instrument.
    pub fn behind(instrument: InstrumentId, tick: &StoredTick<'_>) -> Self {
        let StoredTick { at, position, .. } = *tick;
        Self { at, position, instrument, column_id: tick_rows::column_id(tick).into_owned() }
    }

    /// Returns the time of the tick.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl ExportedTicks {
    /// Returns the number of ticks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no tick.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ticks. A row that cannot be read is an error.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Result<ExportedTick<'_>, Error>> {
        self.0.iter().map(read)
    }

    /// Returns the place behind the last tick; none on a page without ticks.
    pub fn bookmark(&self) -> Result<Option<TickBookmark>, Error> {
        let Some(row) = self.0.last() else { return Ok(None) };
        let (at, position) = (indexed_time(row, 7)?, position(row)?);
        Ok(Some(TickBookmark { at, position, instrument: row.try_get(1)?, column_id: row.try_get(2)? }))
    }
}

fn position(row: &PgRow) -> Result<TickPosition, Error> {
    let (sequence, index): (i64, i16) = (row.try_get(3)?, row.try_get(4)?);
    Ok(TickPosition { sequence: sequence as u64, index: index as u16 })
}

fn read(row: &PgRow) -> Result<ExportedTick<'_>, Error> {
    let at = indexed_time(row, 7)?;
    Ok(ExportedTick {
        venue: row.try_get(0)?,
        id: tick_rows::full_id(row.try_get(2)?, at),
        position: position(row)?,
        price: Numeric::read(row, 5)?,
        size: Numeric::read_optional(row, 6)?,
        at,
        received_at: indexed_time(row, 8)?,
        kind: kind(row.try_get(9)?)?,
        source: source(row.try_get(10)?)?,
    })
}
