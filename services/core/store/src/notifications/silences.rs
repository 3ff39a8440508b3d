//! Markets that rules watch and that do not tick: the rules cannot fire, and their owners do not know.
//!
//! Whether a market ticks is decided by the clock of the database at which the alert-engine evaluated its last tick, and not by
//! the tick's own time, because a recording has ticks of long ago. A market whose newest price in the history is newer than
//! the last evaluated one is not silent: then the alert-engine is behind.

use std::time::Duration;

use events::{Rule, Symbol, Venue};
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{Error, Tx, identity::gdpr::ERASED, pg::row, rules::judged};

/// A market that rules watch and that has not ticked for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentMarket {
    /// The symbol of the market.
    pub symbol: Symbol,
    /// The venue as the rules name it; none for rules that follow the primary venue.
    pub named: Option<Venue>,
    /// The market's venue and its last tick; none when it has never ticked.
    pub last: Option<judged::JudgedMarket>,
}

impl SilentMarket {
    /// Returns the id of what a rule is notified of: this silence of its market. The next silence has another one, because the
    /// market has ticked in between.
    pub fn source_id(&self, rule_id: Uuid) -> String {
        format!("{rule_id}{}", self.suffix())
    }

    fn suffix(&self) -> String {
        let venue = self.last.as_ref().map(|last| &last.venue).or(self.named.as_ref()).map_or("primary", Venue::as_str);
        let since = self.last.as_ref().map_or(0, |last| last.evaluated_at.micros());
        format!("-silent-{venue}-{since}")
    }
}

/// Returns the markets that active rules watch and that have not ticked for `silent_for`.
pub async fn list_markets(tx: &mut Tx, silent_for: Duration) -> Result<Vec<SilentMarket>, Error> {
    // The recursion reads one entry of the index `rules_market` per market, however many rules watch it.
    let rows = sqlx::query(
        "WITH RECURSIVE watched AS (
             (SELECT rule ->> 'symbol' AS symbol, coalesce(rule ->> 'venue', '') AS venue FROM rules
              WHERE status = 'active' ORDER BY rule ->> 'symbol', coalesce(rule ->> 'venue', '') LIMIT 1)
             UNION ALL
             SELECT next.* FROM watched CROSS JOIN LATERAL (
                 SELECT rule ->> 'symbol', coalesce(rule ->> 'venue', '') FROM rules
                 WHERE status = 'active'
                     AND (rule ->> 'symbol', coalesce(rule ->> 'venue', '')) > (watched.symbol, watched.venue)
                 ORDER BY rule ->> 'symbol', coalesce(rule ->> 'venue', '') LIMIT 1) AS next
         )
         SELECT watched.symbol, nullif(watched.venue, '') AS named, market.* FROM watched
         LEFT JOIN LATERAL (
             SELECT m.venue, last_at, evaluated_at FROM market_states m
             WHERE m.symbol = watched.symbol AND (m.venue = watched.venue OR (watched.venue = '' AND m.is_primary))
             ) AS market ON true
         WHERE coalesce(market.evaluated_at <= now() - make_interval(secs => $1), true)
             AND NOT EXISTS (
                 SELECT FROM instruments i JOIN latest_prices latest ON latest.instrument_id = i.id
                 WHERE i.symbol = watched.symbol AND i.venue = coalesce(market.venue, nullif(watched.venue, ''), i.venue)
                     AND coalesce(latest.at > market.last_at, true))",
    )
    .bind(silent_for.as_secs_f64()) // float: PostgreSQL's make_interval takes seconds as one.
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(silent_market).collect()
}

/// Returns at most `limit` active rules of a silent market that have been as they are for `silent_for` and whose owners are not
/// notified of this silence yet. A rule whose address is erased is left out.
pub async fn list_rules(
    tx: &mut Tx,
    market: &SilentMarket,
    silent_for: Duration,
    limit: i64,
) -> Result<Vec<Rule>, Error> {
    let rows = sqlx::query(
        "SELECT r.rule FROM rules r LEFT JOIN rule_states s ON s.rule_id = r.id
         WHERE r.status = 'active' AND r.rule ->> 'symbol' = $1 AND coalesce(r.rule ->> 'venue', '') = coalesce($2, '')
             AND coalesce(s.status, 'active') = 'active' AND r.rule #>> '{notify,email}' <> $6
             AND coalesce((r.rule ->> 'expires_at')::timestamptz > now(), true)
             AND r.updated_at <= now() - make_interval(secs => $3)
             AND NOT EXISTS (SELECT FROM deliveries d WHERE d.source_id = r.id || $4)
         ORDER BY r.id LIMIT $5",
    )
    .bind(market.symbol.as_str())
    .bind(market.named.as_ref().map(Venue::as_str))
    .bind(silent_for.as_secs_f64()) // float: as PostgreSQL's make_interval takes it.
    .bind(market.suffix())
    .bind(limit)
    .bind(ERASED)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|row| Ok(row.try_get::<Json<Rule>, _>("rule")?.0)).collect()
}

/// Returns the venues that have quoted a symbol since `silent_for` ago: the primary one first, the others by name.
pub async fn list_live_venues(tx: &mut Tx, symbol: &Symbol, silent_for: Duration) -> Result<Vec<Venue>, Error> {
    let rows = sqlx::query(
        "SELECT venue FROM market_states WHERE symbol = $1 AND evaluated_at > now() - make_interval(secs => $2)
         ORDER BY is_primary DESC, venue",
    )
    .bind(symbol.as_str())
    .bind(silent_for.as_secs_f64()) // float: as PostgreSQL's make_interval takes it.
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(row::venue).collect()
}

fn silent_market(row: &PgRow) -> Result<SilentMarket, Error> {
    let named: Option<&str> = row.try_get("named")?;
    let named = named.map(Venue::parse).transpose().map_err(row::unreadable)?;
    Ok(SilentMarket { symbol: row::symbol(row)?, named, last: judged::market(row)? })
}
