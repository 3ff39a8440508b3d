//! Rows as Parquet (<https://parquet.apache.org/docs/file-format/>): exact decimals, zstd, statistics and a page index, so that an
//! engine skips what a question does not ask for.

use std::sync::Arc;

use bytes::Bytes;
use events::Timestamp;
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    column::{reader::get_typed_column_reader, writer::ColumnWriter},
    data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties},
        reader::{FileReader, RowGroupReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::{
        parser::parse_message_type,
        types::{ColumnPath, TypePtr},
    },
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    manifest::Edge,
    sums::ExactSum,
    table::{ColumnType, RowBuffer, TableColumns, Values},
};

/// The ending of a part's name.
pub const ENDING: &str = "parquet";
/// The rows of a group, which are in memory together.
pub const ROWS_PER_GROUP: usize = 1_000_000;
/// A part takes no further group once it has this many bytes, so that it stays below 128 MiB.
const LARGEST_PART: usize = 96 << 20;
/// The bytes of a decimal of 38 digits.
const DECIMAL_BYTES: usize = 16;
const ZSTD_LEVEL: i32 = 3;

/// A part cannot be encoded or decoded.
#[derive(Debug, Error)]
#[error("Parquet")]
pub struct PartError(#[from] ParquetError);

/// A part that is being made, in memory.
pub struct PartEncoder {
    writer: SerializedFileWriter<Vec<u8>>,
    rows: u64,
}

impl PartEncoder {
    /// Begins a part of a table.
    pub fn new(table: &TableColumns) -> Result<Self, PartError> {
        let writer = SerializedFileWriter::new(Vec::new(), schema(table)?, Arc::new(properties(table)?))?;
        Ok(Self { writer, rows: 0 })
    }

    /// Appends the rows as a group; none where there is no row.
    pub fn append(&mut self, rows: &RowBuffer) -> Result<(), PartError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for values in rows.values() {
            let Some(mut column) = group.next_column()? else { break };
            write_column(column.untyped(), values)?;
            column.close()?;
        }
        group.close()?;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Returns whether the next group belongs to another part.
    pub fn is_full(&self) -> bool {
        self.writer.bytes_written() >= LARGEST_PART
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the part and returns its bytes.
    pub fn finish(self) -> Result<Bytes, PartError> {
        Ok(self.writer.into_inner()?.into())
    }
}

/// What tells a row of a table from all others: a digest of its key.
pub type RowKey = u128;

/// Returns the key of a row, of the values of its two key columns as text.
pub fn row_key(first: impl std::fmt::Display, second: impl std::fmt::Display) -> RowKey {
    let digest = Sha256::digest(format!("{first} {second}"));
    let half = digest.first_chunk().copied().unwrap_or_default();
    RowKey::from_be_bytes(half)
}

/// What a part holds, as it is read back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PartContent {
    /// The keys of its rows in their order.
    pub keys: Vec<RowKey>,
    /// The sum of each column with numbers, by its index.
    pub sums: Vec<(usize, ExactSum)>,
    /// The first and the last row; none of a part without rows.
    pub edges: Option<(Edge, Edge)>,
}

/// Reads the keys, the sums and the edges of a part.
pub fn read(table: &TableColumns, bytes: Bytes) -> Result<PartContent, PartError> {
    let file = SerializedFileReader::new(bytes)?;
    let decimal_columns = (0..table.columns.len()).filter(|column| table.columns[*column].1 == ColumnType::Decimal);
    let mut sums: Vec<(usize, ExactSum)> = decimal_columns.map(|column| (column, ExactSum::default())).collect();
    let (mut keys, mut edges) = (Vec::new(), None);
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group)?;
        let (times, ids) = (integers(&*group, table.key[0])?, texts(&*group, table, table.key[1])?);
        keys.extend(times.iter().zip(&ids).map(|(time, id)| row_key(time, id)));
        let positions = (integers(&*group, 1)?, if table.sorted_by > 2 { integers(&*group, 2)? } else { Vec::new() });
        let edge = |row: usize| {
            let at = times.get(row).and_then(|micros| Timestamp::from_micros(*micros).ok())?;
            let position = (positions.0.get(row).copied()?, positions.1.get(row).copied().unwrap_or_default());
            let is_text = table.columns[table.key[1]].1 == ColumnType::Text;
            Some(Edge { at, position, id: if is_text { ids.get(row)?.clone() } else { at.to_string() } })
        };
        if let (Some(head), Some(tail)) = (edge(0), edge(times.len().saturating_sub(1))) {
            edges = Some((edges.map_or(head, |(head, _)| head), tail));
        }
        for (column, sum) in &mut sums {
            decimals(&*group, *column)?.into_iter().for_each(|number| sum.add(number));
        }
    }
    Ok(PartContent { keys, sums, edges })
}

