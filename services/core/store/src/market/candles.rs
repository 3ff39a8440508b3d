//! Candles, which the history-writer merges from the partial candles of each batch of ticks.

use events::{CandleClosed, Interval, Timestamp};
use market_data::{InstrumentId, candles::PartialCandle};
use sqlx::{Row, postgres::PgRow};

use crate::{
    Error, Numeric, Tx, bigint,
    pg::row::{self, indexed_time},
    smallint,
};

/// Merges partial candles into the stored ones. Each candle may appear only once.
pub async fn merge(tx: &mut Tx, candles: &[PartialCandle]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO candles AS there (instrument_id, interval_seconds, start, open, open_at, open_sequence, open_index, high,
                                       low, close, close_at, close_sequence, close_index, volume, trades, revision)
         SELECT * FROM unnest($1::int[], $2::int[], $3::timestamptz[], $4::numeric[], $5::timestamptz[], $6::bigint[],
                              $7::smallint[], $8::numeric[], $9::numeric[], $10::numeric[], $11::timestamptz[],
                              $12::bigint[], $13::smallint[], $14::text[]::numeric[], $15::bigint[], $16::bigint[])
         ON CONFLICT (instrument_id, interval_seconds, start) DO UPDATE SET
             (open, open_at, open_sequence, open_index) = (SELECT * FROM (VALUES
                     (there.open, there.open_at, there.open_sequence, there.open_index),
                     (EXCLUDED.open, EXCLUDED.open_at, EXCLUDED.open_sequence, EXCLUDED.open_index))
                     AS edge (price, at, sequence, index)
                 ORDER BY at, sequence, index LIMIT 1),
             high = greatest(there.high, EXCLUDED.high),
             low = least(there.low, EXCLUDED.low),
             (close, close_at, close_sequence, close_index) = (SELECT * FROM (VALUES
                     (there.close, there.close_at, there.close_sequence, there.close_index),
                     (EXCLUDED.close, EXCLUDED.close_at, EXCLUDED.close_sequence, EXCLUDED.close_index))
                     AS edge (price, at, sequence, index)
                 ORDER BY at DESC, sequence DESC, index DESC LIMIT 1),
             volume = there.volume + EXCLUDED.volume,
             trades = there.trades + EXCLUDED.trades,
             revision = there.revision + EXCLUDED.revision",
    )
    .bind(candles.iter().map(|candle| candle.instrument).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.interval.span().as_seconds() as i32).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.start.datetime()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.open.price.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.open.at.datetime()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| bigint(candle.open.position.sequence)).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| smallint(candle.open.position.index)).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.high.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.low.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.close.price.decimal()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.close.at.datetime()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| bigint(candle.close.position.sequence)).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| smallint(candle.close.position.index)).collect::<Vec<_>>())
    // As text, because a sum may have more digits than the library's type.
    .bind(candles.iter().map(|candle| candle.volume.to_string()).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.trades).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.late).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The instrument, the interval and the start, which name a candle.
pub type CandleKey = (InstrumentId, Interval, Timestamp);

/// Returns the events of candles that have closed, in the order of their keys; none of a candle that has no tick.
pub async fn closed(tx: &mut Tx, candles: &[CandleKey]) -> Result<Vec<CandleClosed>, Error> {
    let rows = sqlx::query(
        "SELECT start, open, high, low, close, volume, trades, revision, interval_seconds, symbol, venue
         FROM unnest($1::int[], $2::int[], $3::timestamptz[]) AS asked (instrument_id, interval_seconds, start)
         JOIN candles USING (instrument_id, interval_seconds, start) JOIN instruments ON instruments.id = instrument_id
         ORDER BY instrument_id, interval_seconds, start",
    )
    .bind(candles.iter().map(|candle| candle.0).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.1.span().as_seconds() as i32).collect::<Vec<_>>())
    .bind(candles.iter().map(|candle| candle.2.datetime()).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(read_closed).collect()
}

fn read_closed(row: &PgRow) -> Result<CandleClosed, Error> {
    let price = |column: usize| Ok::<_, Error>(events::Price::new(row.try_get(column)?)?);
    let seconds: i32 = row.try_get(8)?;
    let interval = Interval::ALL.into_iter().find(|interval| interval.span().as_seconds() as i32 == seconds);
    Ok(CandleClosed {
        venue: row::venue(row)?,
        symbol: row::symbol(row)?,
        interval: interval.ok_or_else(|| row::unreadable(format!("an interval of {seconds} s is unknown")))?,
        start: indexed_time(row, 0)?,
        open: price(1)?,
        high: price(2)?,
        low: price(3)?,
        close: price(4)?,
        volume: Numeric::read(row, 5)?.to_string(),
        trades: row.try_get::<i64, _>(6)? as u64,
        revision: row.try_get::<i64, _>(7)? as u64,
    })
}
