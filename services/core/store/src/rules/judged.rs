//! The markets that rules are evaluated against, as the alert-engine has them, and the markets that a rule may have meant.

use events::{Symbol, Timestamp, Venue};
use sqlx::postgres::PgRow;

use crate::{Error, Store, pg::row};

/// A market that rules are evaluated against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedMarket {
    /// The venue of the market: the one that a rule names, or the primary venue of its symbol.
    pub venue: Venue,
    /// The time of the last evaluated tick, by the venue's clock.
    pub last_tick_at: Timestamp,
    /// The time at which that tick was evaluated.
    pub evaluated_at: Timestamp,
}

/// Returns the market of a symbol that a rule without a venue, or with this one, is evaluated against; none while it has not
/// ticked.
pub async fn find(store: &Store, symbol: &Symbol, venue: Option<&Venue>) -> Result<Option<JudgedMarket>, Error> {
    let row = sqlx::query(
        "SELECT venue, last_at, evaluated_at FROM market_states
         WHERE symbol = $1 AND (venue = $2 OR ($2::text IS NULL AND is_primary))",
    )
    .bind(symbol.as_str())
    .bind(venue.map(Venue::as_str))
    .fetch_optional(store.pool())
    .await?;
    Ok(row.as_ref().map(market).transpose()?.flatten())
}

/// Returns the venues that quote a symbol: the primary one first, the others by name.
pub async fn list_venues(store: &Store, symbol: &Symbol) -> Result<Vec<Venue>, Error> {
    let query = sqlx::query("SELECT venue FROM market_states WHERE symbol = $1 ORDER BY is_primary DESC, venue");
    query.bind(symbol.as_str()).fetch_all(store.pool()).await?.iter().map(row::venue).collect()
}

/// Returns at most `limit` of the symbols that a venue has quoted.
pub async fn list_symbols(store: &Store, limit: i64) -> Result<Vec<Symbol>, Error> {
    let query = sqlx::query("SELECT DISTINCT symbol FROM market_states ORDER BY symbol LIMIT $1");
    query.bind(limit).fetch_all(store.pool()).await?.iter().map(row::symbol).collect()
}

/// Reads a market that may be absent.
pub(crate) fn market(row: &PgRow) -> Result<Option<JudgedMarket>, Error> {
    let Some(venue) = row::optional_venue(row)? else { return Ok(None) };
    Ok(Some(JudgedMarket {
        venue,
        last_tick_at: row::time(row, "last_at")?,
        evaluated_at: row::time(row, "evaluated_at")?,
    }))
}
