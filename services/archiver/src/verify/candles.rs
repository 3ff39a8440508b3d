//! The candles of a day: the number of candles, exact sums, and the first and the last start.

use std::collections::BTreeMap;

use bytes::Bytes;
use events::{Interval, Timestamp};
use object_archive::{
    manifest::Manifest, parquet_part::PartError, part_rows::PartRows, sums::ExactSum, table::CANDLES,
};
use store::market::export::{self, Market, TimeRange};

use super::part;
use crate::{ArchiveError, day::Archive, rows::PAGE};

/// The sums of a candle's numbers: open, high, low, close and volume.
type Sums = [ExactSum; 5];

/// A candle as the archive has it.
struct ArchivedCandle {
    trades: i64,
    numbers: Sums,
}

/// Returns what is different about the candles of a day; none where nothing is.
pub(super) async fn difference(
    archive: &Archive<'_>,
    (market, interval): (&Market, Interval),
    day: TimeRange,
    (path, manifest): (&str, &Manifest),
) -> Result<Option<String>, ArchiveError> {
    let mut candles = BTreeMap::new();
    for part in &manifest.parts {
        let bytes = match part::bytes(archive, path, part).await? {
            Ok(bytes) => bytes,
            Err(detail) => return Ok(Some(detail)),
        };
        let work = tokio::task::spawn_blocking(move || read(bytes));
        let rows = match work.await.map_err(ArchiveError::Panicked)?? {
            Ok(rows) => rows,
            Err(detail) => return Ok(Some(format!("{}: {detail}", part.name))),
        };
        if let Some(detail) = part::rows_difference(part, rows.len()) {
            return Ok(Some(detail));
        }
        for (start, candle) in rows {
            add_newest(&mut candles, start, candle);
        }
    }
    let there = export::summarize_candles(archive.store(), (market.instrument, interval), day).await?;
    let mut sums = Sums::default();
    for candle in candles.values() {
        sums.iter_mut().zip(candle.numbers).for_each(|(sum, number)| sum.merge(number));
    }
    let [open, high, low, close, volume] = sums.map(|sum| sum.to_string());
    let trades: i64 = candles.values().map(|candle| candle.trades).sum();
    let text = |micros: Option<&i64>| micros.and_then(|micros| Timestamp::from_micros(*micros).ok()).map(at);
    let first = text(candles.keys().next()).unwrap_or_default();
    let last = text(candles.keys().next_back()).unwrap_or_default();
    let [stored_open, stored_high, stored_low, stored_close, stored_volume] = there.sums;
    Ok(part::first_difference([
        ("candles", candles.len().to_string(), there.rows.to_string()),
        ("a first start", first, there.first.map(at).unwrap_or_default()),
        ("a last start", last, there.last.map(at).unwrap_or_default()),
        ("trades", trades.to_string(), there.trades),
        ("a sum of opening prices", open, stored_open),
        ("a sum of highest prices", high, stored_high),
        ("a sum of lowest prices", low, stored_low),
        ("a sum of closing prices", close, stored_close),
        ("a sum of volumes", volume, stored_volume),
    ]))
}

fn at(time: Timestamp) -> String {
    time.to_string()
}

/// Adds a candle unless the archive has it with more trades.
fn add_newest(candles: &mut BTreeMap<i64, ArchivedCandle>, start: i64, candle: ArchivedCandle) {
    let is_newer = candles.get(&start).is_none_or(|known| known.trades < candle.trades);
    if is_newer {
        candles.insert(start, candle);
    }
}

/// Reads the candles of a part with their starts; the inner error says what is wrong with them.
fn read(bytes: Bytes) -> Result<Result<Vec<(i64, ArchivedCandle)>, String>, PartError> {
    let mut part = PartRows::open(&CANDLES, bytes)?;
    let mut candles = Vec::new();
    while let Some(rows) = part.next(usize::from(PAGE))? {
        let [start, _, open, high, low, close, volume, volume_text, trades] = rows.values() else {
            return Ok(Err("it has other columns than candles".into()));
        };
        for row in 0..rows.len() {
            let mut numbers = Sums::default();
            for (sum, column) in numbers.iter_mut().zip([open, high, low, close, volume]) {
                sum.add(column.decimal(row).unwrap_or_default());
            }
            if let Some(text) = volume_text.text(row)
                && !numbers[4].add_text(text)
            {
                return Ok(Err(format!("{text} is no volume")));
            }
            let (Some(start), Some(trades)) = (start.integer(row), trades.integer(row)) else {
                return Ok(Err("a candle has no start or no number of trades".into()));
            };
            candles.push((start, ArchivedCandle { trades, numbers }));
        }
    }
    Ok(Ok(candles))
}
