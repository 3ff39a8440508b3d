//! Instruments: a symbol at a venue, with a number in the order of their first quotes.

use std::collections::HashMap;

use events::{Symbol, Venue};
use market_data::InstrumentId;
use sqlx::Row;

use crate::{Error, Store, Tx, bigint, pg::row};

/// Returns the numbers of all instruments.
pub async fn list(store: &Store) -> Result<HashMap<(Symbol, Venue), InstrumentId>, Error> {
    let rows = sqlx::query("SELECT symbol, venue, id FROM instruments").fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok(((row::symbol(row)?, row::venue(row)?), row.try_get("id")?))).collect()
}

/// Adds an instrument that was first quoted at `first_sequence`, and returns its number.
pub async fn add(tx: &mut Tx, symbol: &Symbol, venue: &Venue, first_sequence: u64) -> Result<InstrumentId, Error> {
    Ok(sqlx::query_scalar(
        "INSERT INTO instruments (symbol, venue, first_sequence) VALUES ($1, $2, $3)
         ON CONFLICT (symbol, venue) DO UPDATE
             SET first_sequence = least(instruments.first_sequence, EXCLUDED.first_sequence)
         RETURNING id",
    )
    .bind(symbol.as_str())
    .bind(venue.as_str())
    .bind(bigint(first_sequence))
    .fetch_one(&mut **tx)
    .await?)
}
