//! Which symbols of which venue are followed. The settings of the price-ingestor say it once, for a venue that no process has
//! followed before; from then on these rows do.

use events::{Symbol, Venue};
use market_data::near_symbols;
use sqlx::Row;

use crate::{Error, Store, Tx, pg::row};

/// What an operator wants of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DesiredState {
    /// Its trades are published.
    Followed,
    /// It is not followed for now. What happens meanwhile is a gap, which is filled when it is followed again.
    Paused,
}

/// What became of a request to add a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedFeed {
    /// It is followed from now on.
    New,
    /// It was there before, followed or paused.
    Known,
    /// No price-ingestor has this venue among its sources. These are the venues that there are.
    UnknownVenue(Vec<Venue>),
    /// The venue does not list the symbol. These are names near it that it lists.
    NotListed(Vec<Symbol>),
}

impl AddedFeed {
    /// Returns the sentence that refuses the request; none where it was granted.
    pub fn refusal(&self, venue: &Venue, symbol: &Symbol) -> Option<String> {
        let names = |names: Vec<&str>| names.join(", ");
        match self {
            Self::New | Self::Known => None,
            Self::UnknownVenue(venues) if venues.is_empty() => Some(format!(
                "no price-ingestor follows {venue}, or any other exchange: add it to price_ingestor.sources"
            )),
            Self::UnknownVenue(venues) => Some(format!(
                "no price-ingestor follows {venue}: use one of {}, or add it to price_ingestor.sources",
                names(venues.iter().map(Venue::as_str).collect())
            )),
            Self::NotListed(near) if near.is_empty() => {
                Some(format!("{venue} does not list {symbol}, nor a symbol with a name near it"))
            }
            Self::NotListed(near) => Some(format!(
                "{venue} does not list {symbol}; it lists {}",
                names(near.iter().map(Symbol::as_str).collect())
            )),
        }
    }
}

/// The feeds of one venue at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The number of changes so far.
    pub revision: i64,
    /// The symbols, and what is wanted of each.
    pub symbols: Vec<(Symbol, DesiredState)>,
}

/// Adds a venue with the symbols of the settings, unless it was added before. Returns what is followed.
pub async fn seed(store: &Store, venue: &Venue, symbols: &[Symbol]) -> Result<Followed, Error> {
    let (venue, symbols) = (venue.clone(), symbols.to_vec());
    let seed = store.transaction(move |tx| {
        Box::pin(async move {
            let added = sqlx::query("INSERT INTO feed_venues (venue) VALUES ($1) ON CONFLICT DO NOTHING");
            if added.bind(venue.as_str()).execute(&mut **tx).await?.rows_affected() > 0 {
                let names: Vec<&str> = symbols.iter().map(Symbol::as_str).collect();
                let feeds = sqlx::query("INSERT INTO feeds (venue, symbol) SELECT $1, unnest($2::text[])");
                feeds.bind(venue.as_str()).bind(names).execute(&mut **tx).await?;
            }
            list(tx, &venue).await
        })
    });
    seed.await
}

/// Returns the number of changes of a venue's feeds; none where the venue was never added.
pub async fn revision(store: &Store, venue: &Venue) -> Result<Option<i64>, Error> {
    let revision = sqlx::query_scalar("SELECT revision FROM feed_venues WHERE venue = $1");
    Ok(revision.bind(venue.as_str()).fetch_optional(store.pool()).await?)
}

/// Returns what is followed at a venue.
pub async fn read(store: &Store, venue: &Venue) -> Result<Followed, Error> {
    let venue = venue.clone();
    store.transaction(move |tx| Box::pin(async move { list(tx, &venue).await })).await
}

async fn list(tx: &mut Tx, venue: &Venue) -> Result<Followed, Error> {
    let revision = sqlx::query_scalar("SELECT revision FROM feed_venues WHERE venue = $1");
    let revision = revision.bind(venue.as_str()).fetch_optional(&mut **tx).await?.unwrap_or_default();
    let rows = sqlx::query("SELECT symbol, is_paused FROM feeds WHERE venue = $1 ORDER BY symbol");
    let rows = rows.bind(venue.as_str()).fetch_all(&mut **tx).await?;
    let symbols = rows.iter().map(|row| {
        let desired = if row.try_get("is_paused")? { DesiredState::Paused } else { DesiredState::Followed };
        Ok((row::symbol(row)?, desired))
    });
    Ok(Followed { revision, symbols: symbols.collect::<Result<_, Error>>()? })
}

