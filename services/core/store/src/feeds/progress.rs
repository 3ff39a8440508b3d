//! How far each feed of a venue was published, and what was missed: what the price-ingestor reads when it begins to follow the venue,
//! and saves after the ticks are acknowledged.
//!
//! Only the process that holds the lease of a venue saves: what another one has saved meanwhile would be put back by an older
//! state. What a gap becomes is published by the outbox, with the transaction that saves it. The same transaction counts that the
//! gaps of the market have changed, so that a page of candles that is kept elsewhere is known to be old.

use std::collections::BTreeSet;

use events::{
    FeedGap, Symbol, Timestamp, Venue,
    feed::{GapBounds, GapReason, GapState},
};
use serde_json::Value;
use sqlx::{Row, postgres::PgRow, types::Json};

use crate::{Error, Store, Tx, bigint, consumer::lease, outbox, pg::row};

/// The service whose outbox has the reports about gaps.
pub const SERVICE: &str = "price-ingestor";

/// How far a feed was published.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// The last id that was published or is in a gap; none where ids say nothing.
    pub last_id: Option<u64>,
    /// The time of the last trade.
    pub last_at: Timestamp,
    /// The gaps that are not final, as the price-ingestor wrote them, in the order of their lower bounds.
    pub gaps: Vec<Value>,
}

/// The state of a feed, as the price-ingestor reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedState {
    /// Nothing is known yet.
    Starting,
    /// Trades arrive as they happen.
    Live,
    /// The connection is alive, and no trade has arrived for longer than the symbol's rate explains.
    Stale,
    /// There is no connection.
    Reconnecting,
    /// The venue refuses it.
    Refused,
}

impl FeedState {
    /// Returns the word as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Reconnecting => "reconnecting",
            Self::Refused => "refused",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        let all = [Self::Starting, Self::Live, Self::Stale, Self::Reconnecting, Self::Refused];
        all.into_iter().find(|state| state.as_str() == word)
    }
}

/// The state of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The symbol that is followed.
    pub symbol: Symbol,
    /// The state that the feed has now.
    pub state: FeedState,
    /// Why it is not live.
    pub detail: Option<String>,
    /// The number of trades of the last minute.
    pub trades_per_minute: u64,
}

/// What is said about a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// The symbol whose trades were missed.
    pub symbol: Symbol,
    /// What the gap begins with: an id, or a time in microseconds.
    pub lower_bound: u64,
    /// What the bounds rest on.
    pub bounds: GapBounds,
    /// The time of the last trade before the gap.
    pub from: Timestamp,
    /// The time of the first trade after it; none while it is open.
    pub to: Option<Timestamp>,
    /// The first missing id, where ids say something.
    pub first_missing_id: Option<u64>,
    /// The last missing id, where it is known.
    pub last_missing_id: Option<u64>,
    /// The reason why trades were missed.
    pub reason: GapReason,
    /// The state that it has now.
    pub state: GapState,
    /// The number of trades that were filled in.
    pub filled: u64,
}

/// What is needed to go on with a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenGap {
    /// The symbol whose trades were missed.
    pub symbol: Symbol,
    /// What the gap begins with.
    pub lower_bound: u64,
    /// The gap as the price-ingestor reads it again.
    pub document: Value,
}

/// What has changed at one venue since the last save.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeedProgress {
    /// How far feeds were published: the symbol, the last id and the time of the last trade.
    pub positions: Vec<(Symbol, Option<u64>, Timestamp)>,
    /// The states of feeds.
    pub states: Vec<StateRow>,
    /// What is said about gaps, in its order.
    pub reports: Vec<ReportRow>,
    /// Gaps that are not final and have changed.
    pub open_gaps: Vec<OpenGap>,
    /// The feeds that were removed after what the reports say, and before the rest.
    pub removed: Vec<Symbol>,
}

/// Returns how far the feeds of a venue were published, also of those that are not followed any more.
pub async fn load(store: &Store, venue: &Venue) -> Result<Vec<(Symbol, Position)>, Error> {
    let rows = sqlx::query(
        "SELECT symbol, last_id, last_at,
             (SELECT jsonb_agg(document ORDER BY lower_bound) FROM feed_gaps gap
              WHERE gap.venue = feed.venue AND gap.symbol = feed.symbol AND state IN ('open', 'filling')
                  AND document IS NOT NULL) AS gaps
         FROM feed_states feed WHERE venue = $1 AND last_at IS NOT NULL",
    );
    let rows = rows.bind(venue.as_str()).fetch_all(store.pool()).await?;
    let position = |row| {
        let last_id = Row::try_get::<Option<i64>, _>(row, "last_id")?.map(|id| id as u64);
        let gaps = Row::try_get::<Option<Json<Vec<Value>>>, _>(row, "gaps")?.map(|gaps| gaps.0).unwrap_or_default();
        Ok((row::symbol(row)?, Position { last_id, last_at: row::time(row, "last_at")?, gaps }))
    };
    rows.iter().map(position).collect()
}

