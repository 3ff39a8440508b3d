//! All days of the markets of a range.

use events::{Symbol, Timestamp, Venue};
use store::{
    Store,
    market::export::{self, Market, TimeRange},
};

use crate::{
    ArchiveError,
    day::{Archive, Exported, day_of},
    rows::Subject,
};

/// The rows that are exported.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The kind of rows that is exported.
    pub subject: Subject,
    /// The venue; none means every venue.
    pub venue: Option<Venue>,
    /// The symbol; none means every symbol.
    pub symbol: Option<Symbol>,
    /// The times of the rows.
    pub range: TimeRange,
}

impl Selection {
    /// Returns the markets that are selected, in order of venue and symbol.
    pub async fn markets(&self, store: &Store) -> Result<Vec<Market>, ArchiveError> {
        Ok(export::markets(store, self.venue.as_ref(), self.symbol.as_ref()).await?)
    }
}

/// Writes what the archive does not have of a selection. `seen` is called with what was done so far and the rows of the present day.
pub async fn write(
    archive: &Archive<'_>,
    selection: &Selection,
    mut seen: impl FnMut(&Exported, u64),
) -> Result<Exported, ArchiveError> {
    let mut all = Exported::default();
    for market in selection.markets(archive.store()).await? {
        let mut from = selection.range.0;
        while let Some(day) = next_day_of_all(archive, (&market, selection.subject), (from, selection.range.1)).await? {
            let done = archive.write_day((&market, selection.subject), day, |rows| seen(&all, rows)).await?;
            all.add(done);
            from = day.1;
        }
    }
    Ok(all)
}

/// Returns the first day of a range that has rows, in the database or in the archive: the part of it that is in the range.
async fn next_day_of_all(
    archive: &Archive<'_>,
    (market, subject): (&Market, Subject),
    range: TimeRange,
) -> Result<Option<TimeRange>, ArchiveError> {
    match subject {
        Subject::Ticks => Ok(archive.history.first_tick(market, range).await?.map(|at| part_of_day(at, range))),
        Subject::Candles(_) => next_day(archive.store(), (market, subject), range).await,
    }
}

/// Returns the first day of a range that has rows in the database: the part of it that is in the range.
pub(crate) async fn next_day(
    store: &Store,
    (market, subject): (&Market, Subject),
    range: TimeRange,
) -> Result<Option<TimeRange>, ArchiveError> {
    let first: Option<Timestamp> = match subject {
        Subject::Ticks => export::first_tick(store, market.instrument, range).await?,
        Subject::Candles(interval) => export::first_candle(store, (market.instrument, interval), range).await?,
    };
    Ok(first.map(|at| part_of_day(at, range)))
}

fn part_of_day(at: Timestamp, range: TimeRange) -> TimeRange {
    let (start, end) = day_of(at);
    (start.max(range.0), end.min(range.1))
}
