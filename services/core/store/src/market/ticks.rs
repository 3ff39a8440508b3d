//! Ticks and latest prices, which the history-writer writes in batches.

use std::collections::HashSet;

use events::tick::{TickKind, TickSource};
use market_data::{InstrumentId, MarketTicks, TickPosition};
use sqlx::{Row, postgres::PgRow};

pub use super::tick_rows::NumberedTick;
use super::tick_rows::{self, column_id, kind_char, source_char};
use crate::{Error, Store, Tx, bigint, pg::row, smallint};

/// Appends ticks that are new as far as the caller knows, and returns true. Where one of them is stored or appears twice, none is
/// stored, and the transaction goes on. Each must be in a month that has a partition.
pub async fn append(tx: &mut Tx, ticks: &[NumberedTick<'_>]) -> Result<bool, Error> {
    sqlx::raw_sql("SAVEPOINT append").execute(&mut **tx).await?;
    match copy(tx, ticks).await {
        Ok(()) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT append").execute(&mut **tx).await?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn copy(tx: &mut Tx, ticks: &[NumberedTick<'_>]) -> Result<(), sqlx::Error> {
    let mut copy = tx.copy_in_raw(tick_rows::COPY).await?;
    copy.send(tick_rows::encode(ticks)).await?;
    copy.finish().await?;
    Ok(())
}

/// Inserts the ticks that are not stored yet and returns their positions.
pub async fn add(tx: &mut Tx, ticks: &[NumberedTick<'_>]) -> Result<HashSet<TickPosition>, Error> {
    let added = sqlx::query(
        "INSERT INTO ticks (instrument_id, at, trade_id, sequence, index, price, size, kind, source, received_at)
         SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::text[], $4::bigint[], $5::smallint[], $6::numeric[],
                              $7::numeric[], $8::\"char\"[], $9::\"char\"[], $10::timestamptz[])
         ON CONFLICT DO NOTHING RETURNING sequence, index",
    )
    .bind(column(ticks, |tick| tick.0))
    .bind(column(ticks, |tick| tick.1.at.datetime()))
    .bind(ticks.iter().map(|(_, tick)| column_id(tick)).collect::<Vec<_>>())
    .bind(column(ticks, |tick| bigint(tick.1.position.sequence)))
    .bind(column(ticks, |tick| smallint(tick.1.position.index)))
    .bind(column(ticks, |tick| tick.1.price.decimal()))
    .bind(column(ticks, |tick| tick.1.size.map(|size| size.decimal())))
    .bind(column(ticks, |tick| kind_char(tick.1.kind)))
    .bind(column(ticks, |tick| source_char(tick.1.source)))
    .bind(column(ticks, |tick| tick.1.received_at.datetime()))
    .fetch_all(&mut **tx)
    .await?;
    added.iter().map(position).collect()
}

/// Returns the positions of those ticks that are stored under another time within a second around: a venue's two interfaces
/// may report one trade with times of different precision.
pub async fn stored_nearby(tx: &mut Tx, ticks: &[NumberedTick<'_>]) -> Result<HashSet<TickPosition>, Error> {
    let stored = sqlx::query(
        // The limit makes the planner look at the few ticks around each one, whatever it believes about the table.
        "SELECT new.sequence, new.index FROM unnest($1::int[], $2::timestamptz[], $3::text[], $4::bigint[], $5::smallint[])
             AS new (instrument_id, at, trade_id, sequence, index)
         CROSS JOIN LATERAL (SELECT FROM ticks there
             WHERE there.instrument_id = new.instrument_id AND there.trade_id = new.trade_id
                 AND there.at BETWEEN new.at - interval '1 second' AND new.at + interval '1 second'
             LIMIT 1) AS found",
    )
    .bind(column(ticks, |tick| tick.0))
    .bind(column(ticks, |tick| tick.1.at.datetime()))
    .bind(ticks.iter().map(|(_, tick)| column_id(tick)).collect::<Vec<_>>())
    .bind(column(ticks, |tick| bigint(tick.1.position.sequence)))
    .bind(column(ticks, |tick| smallint(tick.1.position.index)))
    .fetch_all(&mut **tx)
    .await?;
    stored.iter().map(position).collect()
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

/// Makes each tick the latest of its instrument, unless the stored one is newer by time and position.
pub async fn merge_latest(tx: &mut Tx, newest: &[NumberedTick<'_>]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO latest_prices AS there (instrument_id, price, size, at, sequence, index)
         SELECT * FROM unnest($1::int[], $2::numeric[], $3::numeric[], $4::timestamptz[], $5::bigint[], $6::smallint[])
         ON CONFLICT (instrument_id) DO UPDATE SET price = EXCLUDED.price, size = EXCLUDED.size, at = EXCLUDED.at,
                 sequence = EXCLUDED.sequence, index = EXCLUDED.index
             WHERE (there.at, there.sequence, there.index) < (EXCLUDED.at, EXCLUDED.sequence, EXCLUDED.index)",
    )
    .bind(column(newest, |tick| tick.0))
    .bind(column(newest, |tick| tick.1.price.decimal()))
    .bind(column(newest, |tick| tick.1.size.map(|size| size.decimal())))
    .bind(column(newest, |tick| tick.1.at.datetime()))
    .bind(column(newest, |tick| bigint(tick.1.position.sequence)))
    .bind(column(newest, |tick| smallint(tick.1.position.index)))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds to the number of late ticks of instruments, each of which has a latest price.
pub async fn count_late(tx: &mut Tx, late: &[(InstrumentId, i64)]) -> Result<(), Error> {
    sqlx::query(
        "UPDATE latest_prices SET late_ticks = late_ticks + late.count
         FROM unnest($1::int[], $2::bigint[]) AS late (instrument_id, count)
         WHERE latest_prices.instrument_id = late.instrument_id",
    )
    .bind(late.iter().map(|(instrument, _)| *instrument).collect::<Vec<_>>())
    .bind(late.iter().map(|(_, count)| *count).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn column<T>(ticks: &[NumberedTick<'_>], value: impl Fn(&NumberedTick<'_>) -> T) -> Vec<T> {
    ticks.iter().map(value).collect()
}

/// Reads the position of a row in stream `TICKS`.
pub(crate) fn position(row: &PgRow) -> Result<TickPosition, Error> {
    let (sequence, index): (i64, i16) = (row.try_get("sequence")?, row.try_get("index")?);
    Ok(TickPosition { sequence: sequence as u64, index: index as u16 })
}

/// Returns the source of which column `source` has the letter.
pub(crate) fn source(found: i8) -> Result<TickSource, Error> {
    let sources = [TickSource::Live, TickSource::Backfill, TickSource::File, TickSource::Simulator];
    let source = sources.into_iter().find(|source| source_char(*source) == found);
    Ok(source.ok_or_else(|| row::unreadable(format!("source {found} is unknown")))?)
}

/// Returns the kind of which column `kind` has the letter.
pub(crate) fn kind(found: i8) -> Result<TickKind, Error> {
    let kinds = [TickKind::Trade, TickKind::Quote, TickKind::Poll];
    let kind = kinds.into_iter().find(|kind| kind_char(*kind) == found);
    Ok(kind.ok_or_else(|| row::unreadable(format!("kind {found} is unknown")))?)
}
