//! The ticks in and around a gap that was filled in.

use events::{Price, Timestamp};
use rules::{MarketGap, PastTick};
use sqlx::{Row, postgres::PgRow};

use crate::{
    Error, Store, bigint,
    market::{tick_rows, ticks},
    pg::row,
    smallint,
};

/// Returns the last tick up to the beginning of a gap, and the first one behind its end, of those that were not filled in.
pub async fn around(store: &Store, gap: &MarketGap) -> Result<(Option<PastTick>, Option<PastTick>), Error> {
    let before = sqlx::query(
        "SELECT trade_id, at, price, sequence, index FROM ticks
         WHERE instrument_id = (SELECT id FROM instruments WHERE symbol = $1 AND venue = $2) AND at <= $3 AND source <> 'b'
         ORDER BY at DESC, sequence DESC, index DESC LIMIT 1",
    );
    let after = sqlx::query(
        "SELECT trade_id, at, price, sequence, index FROM ticks
         WHERE instrument_id = (SELECT id FROM instruments WHERE symbol = $1 AND venue = $2) AND at >= $3 AND source <> 'b'
         ORDER BY at, sequence, index LIMIT 1",
    );
    let mut found = Vec::with_capacity(2);
    for (query, at) in [(before, gap.from), (after, gap.to.unwrap_or(Timestamp::LAST))] {
        let query = query.bind(gap.symbol.as_str()).bind(gap.venue.as_str()).bind(at.datetime());
        found.push(query.fetch_optional(store.pool()).await?.as_ref().map(tick).transpose()?);
    }
    let (after, before) = (found.pop().flatten(), found.pop().flatten());
    Ok((before, after))
}

/// Returns at most `limit` of the ticks that were filled in between two ticks around a gap, in the order of time and position,
/// behind the tick `behind`.
pub async fn filled(store: &Store, gap: &MarketGap, behind: &PastTick, limit: i64) -> Result<Vec<PastTick>, Error> {
    let rows = sqlx::query(
        "SELECT trade_id, at, price, sequence, index FROM ticks
         WHERE instrument_id = (SELECT id FROM instruments WHERE symbol = $1 AND venue = $2)
             AND at >= $3 AND at <= $4 AND (at, sequence, index) > ($3, $5, $6) AND source = 'b'
         ORDER BY at, sequence, index LIMIT $7",
    )
    .bind(gap.symbol.as_str())
    .bind(gap.venue.as_str())
    .bind(behind.at.datetime())
    .bind(gap.to.unwrap_or(Timestamp::LAST).datetime())
    .bind(bigint(behind.position.sequence))
    .bind(smallint(behind.position.index))
    .bind(limit)
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(tick).collect()
}

fn tick(row: &PgRow) -> Result<PastTick, Error> {
    let at = row::time(row, "at")?;
    Ok(PastTick {
        id: tick_rows::full_id(row.try_get("trade_id")?, at).to_string(),
        at,
        price: Price::new(row.try_get("price")?)?,
        position: ticks::position(row)?,
    })
}
