//! The ticks of a day: the number of rows, exact sums, and the first and the last id.

use std::collections::HashSet;

use events::Timestamp;
use object_archive::{
    manifest::{Manifest, Part},
    parquet_part::{self, PartContent},
    sums::ExactSum,
    table::TICKS,
};
use store::market::export::{self, DroppedDay, Market, TickSelection, TimeRange};

use super::part;
use crate::{
    ArchiveError,
    day::Archive,
    rows::{PAGE, Page, Pages, Subject},
};

/// Returns what is different about the ticks of a day; none where nothing is.
pub(super) async fn difference(
    archive: &Archive<'_>,
    market: &Market,
    day: TimeRange,
    (path, manifest): (&str, &Manifest),
) -> Result<Option<String>, ArchiveError> {
    let mut sums = [ExactSum::default(), ExactSum::default()];
    for part in &manifest.parts {
        let content = match read(archive, path, part).await? {
            Ok(content) => content,
            Err(detail) => return Ok(Some(detail)),
        };
        for (column, sum) in content.sums {
            sums[usize::from(TICKS.columns[column].0 == "size")].merge(sum);
        }
    }
    let there = export::summarize_ticks(archive.store(), market.instrument, day).await?;
    let (first, last) = edges(archive, market, day).await?;
    Ok(part::first_difference([
        ("rows", manifest.rows.to_string(), there.rows.to_string()),
        ("a sum of prices", sums[0].to_string(), there.price_sum),
        ("a sum of sizes", sums[1].to_string(), there.size_sum),
        ("a first id", manifest.first_id.clone(), first),
        ("a last id", manifest.last_id.clone(), last),
    ]))
}

/// Returns what is different about the ticks of a day that were dropped: of them the database has the number.
pub(super) async fn dropped_difference(
    archive: &Archive<'_>,
    dropped: &DroppedDay,
    (path, manifest): (&str, &Manifest),
) -> Result<Option<String>, ArchiveError> {
    let (mut rows, mut keys) = (0, HashSet::new());
    for part in &manifest.parts {
        let content = match read(archive, path, part).await? {
            Ok(content) => content,
            Err(detail) => return Ok(Some(detail)),
        };
        rows += part.rows;
        keys.extend(content.keys);
    }
    if rows != manifest.rows {
        return Ok(Some(format!("its parts have {rows} rows, and the manifest states {}", manifest.rows)));
    }
    // Engines count a row twice that two parts have.
    Ok(part::first_difference([("different rows", keys.len().to_string(), dropped.ticks.to_string())])
        .or_else(|| part::first_difference([("rows", rows.to_string(), dropped.ticks.to_string())])))
}

/// Reads a part; the inner error says how it differs from what is stated.
async fn read(archive: &Archive<'_>, path: &str, part: &Part) -> Result<Result<PartContent, String>, ArchiveError> {
    let bytes = match part::bytes(archive, path, part).await? {
        Ok(bytes) => bytes,
        Err(detail) => return Ok(Err(detail)),
    };
    let work = tokio::task::spawn_blocking(move || parquet_part::read(&TICKS, bytes));
    let content = work.await.map_err(ArchiveError::Panicked)??;
    Ok(match part::rows_difference(part, content.keys.len()) {
        Some(detail) => Err(detail),
        None => Ok(content),
    })
}

/// Returns the ids of the first and the last tick of a day in the database.
async fn edges(archive: &Archive<'_>, market: &Market, day: TimeRange) -> Result<(String, String), ArchiveError> {
    let Some(Page::Ticks(page)) = Pages::new(market, Subject::Ticks, day).next(archive.history).await? else {
        return Ok(Default::default());
    };
    let first = page.iter().next().transpose()?.map(|tick| tick.id.to_string());
    let newest = export::last_tick(archive.store(), market.instrument, day).await?.unwrap_or(day.0);
    // All ticks of the last time, of which the last in order counts.
    let after: Timestamp = Timestamp::from_micros(newest.micros() + 1).unwrap_or(day.1);
    let selection =
        TickSelection { symbol: market.symbol.clone(), venue: Some(market.venue.clone()), from: newest, to: after };
    let (mut last, mut bookmark) = (String::new(), None);
    loop {
        let page = export::ticks(archive.store(), &selection, bookmark.as_ref(), PAGE).await?;
        let Some(behind) = page.bookmark()? else { return Ok((first.unwrap_or_default(), last)) };
        if let Some(tick) = page.iter().next_back().transpose()? {
            last = tick.id.to_string();
        }
        bookmark = Some(behind);
    }
}
