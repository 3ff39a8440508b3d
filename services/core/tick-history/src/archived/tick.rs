//! A tick of the archive, digit by digit as the database had it.

use std::sync::Arc;

use events::{
    Price, Size, Timestamp,
    tick::{TickKind, TickSource},
};
use market_data::{StoredTick, TickPosition};
use object_archive::{sums::PLACES, table::RowBuffer};
use rust_decimal::Decimal;
use store::market::export::{Market, TickBookmark};

/// A tick with what it is of.
#[derive(Debug)]
pub(super) struct ArchivedTick {
    market: Arc<Market>,
    pub(super) at: Timestamp,
    position: TickPosition,
    price: Price,
    size: Option<Size>,
    id: Box<str>,
    kind: TickKind,
    source: TickSource,
    received_at: Timestamp,
}

impl ArchivedTick {
    /// Reads a row; the error says what is wrong with it.
    pub(super) fn read(market: &Arc<Market>, rows: &RowBuffer, row: usize) -> Result<Self, String> {
        let [at, sequence, index, price, size, id, kind, source, received_at, price_places, size_places] =
            rows.values()
        else {
            return Err("it has other columns than ticks".into());
        };
        let integer = |column: &object_archive::table::Values| column.integer(row).ok_or("a number is missing");
        let time = |column| Timestamp::from_micros(integer(column)?).map_err(|error| error.to_string());
        let price = decimal(price.decimal(row).ok_or("the price is missing")?, integer(price_places)?)?;
        let size = match size.decimal(row) {
            Some(size) => Some(decimal(size, integer(size_places)?)?),
            None => None,
        };
        let kinds = [TickKind::Trade, TickKind::Quote, TickKind::Poll];
        let sources = [TickSource::Live, TickSource::Backfill, TickSource::File, TickSource::Simulator];
        let kind = kinds.into_iter().find(|known| kind.text(row) == Some(known.as_str()));
        let source = sources.into_iter().find(|known| source.text(row) == Some(known.as_str()));
        Ok(Self {
            market: Arc::clone(market),
            at: time(at)?,
            position: TickPosition {
                sequence: integer(sequence)? as u64,
                index: u16::try_from(integer(index)?).map_err(|error| error.to_string())?,
            },
            price: Price::new(price).map_err(|error| format!("the price {error}"))?,
            size: size.map(Size::new).transpose().map_err(|error| format!("the size {error}"))?,
            id: id.text(row).ok_or("the id is missing")?.into(),
            kind: kind.ok_or("the kind is unknown")?,
            source: source.ok_or("the source is unknown")?,
            received_at: time(received_at)?,
        })
    }

    /// Returns the time and the position, by which ticks are sorted, as a manifest has them.
    pub(super) fn order(&self) -> (Timestamp, (i64, i64)) {
        (self.at, (self.position.sequence as i64, i64::from(self.position.index)))
    }

    /// Returns the place behind the tick.
    pub(super) fn bookmark(&self) -> TickBookmark {
        TickBookmark::behind(self.market.instrument, &self.stored())
    }

    /// Returns the tick as the stream had it.
    pub(super) fn stored(&self) -> StoredTick<'_> {
        let Self { at, position, price, size, kind, source, received_at, .. } = *self;
        let (venue, symbol) = (&self.market.venue, &self.market.symbol);
        StoredTick { venue, symbol, kind, source, received_at, id: &self.id, at, price, size, position }
    }
}

/// Returns a number with the decimal places that it was quoted with.
fn decimal(scaled: i128, places: i64) -> Result<Decimal, String> {
    let wrong = || format!("{scaled} does not have {places} decimal places");
    let places = u32::try_from(places).ok().filter(|places| *places <= PLACES).ok_or_else(wrong)?;
    let unit = 10_i128.pow(PLACES - places);
    let exact = Some(scaled / unit).filter(|_| scaled % unit == 0).ok_or_else(wrong)?;
    Decimal::try_from_i128_with_scale(exact, places).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_with_its_zeros() {
        let one = 10_i128.pow(18);
        for (scaled, places, text) in [
            (167_410_000_000_000_000_000, 2, "167.41"),
            (167_410_000_000_000_000_000, 4, "167.4100"),
            (68_000 * one, 0, "68000"),
            (1, 18, "0.000000000000000001"),
            (0, 2, "0.00"),
        ] {
            assert_eq!(decimal(scaled, places).expect(text).to_string(), text);
        }
        for (scaled, places) in [(1, 17), (1, 19), (1, -1), (i128::MAX, 18)] {
            assert!(decimal(scaled, places).is_err(), "{scaled} {places}");
        }
    }
}
