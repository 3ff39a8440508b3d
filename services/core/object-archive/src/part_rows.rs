//! The rows of a part, read batch by batch: a group of a part has up to a million rows, which need not be in memory together.

use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    errors::ParquetError,
    file::{
        reader::{ChunkReader, FileReader, SerializedFileReader},
        statistics::Statistics,
    },
};

use crate::{
    parquet_part::PartError,
    table::{RowBuffer, TableColumns, Values},
};

/// The rows of a part in their order.
pub struct PartRows {
    file: Box<dyn FileReader>,
    table: &'static TableColumns,
    /// The next group that is opened.
    next_group: usize,
    /// The columns of the group that is read.
    columns: Vec<ColumnReader>,
}

impl PartRows {
    /// Opens a part of a table.
    pub fn open(table: &'static TableColumns, source: impl ChunkReader + 'static) -> Result<Self, PartError> {
        let file = Box::new(SerializedFileReader::new(source)?);
        let (found, expected) = (file.metadata().file_metadata().schema_descr().num_columns(), table.columns.len());
        if found != expected {
            let detail = format!("it has {found} columns, and this version reads {expected}");
            return Err(ParquetError::General(detail).into());
        }
        Ok(Self { file, table, next_group: 0, columns: Vec::new() })
    }

    /// Passes over the groups that come next of which all rows are before a time, by the statistics of the first column, and returns the
    /// number of their rows.
    pub fn skip_before(&mut self, micros: i64) -> u64 {
        let mut skipped = 0;
        for group in self.file.metadata().row_groups().iter().skip(self.next_group) {
            match group.column(0).statistics() {
                Some(Statistics::Int64(times)) if times.max_opt().is_some_and(|last| *last < micros) => {
                    skipped += group.num_rows().unsigned_abs();
                    self.next_group += 1;
                }
                _ => break,
            }
        }
        skipped
    }

    /// Reads at most `limit` rows; none behind the last one.
    pub fn next(&mut self, limit: usize) -> Result<Option<RowBuffer>, PartError> {
        loop {
            let values: Vec<(Values, usize)> =
                self.columns.iter_mut().map(|column| read(column, limit)).collect::<Result<_, _>>()?;
            if let Some((_, rows)) = values.first().filter(|(_, rows)| *rows > 0) {
                let (rows, mut buffer) = (*rows, RowBuffer::new(self.table));
                buffer.fill(values.into_iter().map(|(values, _)| values).collect(), rows);
                return Ok(Some(buffer));
            }
            if self.next_group == self.file.num_row_groups() {
                return Ok(None);
            }
            let group = self.file.get_row_group(self.next_group)?;
            let columns = 0..self.table.columns.len();
            self.columns = columns.map(|column| group.get_column_reader(column)).collect::<Result<_, _>>()?;
            self.next_group += 1;
        }
    }
}

/// Reads the next values of a column, and their number with those that are absent.
fn read(column: &mut ColumnReader, limit: usize) -> Result<(Values, usize), PartError> {
    Ok(match column {
        ColumnReader::Int64ColumnReader(column) => {
            let mut values = Vec::with_capacity(limit);
            let (rows, ..) = column.read_records(limit, None, None, &mut values)?;
            (Values::Integers(values), rows)
        }
        ColumnReader::FixedLenByteArrayColumnReader(column) => {
            let number = |value: parquet::data_type::FixedLenByteArray| {
                value.data().first_chunk().map_or(0, |bytes| i128::from_be_bytes(*bytes))
            };
            let (values, rows) = optional(column, limit, number)?;
            (Values::Decimals(values), rows)
        }
        ColumnReader::ByteArrayColumnReader(column) => {
            let text = |value: parquet::data_type::ByteArray| String::from_utf8_lossy(value.data()).into();
            let (values, rows) = optional(column, limit, text)?;
            (Values::Texts(values), rows)
        }
        // The tables have no other types: it is a file of somebody else.
        _ => return Err(ParquetError::General("a column has another type".into()).into()),
    })
}

/// Reads values of which some may be absent.
fn optional<T: DataType, V>(
    column: &mut ColumnReaderImpl<T>,
    limit: usize,
    convert: impl Fn(T::T) -> V,
) -> Result<(Vec<Option<V>>, usize), PartError> {
    let (mut present, mut levels) = (Vec::with_capacity(limit), Vec::with_capacity(limit));
    let (rows, ..) = column.read_records(limit, Some(&mut levels), None, &mut present)?;
    let mut present = present.into_iter().map(convert);
    let values = levels.iter().map(|level| if *level > 0 { present.next() } else { None }).collect();
    Ok((values, rows))
}

#[cfg(test)]
mod tests {
    use events::Timestamp;

    use super::*;
    use crate::{
        parquet_part::PartEncoder,
        table::{TICKS, Value},
    };

    #[test]
    fn rows_come_back_as_they_were_written_across_groups() {
        let mut encoder = PartEncoder::new(&TICKS).expect("a part");
        let mut rows = RowBuffer::new(&TICKS);
        for number in 0..7 {
            let at = Value::Time(Timestamp::from_micros(number).expect("a time"));
            let size = (number % 2 == 0).then_some(i128::from(number));
            let id = number.to_string();
            rows.push([
                at,
                Value::Integer(number),
                Value::Integer(0),
                Value::Decimal(Some(5)),
                Value::Decimal(size),
                Value::Text(Some(&id)),
                Value::Text(Some("trade")),
                Value::Text(Some("file")),
                at,
                Value::Integer(18),
                Value::Integer(0),
            ]);
            if number == 3 {
                encoder.append(&rows).expect("a group");
                rows.clear();
            }
        }
        encoder.append(&rows).expect("a group");
        let bytes = encoder.finish().expect("bytes");
        for (from, skipped) in [(0, 0), (3, 0), (4, 4), (6, 4), (7, 7)] {
            let mut part = PartRows::open(&TICKS, bytes.clone()).expect("a part");
            assert_eq!(part.skip_before(from), skipped, "before {from}");
            let first = part.next(9).expect("rows").and_then(|batch| batch.values()[0].integer(0));
            assert_eq!(first, (skipped < 7).then_some(skipped as i64));
        }
        let mut part = PartRows::open(&TICKS, bytes).expect("a part");
        let (mut lengths, mut found) = (Vec::new(), Vec::new());
        while let Some(batch) = part.next(3).expect("rows") {
            lengths.push(batch.len());
            let values = batch.values();
            found.extend((0..batch.len()).map(|row| {
                let id = values[5].text(row).map(str::to_owned);
                (values[0].integer(row), values[4].decimal(row), id)
            }));
        }
        assert_eq!(lengths, [3, 1, 3]);
        let expected = |number: i64| {
            let size = (number % 2 == 0).then_some(i128::from(number));
            (Some(number), size, Some(number.to_string()))
        };
        assert_eq!(found, (0..7).map(expected).collect::<Vec<_>>());
    }
}