fn rows_of(group: &dyn RowGroupReader) -> usize {
    usize::try_from(group.metadata().num_rows()).unwrap_or_default()
}

fn integers(group: &dyn RowGroupReader, column: usize) -> Result<Vec<i64>, PartError> {
    let mut values = Vec::with_capacity(rows_of(group));
    let mut reader = get_typed_column_reader::<Int64Type>(group.get_column_reader(column)?);
    reader.read_records(rows_of(group), None, None, &mut values)?;
    Ok(values)
}

/// Reads a column of a key, of whatever type, as text.
fn texts(group: &dyn RowGroupReader, table: &TableColumns, column: usize) -> Result<Vec<String>, PartError> {
    if table.columns[column].1 != ColumnType::Text {
        return Ok(integers(group, column)?.iter().map(i64::to_string).collect());
    }
    let (mut values, mut levels) = (Vec::with_capacity(rows_of(group)), Vec::new());
    let mut reader = get_typed_column_reader::<ByteArrayType>(group.get_column_reader(column)?);
    reader.read_records(rows_of(group), Some(&mut levels), None, &mut values)?;
    Ok(values.iter().map(|value: &ByteArray| String::from_utf8_lossy(value.data()).into_owned()).collect())
}

fn decimals(group: &dyn RowGroupReader, column: usize) -> Result<Vec<i128>, PartError> {
    let (mut values, mut levels) = (Vec::with_capacity(rows_of(group)), Vec::new());
    let mut reader = get_typed_column_reader::<FixedLenByteArrayType>(group.get_column_reader(column)?);
    reader.read_records(rows_of(group), Some(&mut levels), None, &mut values)?;
    Ok(values
        .iter()
        .filter_map(|value: &FixedLenByteArray| value.data().first_chunk().map(|bytes| i128::from_be_bytes(*bytes)))
        .collect())
}

fn schema(table: &TableColumns) -> Result<TypePtr, PartError> {
    let column = |(name, kind): &(&str, ColumnType)| match kind {
        ColumnType::Time => format!("REQUIRED INT64 {name} (TIMESTAMP(MICROS,true));"),
        ColumnType::Integer => format!("REQUIRED INT64 {name};"),
        ColumnType::Decimal => format!("OPTIONAL FIXED_LEN_BYTE_ARRAY({DECIMAL_BYTES}) {name} (DECIMAL(38,18));"),
        ColumnType::Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
    };
    let columns: String = table.columns.iter().map(column).collect();
    Ok(Arc::new(parse_message_type(&format!("message rows {{ {columns} }}"))?))
}

