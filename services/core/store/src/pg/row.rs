//! Conversion of a row's columns to the types of the wire.

use events::{Asset, Symbol, Timestamp, Venue};
use sqlx::{Row, error::BoxDynError, postgres::PgRow};

use crate::Error;

pub(crate) fn time(row: &PgRow, column: &str) -> Result<Timestamp, Error> {
    Ok(row.try_get::<chrono::DateTime<chrono::Utc>, _>(column)?.into())
}

/// Reads a column by its index, which costs less than by its name, in a list of many rows.
pub(crate) fn indexed_time(row: &PgRow, column: usize) -> Result<Timestamp, Error> {
    Ok(row.try_get::<chrono::DateTime<chrono::Utc>, _>(column)?.into())
}

pub(crate) fn optional_time(row: &PgRow, column: &str) -> Result<Option<Timestamp>, Error> {
    Ok(row.try_get::<Option<chrono::DateTime<chrono::Utc>>, _>(column)?.map(Timestamp::from))
}

pub(crate) fn symbol(row: &PgRow) -> Result<Symbol, Error> {
    Ok(Symbol::parse(row.try_get("symbol")?).map_err(unreadable)?)
}

pub(crate) fn venue(row: &PgRow) -> Result<Venue, Error> {
    Ok(Venue::parse(row.try_get("venue")?).map_err(unreadable)?)
}

pub(crate) fn optional_venue(row: &PgRow) -> Result<Option<Venue>, Error> {
    Ok(row.try_get::<Option<&str>, _>("venue")?.map(Venue::parse).transpose().map_err(unreadable)?)
}

pub(crate) fn asset(row: &PgRow, column: &str) -> Result<Asset, Error> {
    Ok(Asset::parse(row.try_get(column)?).map_err(unreadable)?)
}

/// Reads a column that holds one of a fixed set of words.
pub(crate) fn word<T>(row: &PgRow, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
    known(column, row.try_get(column)?, parse)
}

/// Parses one of a fixed set of words.
pub(crate) fn known<T>(column: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
    let unknown = || unreadable(format!("{column} is {text:?}, which this version does not know"));
    Ok(parse(text).ok_or_else(unknown)?)
}

pub(crate) fn unreadable(error: impl Into<BoxDynError>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
