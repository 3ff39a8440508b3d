//! Ticks and candles, written in bulk by the history-writer.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Datelike, NaiveDate, TimeZone, Utc};
use events::{Interval, Price, Symbol, Tick, Timestamp, Venue};
use rust_decimal::Decimal;
use sqlx::Row;
use tracing::info;

use crate::{Error, Store, Tx, bigint};

/// An instrument's number in the database.
pub type InstrumentId = i32;

/// A tick as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTick {
    /// What was received.
    pub tick: Tick,
    /// Unique within the venue and symbol.
    pub trade_id: String,
    /// Its place in stream `TICKS`.
    pub sequence: u64,
}

/// The part of a candle that a batch of new ticks makes; parts of one candle merge in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialCandle {
    /// Whose.
    pub instrument: InstrumentId,
    /// How wide.
    pub interval: Interval,
    /// The start of the bucket.
    pub start: Timestamp,
    /// The first tick by (time, sequence).
    pub open: CandleEdge,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last tick by (time, sequence).
    pub close: CandleEdge,
    /// The sum of sizes, exact.
    pub volume: Decimal,
    /// How many ticks.
    pub trades: i64,
}

/// A tick at the edge of a candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandleEdge {
    /// Its time.
    pub at: Timestamp,
    /// Its place in the stream.
    pub sequence: u64,
    /// Its price.
    pub price: Price,
}

/// A calendar month in UTC, for which `ticks` has one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    month: u32,
}

impl Month {
    /// The month that holds an instant.
    pub fn of(at: Timestamp) -> Self {
        let date = at.datetime();
        Self { year: date.year(), month: date.month() }
    }

    /// The month after.
    pub fn next(self) -> Self {
        if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { year: self.year, month: self.month + 1 }
        }
    }

    fn start(self) -> DateTime<Utc> {
        Utc.from_utc_datetime(&self.first_day().and_hms_opt(0, 0, 0).unwrap_or_default())
    }

    fn first_day(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(self.year, self.month, 1).unwrap_or_default()
    }

    fn parse(partition: &str) -> Option<Self> {
        let (year, month) = partition.strip_prefix("ticks_")?.split_once('_')?;
        Some(Self { year: year.parse().ok()?, month: month.parse().ok()? })
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// The months that have a partition.
pub async fn list_partitions(store: &Store) -> Result<BTreeSet<Month>, Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'ticks'::regclass",
    )
    .fetch_all(store.pool())
    .await?;
    Ok(names.iter().filter_map(|name| Month::parse(name)).collect())
}

/// Makes the partition of a month.
pub async fn create_partition(store: &Store, month: Month) -> Result<(), Error> {
    sqlx::query("SELECT make_ticks_partition($1)").bind(month.first_day()).execute(store.pool()).await?;
    info!(%month, "made a partition");
    Ok(())
}

/// Drops the partitions that end at or before `oldest`, with their ticks; candles stay. Returns the months dropped.
pub async fn drop_partitions_before(store: &Store, oldest: Timestamp) -> Result<Vec<Month>, Error> {
    let mut dropped = Vec::new();
    for month in list_partitions(store).await? {
        if month.next().start() <= oldest.datetime() {
            sqlx::query("SELECT drop_ticks_partition($1)").bind(month.first_day()).execute(store.pool()).await?;
            info!(%month, "dropped a partition: older than history.retention_days");
            dropped.push(month);
        }
    }
    Ok(dropped)
}

/// All instruments there are.
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

/// Adds the ticks that are not there yet and returns the sequences of those that were added.
pub async fn add_ticks(tx: &mut Tx, ticks: &[(InstrumentId, StoredTick)]) -> Result<HashSet<u64>, Error> {
    let column = |name: fn(&Tick) -> serde_json::Value| -> Vec<String> {
        ticks.iter().map(|(_, kept)| name(&kept.tick).as_str().unwrap_or_default().to_owned()).collect()
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
    .bind(ticks.iter().map(|(_, kept)| kept.tick.at.datetime()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, kept)| kept.trade_id.as_str()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, kept)| bigint(kept.sequence)).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, kept)| kept.tick.price.decimal()).collect::<Vec<_>>())
    .bind(ticks.iter().map(|(_, kept)| kept.tick.size.map(|size| size.decimal())).collect::<Vec<_>>())
    .bind(kinds)
    .bind(sources)
    .bind(ticks.iter().map(|(_, kept)| kept.tick.received_at.datetime()).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    Ok(added.into_iter().map(|sequence| sequence as u64).collect())
}

/// Makes each tick the newest of its instrument unless a newer one, by (time, sequence), is there.
pub async fn merge_latest(tx: &mut Tx, newest: &[(InstrumentId, StoredTick)]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO latest_prices AS there (instrument_id, price, size, at, sequence)
         SELECT * FROM unnest($1::int[], $2::numeric[], $3::numeric[], $4::timestamptz[], $5::bigint[])
         ON CONFLICT (instrument_id) DO UPDATE
             SET price = EXCLUDED.price, size = EXCLUDED.size, at = EXCLUDED.at, sequence = EXCLUDED.sequence
             WHERE (there.at, there.sequence) < (EXCLUDED.at, EXCLUDED.sequence)",
    )
    .bind(newest.iter().map(|(instrument, _)| *instrument).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, kept)| kept.tick.price.decimal()).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, kept)| kept.tick.size.map(|size| size.decimal())).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, kept)| kept.tick.at.datetime()).collect::<Vec<_>>())
    .bind(newest.iter().map(|(_, kept)| bigint(kept.sequence)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Merges parts into their candles. Each candle appears once.
pub async fn merge_candles(tx: &mut Tx, parts: &[PartialCandle]) -> Result<(), Error> {
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
    .bind(parts.iter().map(|part| part.instrument).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.interval.span().as_seconds() as i32).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.start.datetime()).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.open.price.decimal()).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.open.at.datetime()).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| bigint(part.open.sequence)).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.high.decimal()).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.low.decimal()).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.close.price.decimal()).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.close.at.datetime()).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| bigint(part.close.sequence)).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.volume).collect::<Vec<_>>())
    .bind(parts.iter().map(|part| part.trades).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
