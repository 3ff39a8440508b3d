//! Compares the archive with the database: each part with what its manifest states, and all parts of a day with the rows.

use events::Timestamp;
use object_archive::{manifest::Part, parquet_part, sums::ExactSum, table::TICKS};
use store::market::export::{self, Market, TickSelection, TimeRange};

use crate::{
    ArchiveError,
    day::{Archive, day_of, folder_of, sha256},
    rows::{Page, Pages, Subject},
    walk::{self, Selection},
};

/// A day that is not archived as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The folder of the day.
    pub folder: String,
    /// A sentence that says what is different.
    pub detail: String,
}

/// Compares the ticks of the days of a selection and returns the number of days and what differs. Days that are not in the range as a
/// whole are left out.
pub async fn ticks(
    archive: &Archive<'_>,
    selection: &Selection,
    mut seen: impl FnMut(u64),
) -> Result<(u64, Vec<Difference>), ArchiveError> {
    let (mut days, mut differences) = (0, Vec::new());
    for market in selection.markets(archive.store).await? {
        let (mut from, to) = selection.range;
        while let Some((start, _)) = walk::next_day(archive.store, (&market, Subject::Ticks), (from, to)).await? {
            let day = day_of(start);
            from = day.1;
            if day.1 > to {
                break;
            }
            if let Some(detail) = day_difference(archive, &market, day).await? {
                let folder = folder_of(&market, Subject::Ticks, day.0).path();
                differences.push(Difference { folder, detail });
            }
            days += 1;
            seen(days);
        }
    }
    Ok((days, differences))
}

/// Returns what is different about the ticks of a day; none where nothing is.
pub async fn day_difference(
    archive: &Archive<'_>,
    market: &Market,
    day: TimeRange,
) -> Result<Option<String>, ArchiveError> {
    let path = folder_of(market, Subject::Ticks, day.0).path();
    let Some((manifest, _)) = archive.manifest(&path).await? else {
        return Ok(Some("is not archived; run `tickbell export ticks`, or the archiver".into()));
    };
    let mut sums = [ExactSum::default(), ExactSum::default()];
    for part in &manifest.parts {
        match read_part(archive, &path, part).await? {
            Ok(content) => {
                for (column, sum) in content.sums {
                    let name = TICKS.columns[column].0;
                    sums[usize::from(name == "size")].merge(sum);
                }
            }
            Err(detail) => return Ok(Some(detail)),
        }
    }
    let there = export::summarize_ticks(archive.store, market.instrument, day).await?;
    let (first, last) = edges(archive, market, day).await?;
    for (what, archived, stored) in [
        ("rows", manifest.rows.to_string(), there.rows.to_string()),
        ("a sum of prices", sums[0].to_string(), there.price_sum),
        ("a sum of sizes", sums[1].to_string(), there.size_sum),
        ("a first id", manifest.first_id.clone(), first),
        ("a last id", manifest.last_id.clone(), last),
    ] {
        if archived != stored {
            return Ok(Some(format!("the archive has {what} of {archived}, the database {stored}")));
        }
    }
    Ok(None)
}

/// Reads a part; the error says what is wrong with it.
async fn read_part(
    archive: &Archive<'_>,
    path: &str,
    part: &Part,
) -> Result<Result<parquet_part::PartContent, String>, ArchiveError> {
    let Some((bytes, _)) = archive.target.get(&format!("{path}/{}", part.name)).await? else {
        return Ok(Err(format!("{} is not there", part.name)));
    };
    if sha256(&bytes) != part.sha256 {
        return Ok(Err(format!("{} is not the file that the manifest states: its SHA-256 differs", part.name)));
    }
    let work = tokio::task::spawn_blocking(move || parquet_part::read(&TICKS, bytes));
    let content = work.await.map_err(ArchiveError::Panicked)??;
    if content.keys.len() as u64 != part.rows {
        return Ok(Err(format!(
            "{} has {} rows, and the manifest states {}",
            part.name,
            content.keys.len(),
            part.rows
        )));
    }
    Ok(Ok(content))
}

/// Returns the ids of the first and the last tick of a day in the database.
async fn edges(archive: &Archive<'_>, market: &Market, day: TimeRange) -> Result<(String, String), ArchiveError> {
    let Some(Page::Ticks(page)) = Pages::new(market, Subject::Ticks, day).next(archive.store).await? else {
        return Ok(Default::default());
    };
    let first = page.iter().next().transpose()?.map(|tick| tick.id.to_string());
    let newest = export::last_tick(archive.store, market.instrument, day).await?.unwrap_or(day.0);
    // All ticks of the last time, of which the last in order counts.
    let after: Timestamp = Timestamp::from_micros(newest.micros() + 1).unwrap_or(day.1);
    let selection =
        TickSelection { symbol: market.symbol.clone(), venue: Some(market.venue.clone()), from: newest, to: after };
    let (mut last, mut bookmark) = (String::new(), None);
    loop {
        let page = export::ticks(archive.store, &selection, bookmark.as_ref(), crate::rows::PAGE).await?;
        let Some(behind) = page.bookmark()? else { return Ok((first.unwrap_or_default(), last)) };
        if let Some(tick) = page.iter().next_back().transpose()? {
            last = tick.id.to_string();
        }
        bookmark = Some(behind);
    }
}
