//! Compares the archive with the database: each part with what its manifest states, and all parts of a day with the rows.

mod candles;
mod part;
mod ticks;

use object_archive::manifest::Manifest;
use store::market::{
    export::{self, DroppedDay, Market, TickSelection, TimeRange},
    partitions,
};

use crate::{
    ArchiveError,
    day::{Archive, day_of, folder_of},
    rows::{ARCHIVED, Subject},
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

/// Compares the days of a selection and returns their number and what differs. Days that are not in the range as a whole are left
/// out. A day that differs no longer counts as archived, so that its ticks are not dropped, and the archiver looks at it again. Of ticks
/// that the database has dropped the archive has the only copy: its files are compared with what their manifest states, and with the
/// number of ticks that the database had.
pub async fn days(
    archive: &Archive<'_>,
    selection: &Selection,
    mut seen: impl FnMut(u64),
) -> Result<(u64, Vec<Difference>), ArchiveError> {
    let (mut days, mut differences) = (0, Vec::new());
    for market in selection.markets(archive.store()).await? {
        let subject = (&market, selection.subject);
        let mut note = |day: TimeRange, detail: Option<String>| {
            days += 1;
            seen(days);
            let folder = folder_of(&market, selection.subject, day.0).path();
            differences.extend(detail.map(|detail| Difference { folder, detail }));
        };
        if selection.subject == Subject::Ticks {
            for day in dropped_days(archive, &market, selection.range).await? {
                note(day_of(day.day), dropped_day_difference(archive, &day).await?);
            }
        }
        let (mut from, to) = selection.range;
        while let Some((start, _)) = walk::next_day(archive.store(), subject, (from, to)).await? {
            let day = day_of(start);
            from = day.1;
            if day.0 < selection.range.0 {
                continue;
            }
            if day.1 > to {
                break;
            }
            let detail = day_difference(archive, subject, day).await?;
            if detail.is_some() && ARCHIVED.contains(&selection.subject) {
                let key = (market.instrument, day.0);
                export::unmark_archived(archive.store(), key, archive.target.address()).await?;
            }
            note(day, detail);
        }
    }
    Ok((days, differences))
}

/// Returns the whole days of a range whose ticks the database has dropped.
async fn dropped_days(
    archive: &Archive<'_>,
    market: &Market,
    (from, to): TimeRange,
) -> Result<Vec<DroppedDay>, ArchiveError> {
    let Market { venue, symbol, .. } = market.clone();
    let mut selection = TickSelection { symbol, venue: Some(venue), from, to };
    let mut days = Vec::new();
    for month in partitions::dropped(archive.store()).await? {
        (selection.from, selection.to) = (from.max(month.start().into()), to.min(month.next().start().into()));
        if selection.from < selection.to {
            days.extend(export::dropped_days(archive.store(), &selection).await?);
        }
    }
    days.retain(|day| from <= day.day && day_of(day.day).1 <= to);
    Ok(days)
}

/// Returns what is different about the rows of a day; none where nothing is.
pub async fn day_difference(
    archive: &Archive<'_>,
    (market, subject): (&Market, Subject),
    day: TimeRange,
) -> Result<Option<String>, ArchiveError> {
    let path = folder_of(market, subject, day.0).path();
    let manifest = match stated(archive, &path).await? {
        Ok(manifest) => manifest,
        Err(detail) => return Ok(Some(detail)),
    };
    match subject {
        Subject::Ticks => ticks::difference(archive, market, day, (&path, &manifest)).await,
        Subject::Candles(interval) => candles::difference(archive, (market, interval), day, (&path, &manifest)).await,
    }
}

/// Returns what is different about the files of a day whose ticks were dropped.
async fn dropped_day_difference(archive: &Archive<'_>, dropped: &DroppedDay) -> Result<Option<String>, ArchiveError> {
    let path = folder_of(&dropped.market, Subject::Ticks, dropped.day).path();
    match stated(archive, &path).await? {
        Ok(manifest) => ticks::dropped_difference(archive, dropped, (&path, &manifest)).await,
        Err(detail) => Ok(Some(detail)),
    }
}

/// Reads the manifest of a day; the inner error says what is wrong with it, or with the names of the parts beside it.
async fn stated(archive: &Archive<'_>, path: &str) -> Result<Result<Manifest, String>, ArchiveError> {
    // What is stated of these names was put before.
    let names = archive.target.list(path).await?;
    let manifest = match archive.manifest(path).await {
        Ok(Some((manifest, _))) => manifest,
        Ok(None) => return Ok(Err("is not archived; run `tickbell export`, or the archiver".into())),
        Err(ArchiveError::Manifest(_, why)) => return Ok(Err(format!("has a manifest that cannot be read: {why}"))),
        Err(error) => return Err(error),
    };
    Ok(match part::unstated(&names, &manifest) {
        Some(detail) => Err(detail),
        None => Ok(manifest),
    })
}
