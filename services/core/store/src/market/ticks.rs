//! Ticks and latest prices, which the history-writer writes in batches.

use std::collections::HashSet;

use events::Tick;
use market_data::{InstrumentId, MarketTicks, StoredTick};
use sqlx::postgres::PgRow;

use crate::{Error, Store, Tx, bigint, pg::row};

/// Inserts the ticks that are not stored yet and returns their sequences.
pub async fn add(tx: &mut Tx, ticks: &[(InstrumentId, StoredTick)]) -> Result<HashSet<u64>, Error> {
    let column = |name: fn(&Tick) -> serde_json::Value| -> Vec<String> {
        ticks.iter().map(|(_, stored)| name(&stored.tick).as_str().unwrap_or_default().to_owned()).collect()
    };
    let kinds = column(|tick| serde_json::to_value(tick.kind).unwrap_or_default());
    let sources = column(|tick| serde_json::to_value(tick.source).unwrap_or_default());
    let added: Vec<i64> = sqlx::query_scalar(
        "INSERT INTO ticks (instrument_id, at, trade_id, sequence, price, size, kind, source, received_at)
         SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::text[], $4::bigint[], $5::numeric[], $6::numeric[],
                              $7::text[], $8::text[], $9::timestamptz[])
         ON CONFLICT DO NOTHING RETURNING sequence",
    )
    .bind(ticks.iter().map(|(instrument, _)| *instrument).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| stored.tick.at.datetime()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| stored.trade_id.as_str()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| bigint(stored.sequence)).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| stored.tick.price.decimal()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| stored.tick.size.map(|size| size.decimal())).collect::<Vec<_>>())
    .bind(kinds)
    .bind(sources)
    .bind(ticks.iter().map(|(_, stored)| stored.tick.received_at.datetime()).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    Ok(added.into_iter().map(|sequence| sequence as u64).collect())
}

/// Returns the sequences of those ticks that are stored under another time within a second around: a venue's two interfaces
/// may report one trade with times of different precision.
pub async fn stored_nearby(tx: &mut Tx, ticks: &[(InstrumentId, StoredTick)]) -> Result<HashSet<u64>, Error> {
    let stored: Vec<i64> = sqlx::query_scalar(
        // The limit makes the planner look at the few ticks around each one, whatever it believes about the table.
        "SELECT new.sequence FROM unnest($1::int[], $2::timestamptz[], $3::text[], $4::bigint[])
             AS new (instrument_id, at, trade_id, sequence)
         CROSS JOIN LATERAL (SELECT FROM ticks there
             WHERE there.instrument_id = new.instrument_id AND there.trade_id = new.trade_id
                 AND there.at BETWEEN new.at - interval '1 second' AND new.at + interval '1 second'
             LIMIT 1) AS found",
    )
    .bind(ticks.iter().map(|(instrument, _)| *instrument).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| stored.tick.at.datetime()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| stored.trade_id.as_str()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, stored)| bigint(stored.sequence)).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    Ok(stored.into_iter().map(|sequence| sequence as u64).collect())
}

/// Returns the newest time of each market, without the ids of its ticks.
pub async fn newest(store: &Store) -> Result<Vec<MarketTicks>, Error> {
    let rows = sqlx::query(
        "SELECT symbol, venue, at FROM latest_prices JOIN instruments ON instruments.id = latest_prices.instrument_id",
    );
    let read = |row: &PgRow| {
        Ok(MarketTicks {
            symbol: row::symbol(row)?,
            venue: row::venue(row)?,
            at: row::time(row, "at")?,
            ids: Vec::new(),
        })
    };
    rows.fetch_all(store.pool()).await?.iter().map(read).collect()
}

/// Makes each tick the latest of its instrument, unless the stored one is newer by time and sequence.
pub async fn merge_latest(tx: &mut Tx, newest: &[(InstrumentId, StoredTick)]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO latest_prices AS there (instrument_id, price, size, at, sequence)
         SELECT * FROM unnest($1::int[], $2::numeric[], $3::numeric[], $4::timestamptz[], $5::bigint[])
         ON CONFLICT (instrument_id) DO UPDATE
             SET price = EXCLUDED.price, size = EXCLUDED.size, at = EXCLUDED.at, sequence = EXCLUDED.sequence
             WHERE (there.at, there.sequence) < (EXCLUDED.at, EXCLUDED.sequence)",
    )
    .bind(newest.iter().map(|(instrument, _)| *instrument).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, stored)| stored.tick.price.decimal()).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, stored)| stored.tick.size.map(|size| size.decimal())).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, stored)| stored.tick.at.datetime()).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, stored)| bigint(stored.sequence)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
