//! The rows of table `ticks` in the binary format of COPY (<https://www.postgresql.org/docs/current/sql-copy.html>).

use std::{borrow::Cow, fmt};

use events::{
    Timestamp,
    tick::{TickKind, TickSource},
};
use market_data::{InstrumentId, StoredTick};
use rust_decimal::Decimal;

use super::numeric::WireDigits;

/// A tick and the number of its instrument.
pub type NumberedTick<'page> = (InstrumentId, StoredTick<'page>);

/// The statement that takes what [`encode`] returns.
pub(super) const COPY: &str =
    "COPY ticks (at, received_at, sequence, instrument_id, index, kind, source, price, size, trade_id)
     FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 10;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const END: i16 = -1;
const NULL: i32 = -1;
/// The microseconds from 1970 to 2000, from which PostgreSQL counts.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The bytes of a row, roughly.
const ROW_BYTES: usize = 140;

/// Encodes ticks as the data of [`COPY`].
pub(super) fn encode(ticks: &[NumberedTick<'_>]) -> Vec<u8> {
    let mut data = Vec::with_capacity(SIGNATURE.len() + 10 + ticks.len() * ROW_BYTES);
    data.extend_from_slice(SIGNATURE);
    // No flags, and no extension of the header.
    data.extend_from_slice(&[0; 8]);
    for (instrument, tick) in ticks {
        data.extend_from_slice(&COLUMNS.to_be_bytes());
        field(&mut data, &micros(tick.at));
        field(&mut data, &micros(tick.received_at));
        field(&mut data, &tick.position.sequence.to_be_bytes());
        field(&mut data, &instrument.to_be_bytes());
        field(&mut data, &tick.position.index.to_be_bytes());
        field(&mut data, &kind_char(tick.kind).to_be_bytes());
        field(&mut data, &source_char(tick.source).to_be_bytes());
        numeric(&mut data, tick.price.decimal());
        match tick.size {
            Some(size) => numeric(&mut data, size.decimal()),
            None => data.extend_from_slice(&NULL.to_be_bytes()),
        }
        field(&mut data, column_id(tick).as_bytes());
    }
    data.extend_from_slice(&END.to_be_bytes());
    data
}

/// Returns the id of a tick in column `trade_id`. A derived id begins with the time, which the row has: it is left out, so that the
/// column begins with the slash behind it. An id that begins with a slash itself gets a second one.
pub(super) fn column_id<'page>(tick: &StoredTick<'page>) -> Cow<'page, str> {
    match tick.id.find('/') {
        Some(0) => format!("/{}", tick.id).into(),
        Some(slash) if tick.has_time_in_id() && !tick.id[slash + 1..].starts_with('/') => tick.id[slash..].into(),
        _ => tick.id.into(),
    }
}

/// The id of a tick as its row has it: the time that it begins with is that of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnId<'row> {
    /// The microseconds since 1970 that the id begins with, where it is derived from the time.
    pub micros: Option<i64>,
    /// The rest of the id.
    pub rest: &'row str,
}

impl fmt::Display for ColumnId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(micros) = self.micros {
            write!(f, "{micros}")?;
        }
        f.write_str(self.rest)
    }
}

/// Returns the id of a tick from column `trade_id`.
pub(crate) fn full_id(column: &str, at: Timestamp) -> ColumnId<'_> {
    match column.strip_prefix('/') {
        Some(id) if id.starts_with('/') => ColumnId { micros: None, rest: id },
        Some(_) => ColumnId { micros: Some(at.micros()), rest: column },
        None => ColumnId { micros: None, rest: column },
    }
}

/// Returns the letter of a kind in column `kind`.
pub(super) fn kind_char(kind: TickKind) -> i8 {
    (match kind {
        TickKind::Trade => b't',
        TickKind::Quote => b'q',
        TickKind::Poll => b'p',
    }) as i8
}

/// Returns the letter of a source in column `source`.
pub(super) fn source_char(source: TickSource) -> i8 {
    (match source {
        TickSource::Live => b'l',
        TickSource::Backfill => b'b',
        TickSource::File => b'f',
        TickSource::Simulator => b's',
    }) as i8
}

fn field(data: &mut Vec<u8>, bytes: &[u8]) {
    data.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    data.extend_from_slice(bytes);
}

fn micros(time: Timestamp) -> [u8; 8] {
    (time.micros() - EPOCH_MICROS).to_be_bytes()
}

/// Writes a number that is not negative: its digits to the base of 10,000, the power of the first one, and the number of decimal
/// places.
fn numeric(data: &mut Vec<u8>, number: Decimal) {
    let digits = WireDigits::of(number);
    let bytes = digits.bytes();
    data.extend_from_slice(&(8 + bytes.len() as i32).to_be_bytes());
    for part in [bytes.len() as i16 / 2, digits.weight, 0, digits.scale as i16] {
        data.extend_from_slice(&part.to_be_bytes());
    }
    data.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use events::{Symbol, Tick, Venue};

    use super::*;

    #[test]
    fn an_id_is_stored_without_its_time_and_comes_back_with_it() {
        let at = Timestamp::from_micros(1_000_000).expect("a time");
        let tick = Tick {
            venue: Venue::parse("file").expect("a venue"),
            symbol: Symbol::parse("SPY").expect("a symbol"),
            price: "5".parse().expect("a price"),
            size: None,
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        };
        for (id, column) in [
            ("1000000/5//0", "/5//0"),
            ("1000000/5/100/17", "/5/100/17"),
            ("1000001/5//0", "1000001/5//0"),
            ("+1000000/5//0", "+1000000/5//0"),
            ("01000000/5//0", "01000000/5//0"),
            ("812345001", "812345001"),
            ("/5//0", "//5//0"),
            ("//", "///"),
            ("1000000//5", "1000000//5"),
            ("1000000/", "/"),
        ] {
            let stored = column_id(&StoredTick::of(&tick, id, 1, 0)).into_owned();
            assert_eq!((stored.as_str(), full_id(&stored, at).to_string().as_str()), (column, id));
        }
    }

    #[test]
    fn a_number_is_written_as_postgresql_does() {
        // count, weight, sign, scale, digits
        for (text, expected) in [
            ("0", &[0, 0, 0, 0][..]),
            ("0.00", &[0, 0, 0, 2]),
            ("1", &[1, 0, 0, 0, 1]),
            ("167.41", &[2, 0, 0, 2, 167, 4100]),
            ("167.4100", &[2, 0, 0, 4, 167, 4100]),
            ("68000", &[2, 1, 0, 0, 6, 8000]),
            ("10000", &[1, 1, 0, 0, 1]),
            ("100000000.5", &[4, 2, 0, 1, 1, 0, 0, 5000]),
            ("0.0123", &[1, -1, 0, 4, 123]),
            ("0.00001", &[1, -2, 0, 5, 1000]),
            ("0.000000000000000001", &[1, -5, 0, 18, 100]),
        ] {
            let mut data = Vec::new();
            numeric(&mut data, text.parse().expect("a number"));
            let length = i32::from_be_bytes(data[..4].try_into().expect("four bytes"));
            let parts: Vec<i16> = data[4..].chunks(2).map(|part| i16::from_be_bytes([part[0], part[1]])).collect();
            assert_eq!((length as usize, parts.as_slice()), (data.len() - 4, expected), "{text}");
        }
    }
}
