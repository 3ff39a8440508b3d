//! Rows into parts of one format.

use bytes::Bytes;
use events::{Interval, Symbol};
use object_archive::manifest::Edge;
#[cfg(feature = "export")]
use object_archive::{
    parquet_part::{self, PartEncoder},
    sums::PLACES,
    table::{RowBuffer, TableColumns, Value},
};
use store::market::{
    candle_list::CandleRow,
    export::{ExportedTick, TextFormat},
};

use crate::ArchiveError;

/// A text part ends behind the page with which it has this many bytes.
const LARGEST_TEXT: usize = 96 << 20;

/// The format of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines of text.
    Text(TextFormat),
    /// Columns in Parquet's format.
    #[cfg(feature = "export")]
    Parquet,
}

impl Format {
    /// Returns the ending of the names of files.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Text(TextFormat::Csv) => "csv",
            Self::Text(TextFormat::Ndjson) => "ndjson",
            #[cfg(feature = "export")]
            Self::Parquet => parquet_part::ENDING,
        }
    }
}

/// A part as it is written.
#[derive(Debug)]
pub(crate) struct EncodedPart {
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
    pub(crate) first: Edge,
    pub(crate) last: Edge,
}

/// A part that is being made, in memory.
pub(crate) struct Encoder {
    rows: u64,
    edges: Option<(Edge, Edge)>,
    body: Body,
}

enum Body {
    Text(TextFormat, Vec<u8>),
    #[cfg(feature = "export")]
    Parquet(Box<PartEncoder>, RowBuffer),
}

impl Encoder {
    /// Begins a part of ticks.
    pub(crate) fn of_ticks(format: Format) -> Result<Self, ArchiveError> {
        Ok(Self::new(match format {
            Format::Text(text) => Body::Text(text, text.tick_header().into()),
            #[cfg(feature = "export")]
            Format::Parquet => parquet_body(&object_archive::table::TICKS)?,
        }))
    }

    /// Begins a part of candles.
    pub(crate) fn of_candles(format: Format) -> Result<Self, ArchiveError> {
        Ok(Self::new(match format {
            Format::Text(text) => Body::Text(text, text.candle_header().into()),
            #[cfg(feature = "export")]
            Format::Parquet => parquet_body(&object_archive::table::CANDLES)?,
        }))
    }

    fn new(body: Body) -> Self {
        Self { rows: 0, edges: None, body }
    }

    /// Appends a tick.
    pub(crate) fn push_tick(&mut self, symbol: &Symbol, tick: &ExportedTick<'_>) -> Result<(), ArchiveError> {
        let position = (tick.position.sequence as i64, i64::from(tick.position.index));
        let edge = || Edge { at: tick.at, position, id: tick.id.to_string() };
        match &mut self.body {
            Body::Text(format, text) => format.write_tick(symbol, tick, text),
            #[cfg(feature = "export")]
            Body::Parquet(_, rows) => {
                let too_long = || ArchiveError::TooManyDigits(format!("tick {} of {symbol}", tick.id));
                let size = tick.size.as_ref().map(|size| size.scaled(PLACES).ok_or_else(too_long)).transpose()?;
                rows.push([
                    Value::Time(tick.at),
                    Value::Integer(position.0),
                    Value::Integer(position.1),
                    Value::Decimal(Some(tick.price.scaled(PLACES).ok_or_else(too_long)?)),
                    Value::Decimal(size),
                    Value::Text(Some(&tick.id.to_string())),
                    Value::Text(Some(tick.kind.as_str())),
                    Value::Text(Some(tick.source.as_str())),
                    Value::Time(tick.received_at),
                    Value::Integer(tick.price.places().into()),
                    Value::Integer(tick.size.map_or(0, |size| size.places().into())),
                ]);
            }
        }
        self.count(edge);
        Ok(())
    }

    /// Appends a candle of a market. A volume that has more digits than the column is written as text beside it.
    pub(crate) fn push_candle(
        &mut self,
        (venue, symbol): (&str, &Symbol),
        interval: Interval,
        candle: &CandleRow<'_>,
    ) -> Result<(), ArchiveError> {
        let edge = || Edge { at: candle.start, position: (candle.revision, 0), id: candle.start.to_string() };
        match &mut self.body {
            Body::Text(format, text) => format.write_candle((venue, symbol), interval, candle, text),
            #[cfg(feature = "export")]
            Body::Parquet(_, rows) => {
                let too_long = || ArchiveError::TooManyDigits(format!("candle {} of {symbol}", candle.start));
                let price = |price: &store::Numeric<'_>| price.scaled(PLACES).ok_or_else(too_long).map(Some);
                let volume = candle.volume.scaled(PLACES);
                let text = volume.is_none().then(|| candle.volume.to_string());
                rows.push([
                    Value::Time(candle.start),
                    Value::Integer(candle.revision),
                    Value::Decimal(price(&candle.open)?),
                    Value::Decimal(price(&candle.high)?),
                    Value::Decimal(price(&candle.low)?),
                    Value::Decimal(price(&candle.close)?),
                    Value::Decimal(volume),
                    Value::Text(text.as_deref()),
                    Value::Integer(candle.trades),
                ]);
            }
        }
        self.count(edge);
        Ok(())
    }

    fn count(&mut self, edge: impl FnOnce() -> Edge) {
        self.rows += 1;
        let edge = edge();
        match &mut self.edges {
            Some((_, last)) => *last = edge,
            None => self.edges = Some((edge.clone(), edge)),
        }
    }

    /// Encodes what has gathered in memory, where that is much, and returns whether further rows belong to another part. It takes
    /// the processor for long, so it runs where it holds up nobody.
    pub(crate) async fn relieve(self) -> Result<(Self, bool), ArchiveError> {
        match self.body {
            Body::Text(_, ref text) => {
                let is_full = text.len() >= LARGEST_TEXT;
                Ok((self, is_full))
            }
            #[cfg(feature = "export")]
            Body::Parquet(part, rows) if rows.len() >= parquet_part::ROWS_PER_GROUP => {
                let (part, rows) = append(part, rows).await?;
                let is_full = part.is_full();
                Ok((Self { body: Body::Parquet(part, rows), ..self }, is_full))
            }
            #[cfg(feature = "export")]
            Body::Parquet(..) => Ok((self, false)),
        }
    }

    /// Ends the part; none where it has no rows.
    pub(crate) async fn finish(self) -> Result<Option<EncodedPart>, ArchiveError> {
        let Some((first, last)) = self.edges else { return Ok(None) };
        let bytes = match self.body {
            Body::Text(_, text) => text.into(),
            #[cfg(feature = "export")]
            Body::Parquet(part, rows) => {
                let (part, _) = append(part, rows).await?;
                part.finish()?
            }
        };
        Ok(Some(EncodedPart { bytes, rows: self.rows, first, last }))
    }
}

#[cfg(feature = "export")]
fn parquet_body(table: &'static TableColumns) -> Result<Body, ArchiveError> {
    Ok(Body::Parquet(Box::new(PartEncoder::new(table)?), RowBuffer::new(table)))
}

#[cfg(feature = "export")]
async fn append(
    mut part: Box<PartEncoder>,
    mut rows: RowBuffer,
) -> Result<(Box<PartEncoder>, RowBuffer), ArchiveError> {
    let work = tokio::task::spawn_blocking(move || {
        part.append(&rows)?;
        rows.clear();
        Ok((part, rows))
    });
    work.await.map_err(ArchiveError::Panicked)?
}