/// Saves what has changed, and adds what is said about gaps to the outbox. `lease` is that of the venue; the result is
/// [`Error::Fenced`] when another process has taken it.
pub async fn save(store: &Store, venue: &Venue, lease: &str, progress: FeedProgress) -> Result<(), Error> {
    let (inner, venue, lease) = (store.clone(), venue.clone(), lease.to_owned());
    let save = store.transaction(move |tx| {
        Box::pin(async move {
            lease::fence(tx, &inner, &lease).await?;
            let reported = sqlx::query("UPDATE feed_venues SET reported_at = now() WHERE venue = $1");
            reported.bind(venue.as_str()).execute(&mut **tx).await?;
            let mut events = Vec::with_capacity(progress.reports.len());
            for report in &progress.reports {
                events.push(save_report(tx, &venue, report).await?.to_message());
            }
            let given_up = remove(tx, &venue, &progress.removed).await?;
            // One that was added again meanwhile has begun anew.
            save_positions(tx, &venue, &progress.positions).await?;
            save_states(tx, &venue, &progress.states).await?;
            save_open_gaps(tx, &venue, &progress.open_gaps).await?;
            let changed: BTreeSet<&Symbol> = progress
                .reports
                .iter()
                .map(|report| &report.symbol)
                .chain(given_up.iter().map(|gap| &gap.symbol))
                .collect();
            count_changes(tx, &venue, &changed).await?;
            events.extend(given_up.iter().map(FeedGap::to_message));
            outbox::add(tx, SERVICE, &events).await
        })
    });
    save.await
}

/// Deletes what is known of filled gaps that ended before a time. What the venue did not offer stays known for ever, and so does the
/// newest gap of each market: the next one has its id where no trade lies between them, and its revisions go on.
pub async fn delete_filled(store: &Store, venue: &Venue, before: Timestamp) -> Result<u64, Error> {
    let deleted: i64 = sqlx::query_scalar(
        "WITH deleted AS (
             DELETE FROM feed_gaps gap WHERE venue = $1 AND state = 'filled' AND gap_to < $2
                 AND EXISTS (SELECT FROM feed_gaps newer WHERE newer.venue = gap.venue AND newer.symbol = gap.symbol
                                 AND newer.lower_bound > gap.lower_bound)
             RETURNING symbol
         ), counted AS (
             INSERT INTO feed_gap_changes (venue, symbol, changes)
             SELECT DISTINCT $1, symbol, 1 FROM deleted ORDER BY symbol
             ON CONFLICT (venue, symbol) DO UPDATE SET changes = feed_gap_changes.changes + 1
         )
         SELECT count(*) FROM deleted",
    )
    .bind(venue.as_str())
    .bind(before.datetime())
    .fetch_one(store.pool())
    .await?;
    Ok(deleted.unsigned_abs())
}

/// Counts for each market that its gaps have changed.
async fn count_changes(tx: &mut Tx, venue: &Venue, symbols: &BTreeSet<&Symbol>) -> Result<(), Error> {
    if symbols.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO feed_gap_changes (venue, symbol, changes) SELECT $1, symbol, 1 FROM unnest($2::text[]) AS symbol
         ON CONFLICT (venue, symbol) DO UPDATE SET changes = feed_gap_changes.changes + 1",
    )
    .bind(venue.as_str())
    .bind(symbols.iter().map(|symbol| symbol.as_str()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Returns what is known to be missing of a market within a range, oldest first: at most `limit` gaps.
pub async fn gaps_within(
    store: &Store,
    (venue, symbol): (&Venue, &Symbol),
    (from, to): (Timestamp, Timestamp),
    limit: u16,
) -> Result<Vec<FeedGap>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM feed_gaps
         WHERE symbol = $1 AND venue = $2 AND gap_from < $4 AND (gap_to IS NULL OR gap_to >= $3)
         ORDER BY gap_from, lower_bound LIMIT $5",
    )
    .bind(symbol.as_str())
    .bind(venue.as_str())
    .bind(from.datetime())
    .bind(to.datetime())
    .bind(i64::from(limit))
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(gap).collect()
}