fn properties(table: &TableColumns) -> Result<WriterProperties, PartError> {
    let sorted = (0..table.sorted_by).map(|column| SortingColumn {
        column_idx: column as i32,
        descending: false,
        nulls_first: false,
    });
    let mut properties = WriterProperties::builder()
        .set_created_by("tickbell".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_sorting_columns(Some(sorted.collect()));
    // Times and sequences ascend, and ids mostly begin like the one before: what is written is the difference.
    let key_text = table.key.into_iter().filter(|column| table.columns[*column].1 == ColumnType::Text);
    let differences = (0..table.sorted_by).map(|column| (column, Encoding::DELTA_BINARY_PACKED));
    for (column, encoding) in differences.chain(key_text.map(|column| (column, Encoding::DELTA_BYTE_ARRAY))) {
        let path = ColumnPath::from(table.columns[column].0);
        properties = properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
    }
    Ok(properties.build())
}

fn write_column(column: &mut ColumnWriter<'_>, values: &Values) -> Result<(), PartError> {
    match (column, values) {
        (ColumnWriter::Int64ColumnWriter(column), Values::Integers(values)) => {
            column.write_batch(values, None, None)?;
        }
        (ColumnWriter::FixedLenByteArrayColumnWriter(column), Values::Decimals(values)) => {
            let decimal = |number: &i128| FixedLenByteArray::from(number.to_be_bytes().to_vec());
            let present: Vec<_> = values.iter().flatten().map(decimal).collect();
            column.write_batch(&present, Some(&levels(values)), None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(column), Values::Texts(values)) => {
            let present: Vec<_> = values.iter().flatten().map(|text| ByteArray::from(&**text)).collect();
            column.write_batch(&present, Some(&levels(values)), None)?;
        }
        _ => unreachable!("the schema is made of the same columns"),
    }
    Ok(())
}

/// The definition levels: 1 for a value that is there, 0 for one that is not.
fn levels<T>(values: &[Option<T>]) -> Vec<i16> {
    values.iter().map(|value| i16::from(value.is_some())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{TICKS, Value};

    fn tick(micros: i64, size: Option<i128>, id: &str) -> [Value<'_>; 11] {
        let at = Timestamp::from_micros(micros).expect("a time");
        [
            Value::Time(at),
            Value::Integer(7),
            Value::Integer(0),
            Value::Decimal(Some(16_741 * 10_i128.pow(16))),
            Value::Decimal(size),
            Value::Text(Some(id)),
            Value::Text(Some("trade")),
            Value::Text(Some("file")),
            Value::Time(at),
            Value::Integer(2),
            Value::Integer(size.map_or(0, |_| 18)),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut encoder = PartEncoder::new(&TICKS).expect("a part");
        let mut rows = RowBuffer::new(&TICKS);
        rows.push(tick(1, Some(5), "a"));
        rows.push(tick(2, None, "é"));
        encoder.append(&rows).expect("a group");
        rows.clear();
        rows.push(tick(3, Some(10_i128.pow(38) - 1), "c"));
        encoder.append(&rows).expect("a group");
        assert_eq!((encoder.rows(), encoder.is_full()), (3, false));
        let content = read(&TICKS, encoder.finish().expect("bytes")).expect("a part");
        assert_eq!(content.keys, [row_key(1, "a"), row_key(2, "é"), row_key(3, "c")]);
        let (first, last) = content.edges.clone().expect("rows");
        assert_eq!((first.at.micros(), first.position, first.id.as_str()), (1, (7, 0), "a"));
        assert_eq!((last.at.micros(), last.id.as_str()), (3, "c"));
        let sums: Vec<_> =
            content.sums.iter().map(|(column, sum)| (TICKS.columns[*column].0, sum.to_string())).collect();
        assert_eq!(
            sums,
            [("price", "502.23".to_owned()), ("size", "100000000000000000000.000000000000000004".to_owned())]
        );
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let bytes = || {
            let mut rows = RowBuffer::new(&TICKS);
            (0..1_000).for_each(|micros| rows.push(tick(micros, Some(1), "x")));
            let mut encoder = PartEncoder::new(&TICKS).expect("a part");
            encoder.append(&rows).expect("a group");
            encoder.finish().expect("bytes")
        };
        assert_eq!(bytes(), bytes());
    }
}
