//! How the feeds are, for people: what is wanted of each, how it is, and what is missing of it.

use std::time::Duration;

use events::{FeedGap, Symbol, Timestamp, Venue};
use sqlx::{Row, postgres::PgRow};

use super::{
    followed::DesiredState,
    progress::{self, FeedState},
};
use crate::{Error, Store, pg::row};

/// A feed whose venue's states were not saved for this long is followed by nobody.
const REPORTED_WITHIN: Duration = Duration::from_secs(15);

/// A symbol that is followed at a venue, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedStatus {
    /// The venue whose trades are followed.
    pub venue: Venue,
    /// The symbol that is followed.
    pub symbol: Symbol,
    /// What an operator wants of it.
    pub desired: DesiredState,
    state: FeedState,
    detail: Option<String>,
    /// Whether a price-ingestor has saved the state of its venue a moment ago.
    is_reported: bool,
    /// The time of the last trade.
    pub last_trade_at: Option<Timestamp>,
    /// The number of trades of the last minute.
    pub trades_per_minute: u64,
    /// The number of gaps that are neither filled nor given up.
    pub open_gaps: u64,
    /// The time of the last trade before the oldest of these gaps.
    pub gap_from: Option<Timestamp>,
}

/// The state of a feed in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedWord {
    /// An operator has paused it.
    Paused,
    /// No price-ingestor follows the venue.
    Down,
    /// It is as the price-ingestor says.
    Reported(FeedState),
}

impl FeedWord {
    /// Returns the word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Down => "down",
            Self::Reported(state) => state.as_str(),
        }
    }
}

impl FeedStatus {
    /// Returns the state in one word.
    pub fn state(&self) -> FeedWord {
        match (self.desired, self.is_reported) {
            (DesiredState::Paused, _) => FeedWord::Paused,
            (DesiredState::Followed, false) => FeedWord::Down,
            (DesiredState::Followed, true) => FeedWord::Reported(self.state),
        }
    }

    /// Returns why the feed is not live.
    pub fn detail(&self) -> Option<&str> {
        match self.state() {
            FeedWord::Paused => None,
            FeedWord::Down => Some("no price-ingestor follows the venue"),
            FeedWord::Reported(_) => self.detail.as_deref(),
        }
    }
}

/// Returns the feeds of a venue, or of all, in the order of venue and symbol.
pub async fn list(store: &Store, venue: Option<&Venue>) -> Result<Vec<FeedStatus>, Error> {
    let rows = sqlx::query(
        "SELECT feed.venue, feed.symbol, is_paused, coalesce(state, 'starting') AS state, detail, last_at,
             coalesce(trades_per_minute, 0) AS trades_per_minute, gaps.open, gaps.oldest,
             reported_at > now() - make_interval(secs => $2) AS is_reported
         FROM feeds feed JOIN feed_venues USING (venue) LEFT JOIN feed_states USING (venue, symbol)
         CROSS JOIN LATERAL (
             SELECT count(*) AS open, min(gap_from) AS oldest FROM feed_gaps gap
             WHERE gap.venue = feed.venue AND gap.symbol = feed.symbol AND gap.state IN ('open', 'filling')) AS gaps
         WHERE $1::text IS NULL OR feed.venue = $1
         ORDER BY feed.venue, feed.symbol",
    )
    .bind(venue.map(Venue::as_str))
    .bind(REPORTED_WITHIN.as_secs_f64()) // float: PostgreSQL's make_interval takes seconds as one.
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(read).collect()
}

/// Returns at most `limit` gaps of a market that began between two times, which belong to the range; newest first.
pub async fn list_gaps(
    store: &Store,
    (symbol, venue): (&Symbol, &Venue),
    (from, to): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<FeedGap>, Error> {
    let query = sqlx::query(
        "SELECT * FROM feed_gaps WHERE symbol = $1 AND venue = $2 AND gap_from BETWEEN $3 AND $4
         ORDER BY gap_from DESC, lower_bound DESC LIMIT $5",
    );
    let query = query.bind(symbol.as_str()).bind(venue.as_str()).bind(from.datetime()).bind(to.datetime()).bind(limit);
    query.fetch_all(store.pool()).await?.iter().map(progress::gap).collect()
}

fn read(row: &PgRow) -> Result<FeedStatus, Error> {
    Ok(FeedStatus {
        venue: row::venue(row)?,
        symbol: row::symbol(row)?,
        desired: if row.try_get("is_paused")? { DesiredState::Paused } else { DesiredState::Followed },
        state: row::word(row, "state", FeedState::parse)?,
        detail: row.try_get("detail")?,
        is_reported: row.try_get("is_reported")?,
        last_trade_at: row::optional_time(row, "last_at")?,
        trades_per_minute: row.try_get::<i64, _>("trades_per_minute")?.unsigned_abs(),
        open_gaps: row.try_get::<i64, _>("open")?.unsigned_abs(),
        gap_from: row::optional_time(row, "oldest")?,
    })
}