/// Saves what a venue lists, so that a symbol can be refused where it is added.
pub async fn save_listed(store: &Store, venue: &Venue, symbols: &[Symbol]) -> Result<(), Error> {
    let mut names: Vec<&str> = symbols.iter().map(Symbol::as_str).collect();
    names.sort_unstable();
    let saved = sqlx::query("UPDATE feed_venues SET symbols = $2 WHERE venue = $1 AND symbols <> $2");
    saved.bind(venue.as_str()).bind(names).execute(store.pool()).await?;
    Ok(())
}

/// Follows a symbol that the venue lists.
pub async fn add(store: &Store, venue: &Venue, symbol: &Symbol) -> Result<AddedFeed, Error> {
    let (venue, symbol) = (venue.clone(), symbol.clone());
    let add = store.transaction(move |tx| {
        Box::pin(async move {
            let listed = sqlx::query_scalar("SELECT symbols FROM feed_venues WHERE venue = $1");
            let listed: Option<Vec<String>> = listed.bind(venue.as_str()).fetch_optional(&mut **tx).await?;
            let Some(listed) = listed else { return Ok(AddedFeed::UnknownVenue(venues(tx).await?)) };
            if !listed.iter().any(|name| name == symbol.as_str()) {
                // A name that this version cannot read is not offered.
                let listed = listed.iter().filter_map(|name| Symbol::parse(name).ok()).collect::<Vec<_>>();
                return Ok(AddedFeed::NotListed(near_symbols(&symbol, &listed)));
            }
            let added = sqlx::query("INSERT INTO feeds (venue, symbol) VALUES ($1, $2) ON CONFLICT DO NOTHING");
            let added = added.bind(venue.as_str()).bind(symbol.as_str()).execute(&mut **tx).await?;
            if added.rows_affected() == 0 {
                return Ok(AddedFeed::Known);
            }
            count_change(tx, &venue).await?;
            Ok(AddedFeed::New)
        })
    });
    add.await
}

/// Stops to follow a symbol for ever; its open gaps stay unfilled. Returns whether it was there.
pub async fn remove(store: &Store, venue: &Venue, symbol: &Symbol) -> Result<bool, Error> {
    change(store, "DELETE FROM feeds WHERE venue = $1 AND symbol = $2", venue, symbol).await
}

/// Pauses a feed, or follows it again. Returns whether it is there.
pub async fn set(store: &Store, venue: &Venue, symbol: &Symbol, desired: DesiredState) -> Result<bool, Error> {
    let statement = match desired {
        DesiredState::Followed => "UPDATE feeds SET is_paused = false WHERE venue = $1 AND symbol = $2",
        DesiredState::Paused => "UPDATE feeds SET is_paused = true WHERE venue = $1 AND symbol = $2",
    };
    change(store, statement, venue, symbol).await
}

async fn change(store: &Store, statement: &'static str, venue: &Venue, symbol: &Symbol) -> Result<bool, Error> {
    let (venue, symbol) = (venue.clone(), symbol.clone());
    let change = store.transaction(move |tx| {
        Box::pin(async move {
            let changed = sqlx::query(statement).bind(venue.as_str()).bind(symbol.as_str()).execute(&mut **tx).await?;
            if changed.rows_affected() > 0 {
                count_change(tx, &venue).await?;
            }
            Ok(changed.rows_affected() > 0)
        })
    });
    change.await
}

/// Lets the price-ingestor see that something has changed.
async fn count_change(tx: &mut Tx, venue: &Venue) -> Result<(), Error> {
    let counted = sqlx::query("UPDATE feed_venues SET revision = revision + 1 WHERE venue = $1");
    counted.bind(venue.as_str()).execute(&mut **tx).await?;
    Ok(())
}

async fn venues(tx: &mut Tx) -> Result<Vec<Venue>, Error> {
    let rows = sqlx::query("SELECT venue FROM feed_venues ORDER BY venue").fetch_all(&mut **tx).await?;
    rows.iter().map(row::venue).collect()
}
