//! Rows by their columns, before they are encoded.

use events::Timestamp;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Microseconds since 1970 in UTC.
    Time,
    /// A whole number.
    Integer,
    /// A number times 10^18, which may be absent.
    Decimal,
    /// Text, which may be absent.
    Text,
}

/// The columns of a kind of rows.
#[derive(Debug, PartialEq, Eq)]
pub struct TableColumns {
    /// The names and types, in their order in the file.
    pub columns: &'static [(&'static str, ColumnType)],
    /// How many of the first columns the rows are sorted by.
    pub sorted_by: usize,
    /// The columns that tell a row from all others, by their index.
    pub key: [usize; 2],
}

/// Ticks, each of which has another time or id. The last two columns say with how many decimal places the price and the size were quoted,
/// so that they come back digit by digit.
pub const TICKS: TableColumns = TableColumns {
    columns: &[
        ("at", ColumnType::Time),
        ("sequence", ColumnType::Integer),
        ("index", ColumnType::Integer),
        ("price", ColumnType::Decimal),
        ("size", ColumnType::Decimal),
        ("id", ColumnType::Text),
        ("kind", ColumnType::Text),
        ("source", ColumnType::Text),
        ("received_at", ColumnType::Time),
        ("price_places", ColumnType::Integer),
        ("size_places", ColumnType::Integer),
    ],
    sorted_by: 3,
    key: [0, 5],
};

/// Candles of one interval. A candle that was written before a tick came to it is a further row with more trades, which counts: a late
/// tick adds to the revision as well, but one that comes before the close of the candle does not.
pub const CANDLES: TableColumns = TableColumns {
    columns: &[
        ("start", ColumnType::Time),
        ("revision", ColumnType::Integer),
        ("open", ColumnType::Decimal),
        ("high", ColumnType::Decimal),
        ("low", ColumnType::Decimal),
        ("close", ColumnType::Decimal),
        ("volume", ColumnType::Decimal),
        ("volume_text", ColumnType::Text),
        ("trades", ColumnType::Integer),
    ],
    sorted_by: 2,
    key: [0, 8],
};

impl Values {
    /// Returns the time or whole number of a row; none in a column of another type.
    pub fn integer(&self, row: usize) -> Option<i64> {
        if let Self::Integers(values) = self { values.get(row).copied() } else { None }
    }

    /// Returns the number of a row times 10^18; none where it is absent.
    pub fn decimal(&self, row: usize) -> Option<i128> {
        if let Self::Decimals(values) = self { values.get(row).copied().flatten() } else { None }
    }

    /// Returns the text of a row; none where it is absent.
    pub fn text(&self, row: usize) -> Option<&str> {
        if let Self::Texts(values) = self { values.get(row)?.as_deref() } else { None }
    }
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Times or whole numbers.
    Integers(Vec<i64>),
    /// Numbers times 10^18.
    Decimals(Vec<Option<i128>>),
    /// Texts, which may be absent.
    Texts(Vec<Option<Box<str>>>),
}

/// Rows of one table.
#[derive(Debug)]
pub struct RowBuffer {
    /// The columns of the rows.
    pub table: &'static TableColumns,
    values: Vec<Values>,
    len: usize,
}

/// A value of a row.
#[derive(Debug, Clone, Copy)]
pub enum Value<'row> {
    /// A time in UTC.
    Time(Timestamp),
    /// A whole number.
    Integer(i64),
    /// A number times 10^18.
    Decimal(Option<i128>),
    /// A text, which may be absent.
    Text(Option<&'row str>),
}

impl RowBuffer {
    /// Returns a buffer without rows.
    pub fn new(table: &'static TableColumns) -> Self {
        let values = table.columns.iter().map(|(_, kind)| match kind {
            ColumnType::Time | ColumnType::Integer => Values::Integers(Vec::new()),
            ColumnType::Decimal => Values::Decimals(Vec::new()),
            ColumnType::Text => Values::Texts(Vec::new()),
        });
        Self { table, values: values.collect(), len: 0 }
    }

    /// Appends a row, which has a value for each column in their order.
    pub fn push<const N: usize>(&mut self, row: [Value<'_>; N]) {
        assert_eq!(N, self.values.len(), "a row has a value for each column");
        for (values, value) in self.values.iter_mut().zip(row) {
            match (values, value) {
                (Values::Integers(values), Value::Time(at)) => values.push(at.micros()),
                (Values::Integers(values), Value::Integer(number)) => values.push(number),
                (Values::Decimals(values), Value::Decimal(number)) => values.push(number),
                (Values::Texts(values), Value::Text(text)) => values.push(text.map(Into::into)),
                (values, value) => unreachable!("{value:?} is no value of {values:?}"),
            }
        }
        self.len += 1;
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Replaces the rows by others, which have one value for each column.
    #[cfg(feature = "export")]
    pub(crate) fn fill(&mut self, values: Vec<Values>, len: usize) {
        assert_eq!(values.len(), self.values.len(), "rows have values for each column");
        (self.values, self.len) = (values, len);
    }

    /// Returns the values of each column.
    pub fn values(&self) -> &[Values] {
        &self.values
    }

    /// Empties the buffer, whose memory stays.
    pub fn clear(&mut self) {
        for values in &mut self.values {
            match values {
                Values::Integers(values) => values.clear(),
                Values::Decimals(values) => values.clear(),
                Values::Texts(values) => values.clear(),
            }
        }
        self.len = 0;
    }
}
