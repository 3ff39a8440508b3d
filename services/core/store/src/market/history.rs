//! Ticks and candles, which the history-writer writes in bulk.

use std::collections::{BTreeSet, HashMap, HashSet};

use events::{Symbol, Tick, Timestamp, Venue};
use market_data::{InstrumentId, Month, StoredTick, candles::PartialCandle};
use sqlx::Row;
use tracing::info;

use crate::{Error, Store, Tx, bigint};

/// Lists the months that have a partition.
pub async fn list_partitions(store: &Store) -> Result<BTreeSet<Month>, Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'ticks'::regclass",
    )
    .fetch_all(store.pool())
    .await?;
    Ok(names.iter().filter_map(|name| partition_month(name)).collect())
}

/// Reads the month out of the name of a partition, like `ticks_2018_04`.
fn partition_month(name: &str) -> Option<Month> {
    let (year, month) = name.strip_prefix("ticks_")?.split_once('_')?;
    Month::new(year.parse().ok()?, month.parse().ok()?)
}

/// Creates the partition of a month.
pub async fn create_partition(store: &Store, month: Month) -> Result<(), Error> {
    sqlx::query("SELECT make_ticks_partition($1)").bind(month.first_day()).execute(store.pool()).await?;
    info!(%month, "created partition");
    Ok(())
}

/// Drops the partitions that end at or before `oldest`, with their ticks, and returns their months. Candles stay.
pub async fn drop_partitions_before(store: &Store, oldest: Timestamp) -> Result<Vec<Month>, Error> {
    let mut dropped = Vec::new();
    for month in list_partitions(store).await? {
        if month.next().start() <= oldest.datetime() {
            sqlx::query("SELECT drop_ticks_partition($1)").bind(month.first_day()).execute(store.pool()).await?;
            info!(%month, "dropped partition older than history.retention_days");
            dropped.push(month);
        }
    }
    Ok(dropped)
}

/// Lists all instruments.
pub async fn list_instruments(store: &Store) -> Result<HashMap<(Symbol, Venue), InstrumentId>, Error> {
    let rows = sqlx::query("SELECT symbol, venue, id FROM instruments").fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((instrument_name(row)?, row.try_get("id")?))).collect()
}

fn instrument_name(row: &sqlx::postgres::PgRow) -> Result<(Symbol, Venue), sqlx::Error> {
    let decode = |error: events::symbol::NameError| sqlx::Error::Decode(error.into());
    let symbol = Symbol::parse(row.try_get("symbol")?).map_err(decode)?;
    Ok((symbol, Venue::parse(row.try_get("venue")?).map_err(decode)?))
}

/// Adds an instrument that was first quoted at `first_sequence`, and returns its number.
pub async fn add_instrument(
    tx: &mut Tx,
    symbol: &Symbol,
    venue: &Venue,
    first_sequence: u64,
) -> Result<InstrumentId, Error> {
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

/// Inserts the ticks that are not stored yet and returns their sequences.
pub async fn add_ticks(tx: &mut Tx, ticks: &[(InstrumentId, StoredTick)]) -> Result<HashSet<u64>, Error> {
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

/// Merges partial candles into the stored ones. Each candle may appear only once.
pub async fn merge_candles(tx: &mut Tx, candles: &[PartialCandle]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO candles AS there (instrument_id, interval_seconds, start, open, open_at, open_sequence, high, low,
                                       close, close_at, close_sequence, volume, trades)
         SELECT * FROM unnest($1::int[], $2::int[], $3::timestamptz[], $4::numeric[], $5::timestamptz[], $6::bigint[],
                              $7::numeric[], $8::numeric[], $9::numeric[], $10::timestamptz[], $11::bigint[],
                              $12::numeric[], $13::bigint[])
         ON CONFLICT (instrument_id, interval_seconds, start) DO UPDATE SET
             (open, open_at, open_sequence) = (SELECT * FROM (VALUES
                     (there.open, there.open_at, there.open_sequence),
                     (EXCLUDED.open, EXCLUDED.open_at, EXCLUDED.open_sequence)) AS edge (price, at, sequence)
                 ORDER BY at, sequence LIMIT 1),
             high = greatest(there.high, EXCLUDED.high),
             low = least(there.low, EXCLUDED.low),
             (close, close_at, close_sequence) = (SELECT * FROM (VALUES
                     (there.close, there.close_at, there.close_sequence),
                     (EXCLUDED.close, EXCLUDED.close_at, EXCLUDED.close_sequence)) AS edge (price, at, sequence)
                 ORDER BY at DESC, sequence DESC LIMIT 1),
             volume = there.volume + EXCLUDED.volume,
             trades = there.trades + EXCLUDED.trades",
    )
    .bind(candles.iter().map(|candle| candle.instrument).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.interval.span().as_seconds() as i32).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.start.datetime()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.open.price.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.open.at.datetime()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| bigint(candle.open.sequence)).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.high.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.low.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.close.price.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.close.at.datetime()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| bigint(candle.close.sequence)).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.volume).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.trades).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
