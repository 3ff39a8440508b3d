//! The ticks of any range, in their order: those that the database has, and those of months that it has dropped from the archive.
//!
//! `dropped_tick_months` says which months are whose, so a tick is read from one of the two. `pages` walks through a range and changes
//! over at the edges of months, also where a month is dropped while somebody reads it. `archived` reads days of the archive. What neither
//! has is an error that names the range: nobody gets fewer ticks than there were without being told.

#[cfg(feature = "export")]
mod archived;
mod error;
mod pages;

use events::Timestamp;
use market_data::Month;
#[cfg(feature = "export")]
use object_archive::target::Target;
use object_archive::target::{Settings, TargetError};
use store::{
    Store,
    market::{
        export::{self, DroppedDay, Market, TickSelection, TimeRange},
        partitions,
    },
};

#[cfg(feature = "export")]
use self::archived::{ArchiveReader, Decoders, PartMemory};

pub use error::HistoryError;
pub use pages::{TickPage, TickPages};

/// Where ticks are read: a database, and the archive of what it has dropped. All clones together have one budget of memory for the files of
/// the archive.
#[derive(Clone)]
pub struct TickHistory {
    store: Store,
    archive: Archive,
}

/// The archive, or why there is none.
#[derive(Clone)]
enum Archive {
    Absent(&'static str),
    #[cfg(feature = "export")]
    Reader(ArchiveReader),
}

impl TickHistory {
    /// Opens the history of a database with the archive of the settings, whose `url` may be empty. Fails where the URL says nothing that
    /// can be read from.
    pub fn open(store: Store, settings: &Settings) -> Result<Self, TargetError> {
        Ok(Self { store, archive: archive(settings)? })
    }

    /// Returns the database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Begins to read a selection, in pages of at most `limit` ticks. Fails where ticks of it are in no place that can be read.
    pub async fn ticks(&self, selection: TickSelection, limit: u16) -> Result<TickPages, HistoryError> {
        match self.archive {
            Archive::Absent(why) => self.require_rows(&selection, why).await?,
            #[cfg(feature = "export")]
            Archive::Reader(_) => {}
        }
        Ok(TickPages::new(self.clone(), selection, limit))
    }

    /// Returns the time of the first tick of a market within a range, or the start of the day on which it is where its ticks were
    /// dropped; none where there is none.
    pub async fn first_tick(&self, market: &Market, range: TimeRange) -> Result<Option<Timestamp>, HistoryError> {
        let stored = export::first_tick(&self.store, market.instrument, range).await?;
        let Market { venue, symbol, .. } = market.clone();
        let until = stored.unwrap_or(range.1);
        let before = TickSelection { symbol, venue: Some(venue), from: range.0, to: until };
        for month in self.dropped_months(&before).await? {
            if let Some(dropped) = self.dropped_days(&before, month).await?.first() {
                return Ok(Some(dropped.day.max(range.0)));
            }
        }
        Ok(stored)
    }

    /// Fails where ticks of a selection were dropped from the database.
    async fn require_rows(&self, selection: &TickSelection, why: &str) -> Result<(), HistoryError> {
        let mut missing: Option<TimeRange> = None;
        for month in self.dropped_months(selection).await? {
            let days = self.dropped_days(selection, month).await?;
            if let (Some(first), Some(last)) = (days.first(), days.last()) {
                let from = missing.map_or(first.day, |(from, _)| from);
                missing = Some((from, last.day.after(events::Period::DAY)));
            }
        }
        match missing {
            Some((from, to)) => Err(HistoryError::Missing { from, to, why: why.into() }),
            None => Ok(()),
        }
    }

    /// Returns the months that were dropped and are at least partly in a selection, the oldest first.
    async fn dropped_months(&self, selection: &TickSelection) -> Result<Vec<Month>, HistoryError> {
        let months = partitions::dropped(&self.store).await?;
        Ok(months.into_iter().filter(|month| is_in(*month, (selection.from, selection.to))).collect())
    }

    /// Returns the days of a month that have ticks of a selection.
    async fn dropped_days(&self, selection: &TickSelection, month: Month) -> Result<Vec<DroppedDay>, HistoryError> {
        let (start, end) = (Timestamp::from(month.start()), Timestamp::from(month.next().start()));
        let (from, to) = (selection.from.max(start), selection.to.min(end));
        Ok(export::dropped_days(&self.store, &TickSelection { from, to, ..selection.clone() }).await?)
    }
}

#[cfg(feature = "export")]
fn archive(settings: &Settings) -> Result<Archive, TargetError> {
    Ok(match settings.url.is_empty() {
        true => Archive::Absent("archive.url names no archive"),
        false => {
            let (target, url) = (Target::open(settings)?, settings.url.as_str().into());
            Archive::Reader(ArchiveReader { target, url, memory: PartMemory::default(), decoders: Decoders::start()? })
        }
    })
}

#[cfg(not(feature = "export"))]
fn archive(_: &Settings) -> Result<Archive, TargetError> {
    Ok(Archive::Absent("this program was built without the archive (feature `export`)"))
}

/// Returns whether a month is at least partly in a range.
fn is_in(month: Month, (from, to): TimeRange) -> bool {
    Timestamp::from(month.start()) < to && from < Timestamp::from(month.next().start())
}