async fn save_positions(
    tx: &mut Tx,
    venue: &Venue,
    positions: &[(Symbol, Option<u64>, Timestamp)],
) -> Result<(), Error> {
    if positions.is_empty() {
        return Ok(());
    }
    let symbols: Vec<&str> = positions.iter().map(|(symbol, ..)| symbol.as_str()).collect();
    let ids: Vec<Option<i64>> = positions.iter().map(|(_, id, _)| id.map(bigint)).collect();
    let times: Vec<_> = positions.iter().map(|(.., at)| at.datetime()).collect();
    sqlx::query(
        "INSERT INTO feed_states (venue, symbol, last_id, last_at)
         SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::timestamptz[])
         ON CONFLICT (venue, symbol) DO UPDATE SET (last_id, last_at) = (EXCLUDED.last_id, EXCLUDED.last_at)",
    )
    .bind(venue.as_str())
    .bind(symbols)
    .bind(ids)
    .bind(times)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn save_states(tx: &mut Tx, venue: &Venue, states: &[StateRow]) -> Result<(), Error> {
    if states.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO feed_states (venue, symbol, state, detail, trades_per_minute)
         SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[])
         ON CONFLICT (venue, symbol) DO UPDATE SET (state, detail, trades_per_minute)
             = (EXCLUDED.state, EXCLUDED.detail, EXCLUDED.trades_per_minute)",
    )
    .bind(venue.as_str())
    .bind(states.iter().map(|row| row.symbol.as_str()).collect::<Vec<_>>())
    .bind(states.iter().map(|row| row.state.as_str()).collect::<Vec<_>>())
    .bind(states.iter().map(|row| row.detail.as_deref()).collect::<Vec<_>>())
    .bind(states.iter().map(|row| bigint(row.trades_per_minute)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Saves what is said about a gap, and returns the event.
async fn save_report(tx: &mut Tx, venue: &Venue, report: &ReportRow) -> Result<FeedGap, Error> {
    let row = sqlx::query(
        "INSERT INTO feed_gaps (venue, symbol, lower_bound, bounds, gap_from, gap_to, first_missing_id, last_missing_id,
                                reason, state, filled)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (venue, symbol, lower_bound) DO UPDATE
             SET (bounds, gap_from, gap_to, first_missing_id, last_missing_id, reason, state, filled)
                 = (EXCLUDED.bounds, EXCLUDED.gap_from, EXCLUDED.gap_to, EXCLUDED.first_missing_id,
                    EXCLUDED.last_missing_id, EXCLUDED.reason, EXCLUDED.state, EXCLUDED.filled),
                 revision = feed_gaps.revision + 1,
                 document = CASE WHEN EXCLUDED.state IN ('open', 'filling') THEN feed_gaps.document END
         RETURNING *",
    )
    .bind(venue.as_str())
    .bind(report.symbol.as_str())
    .bind(bigint(report.lower_bound))
    .bind(report.bounds.as_str())
    .bind(report.from.datetime())
    .bind(report.to.map(Timestamp::datetime))
    .bind(report.first_missing_id.map(bigint))
    .bind(report.last_missing_id.map(bigint))
    .bind(report.reason.as_str())
    .bind(report.state.as_str())
    .bind(bigint(report.filled))
    .fetch_one(&mut **tx)
    .await?;
    gap(&row)
}

async fn save_open_gaps(tx: &mut Tx, venue: &Venue, gaps: &[OpenGap]) -> Result<(), Error> {
    if gaps.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE feed_gaps gap SET document = changed.document
         FROM unnest($2::text[], $3::bigint[], $4::jsonb[]) AS changed (symbol, lower_bound, document)
         WHERE gap.venue = $1 AND gap.symbol = changed.symbol AND gap.lower_bound = changed.lower_bound
             AND gap.state IN ('open', 'filling')",
    )
    .bind(venue.as_str())
    .bind(gaps.iter().map(|gap| gap.symbol.as_str()).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| bigint(gap.lower_bound)).collect::<Vec<_>>())
    .bind(gaps.iter().map(|gap| Json(&gap.document)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets how far feeds were published, and gives up what is missing of them.
async fn remove(tx: &mut Tx, venue: &Venue, symbols: &[Symbol]) -> Result<Vec<FeedGap>, Error> {
    if symbols.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = symbols.iter().map(Symbol::as_str).collect();
    let removed = sqlx::query("DELETE FROM feed_states WHERE venue = $1 AND symbol = ANY($2)");
    removed.bind(venue.as_str()).bind(&names).execute(&mut **tx).await?;
    let rows = sqlx::query(
        "UPDATE feed_gaps SET state = 'unfillable', gap_to = coalesce(gap_to, now()), revision = revision + 1, document = NULL
         WHERE venue = $1 AND symbol = ANY($2) AND state IN ('open', 'filling') RETURNING *",
    );
    let rows = rows.bind(venue.as_str()).bind(&names).fetch_all(&mut **tx).await?;
    rows.iter().map(gap).collect()
}

/// Reads a row of the table.
pub(super) fn gap(row: &PgRow) -> Result<FeedGap, Error> {
    let (venue, symbol) = (row::venue(row)?, row::symbol(row)?);
    Ok(FeedGap {
        gap_id: FeedGap::id(&venue, &symbol, trade_id(row, "lower_bound")?.unwrap_or_default()),
        revision: row.try_get::<i32, _>("revision")?.unsigned_abs(),
        bounds: row::word(row, "bounds", GapBounds::parse)?,
        from: row::time(row, "gap_from")?,
        to: row::optional_time(row, "gap_to")?,
        first_missing_id: trade_id(row, "first_missing_id")?,
        last_missing_id: trade_id(row, "last_missing_id")?,
        reason: row::word(row, "reason", GapReason::parse)?,
        state: row::word(row, "state", GapState::parse)?,
        filled: row.try_get::<i64, _>("filled")?.unsigned_abs(),
        venue,
        symbol,
    })
}

/// Reads an id of a trade, of which the column has the bits.
pub(super) fn trade_id(row: &PgRow, column: &str) -> Result<Option<u64>, Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(i64::cast_unsigned))
}
