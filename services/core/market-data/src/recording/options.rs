//! How a file is read where its header does not say it: the options of the command line.

use std::{collections::BTreeMap, str::FromStr};

use chrono::NaiveDate;
use events::Symbol;
use thiserror::Error;

use super::{
    formats::Format,
    time_text::{TimeOptionError, TimeUnit, TimeZone, parse_date},
};

/// An option that is not one of its values.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// The text maps no columns.
    #[error(
        "{0:?} is not a list of columns: use time=NAME,price=NAME,size=NAME with names of the header or numbers from 0; the \
         parts of a trade are time, date, symbol, class, price, size and id, and id=none ignores a column of that name"
    )]
    Columns(String),
    /// The text is no separator.
    #[error("{0:?} is not a separator: use one character, tab or space")]
    Separator(String),
    /// The text is no date.
    #[error("{0:?} is not a date: use one like 2018-04-05")]
    Date(String),
    /// The text is not what candles can become.
    #[error("{0:?} is not a price of a candle: use close")]
    Candles(String),
    /// The text is no unit or time zone.
    #[error(transparent)]
    Time(#[from] TimeOptionError),
}

/// How a file is read. The default is a file of our own shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The vendor whose layout the file has.
    pub format: Option<Format>,
    /// The columns, which win over those of the format.
    pub columns: ColumnMap,
    /// The symbol of all lines.
    pub symbol: Option<Symbol>,
    /// The separator of columns; by default the one that the first line has most often.
    pub separator: Option<Separator>,
    /// The unit of times since 1970; by default their number of digits tells it.
    pub time_unit: Option<TimeUnit>,
    /// The time zone of times that name none; by default that of the format, else UTC.
    pub time_zone: Option<TimeZone>,
    /// The date of times of day without one.
    pub date: Option<Date>,
    /// Whether the first line names the columns.
    pub header: Header,
    /// The order of the lines.
    pub order: Order,
    /// The price of a candle that becomes a tick; without it, candles are refused.
    pub candles: Option<CandlePrice>,
}

/// Whether the first line names the columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    /// It does, unless all columns are given by number and the first line is a trade.
    #[default]
    Detect,
    /// It does not.
    Absent,
}

/// The order of the lines of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The times of the lines ascend.
    #[default]
    OldestFirst,
    /// The times of the lines descend. All lines are held in memory and turned round.
    NewestFirst,
}

/// The price of a candle that becomes a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandlePrice {
    /// The last price of its interval.
    Close,
}

/// The character between columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separator(pub(crate) u8);

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(pub(crate) NaiveDate);

/// A part of a trade, which a column or a key of a file may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Time,
    Date,
    Symbol,
    Class,
    Price,
    Size,
    Id,
}

impl Role {
    /// All parts, in the order of their numbers.
    pub(crate) const ALL: [Self; 7] =
        [Self::Time, Self::Date, Self::Symbol, Self::Class, Self::Price, Self::Size, Self::Id];

    /// Returns the name on the command line and in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Date => "date",
            Self::Symbol => "symbol",
            Self::Class => "class",
            Self::Price => "price",
            Self::Size => "size",
            Self::Id => "id",
        }
    }
}

/// Where a part of a trade stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColumnRef {
    /// In the column of this number, from 0.
    Index(usize),
    /// Under this name.
    Name(String),
    /// Under one of these names, the first of which is present.
    AnyOf(&'static [&'static str]),
    /// The file does not have this part.
    Absent,
}

/// Which columns hold the parts of a trade.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnMap(pub(crate) BTreeMap<Role, ColumnRef>);

impl FromStr for ColumnMap {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        let error = || OptionError::Columns(text.to_owned());
        let mut map = BTreeMap::new();
        for part in text.split(',') {
            let (role, column) = part.split_once('=').ok_or_else(error)?;
            let role = Role::ALL.into_iter().find(|known| known.name() == role.trim()).ok_or_else(error)?;
            let column = match column.trim() {
                "" => return Err(error()),
                "none" if matches!(role, Role::Time | Role::Price) => return Err(error()),
                "none" => ColumnRef::Absent,
                column => column.parse().map_or_else(|_| ColumnRef::Name(column.to_owned()), ColumnRef::Index),
            };
            if map.insert(role, column).is_some() {
                return Err(error());
            }
        }
        Ok(Self(map))
    }
}

impl FromStr for Separator {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        match (text, text.as_bytes()) {
            ("tab" | "\\t", _) => Ok(Self(b'\t')),
            ("space", _) => Ok(Self(b' ')),
            (_, [byte])
                if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'"' | b'\r' | b'\n') =>
            {
                Ok(Self(*byte))
            }
            _ => Err(OptionError::Separator(text.to_owned())),
        }
    }
}

impl FromStr for Date {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        parse_date(text).map(Self).ok_or_else(|| OptionError::Date(text.to_owned()))
    }
}

impl FromStr for CandlePrice {
    type Err = OptionError;
    fn from_str(text: &str) -> Result<Self, OptionError> {
        if text == "close" { Ok(Self::Close) } else { Err(OptionError::Candles(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_names_or_numbers() {
        let map: ColumnMap = "time=0, price=Last Price,size=5,id=none".parse().expect("columns");
        let expected = [
            (Role::Time, ColumnRef::Index(0)),
            (Role::Price, ColumnRef::Name("Last Price".into())),
            (Role::Size, ColumnRef::Index(5)),
            (Role::Id, ColumnRef::Absent),
        ];
        assert_eq!(map.0, expected.into_iter().collect());
        for bad in ["", "time", "time=", "time=0,time=1", "volume=3", "price=none", "time=0,,price=1"] {
            let error = bad.parse::<ColumnMap>().expect_err(bad).to_string();
            assert!(error.contains("use time=NAME"), "{error}");
        }
    }

    #[test]
    fn a_separator_is_one_character() {
        for (text, byte) in
            [(",", b','), (";", b';'), ("|", b'|'), ("tab", b'\t'), ("\\t", b'\t'), ("\t", b'\t'), ("space", b' ')]
        {
            assert_eq!(text.parse(), Ok(Separator(byte)), "{text}");
        }
        for bad in ["", ";;", "a", "\"", "\n", "€"] {
            assert_eq!(bad.parse::<Separator>(), Err(OptionError::Separator(bad.to_owned())));
        }
        assert_eq!("close".parse(), Ok(CandlePrice::Close));
        assert!("open".parse::<CandlePrice>().is_err() && "2018-02-30".parse::<Date>().is_err());
    }
}
