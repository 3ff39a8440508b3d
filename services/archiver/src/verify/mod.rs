//! Compares the archive with the database: each part with what its manifest states, and all parts of a day with the rows.

mod candles;
mod part;
mod ticks;

use store::market::export::{self, Market, TimeRange};

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
/// out. A day that differs no longer counts as archived, so that its ticks are not dropped, and the archiver looks at it again.
pub async fn days(
    archive: &Archive<'_>,
    selection: &Selection,
    mut seen: impl FnMut(u64),
) -> Result<(u64, Vec<Difference>), ArchiveError> {
    let (mut days, mut differences) = (0, Vec::new());
    for market in selection.markets(archive.store()).await? {
        let (mut from, to) = selection.range;
        let subject = (&market, selection.subject);
        while let Some((start, _)) = walk::next_day(archive.store(), subject, (from, to)).await? {
            let day = day_of(start);
            from = day.1;
            if day.1 > to {
                break;
            }
            if let Some(detail) = day_difference(archive, subject, day).await? {
                if ARCHIVED.contains(&selection.subject) {
                    let key = (market.instrument, day.0);
                    export::unmark_archived(archive.store(), key, archive.target.address()).await?;
                }
                let folder = folder_of(&market, selection.subject, day.0).path();
                differences.push(Difference { folder, detail });
            }
            days += 1;
            seen(days);
        }
    }
    Ok((days, differences))
}

/// Returns what is different about the rows of a day; none where nothing is.
pub async fn day_difference(
    archive: &Archive<'_>,
    (market, subject): (&Market, Subject),
    day: TimeRange,
) -> Result<Option<String>, ArchiveError> {
    let path = folder_of(market, subject, day.0).path();
    // What is stated of these names was put before.
    let names = archive.target.list(&path).await?;
    let manifest = match archive.manifest(&path).await {
        Ok(Some((manifest, _))) => manifest,
        Ok(None) => return Ok(Some("is not archived; run `tickbell export`, or the archiver".into())),
        Err(ArchiveError::Manifest(_, why)) => return Ok(Some(format!("has a manifest that cannot be read: {why}"))),
        Err(error) => return Err(error),
    };
    if let Some(detail) = part::unstated(&names, &manifest) {
        return Ok(Some(detail));
    }
    match subject {
        Subject::Ticks => ticks::difference(archive, market, day, (&path, &manifest)).await,
        Subject::Candles(interval) => candles::difference(archive, (market, interval), day, (&path, &manifest)).await,
    }
}
