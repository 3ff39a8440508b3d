//! Candles, which the history-writer merges from the partial candles of each batch of ticks.

use market_data::candles::PartialCandle;

use crate::{Error, Tx, bigint, smallint};

/// Merges partial candles into the stored ones. Each candle may appear only once.
pub async fn merge(tx: &mut Tx, candles: &[PartialCandle]) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO candles AS there (instrument_id, interval_seconds, start, open, open_at, open_sequence, open_index, high,
                                       low, close, close_at, close_sequence, close_index, volume, trades)
         SELECT * FROM unnest($1::int[], $2::int[], $3::timestamptz[], $4::numeric[], $5::timestamptz[], $6::bigint[],
                              $7::smallint[], $8::numeric[], $9::numeric[], $10::numeric[], $11::timestamptz[],
                              $12::bigint[], $13::smallint[], $14::text[]::numeric[], $15::bigint[])
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
             trades = there.trades + EXCLUDED.trades",
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
    .execute(&mut **tx)
    .await?;
    Ok(())
}
