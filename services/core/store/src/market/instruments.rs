//! Instruments: a symbol at a venue, with a number in the order of their first quotes.

use std::collections::HashMap;

use events::{Symbol, Venue};
use market_data::InstrumentId;
use sqlx::Row;

use crate::{Error, Store, Tx, pg::row};

/// Returns the numbers of all instruments.
pub async fn list(store: &Store) -> Result<HashMap<(Symbol, Venue), InstrumentId>, Error> {
    let rows = sqlx::query("SELECT symbol, venue, id FROM instruments").fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok(((row::symbol(row)?, row::venue(row)?), row.try_get("id")?))).collect()
}

/// Adds an instrument, and returns its number. The first venue that is added of a symbol is its primary one.
pub async fn add(tx: &mut Tx, symbol: &Symbol, venue: &Venue) -> Result<InstrumentId, Error> {
    Ok(sqlx::query_scalar(
        "INSERT INTO instruments (symbol, venue, is_primary)
         SELECT $1, $2, NOT EXISTS (SELECT FROM instruments WHERE symbol = $1 AND is_primary)
         ON CONFLICT (symbol, venue) DO UPDATE SET venue = EXCLUDED.venue
         RETURNING id",
    )
    .bind(symbol.as_str())
    .bind(venue.as_str())
    .fetch_one(&mut **tx)
    .await?)
}
