//! The ticks of a selection, page by page.

use std::time::Duration;

use events::Timestamp;
use market_data::Month;
use store::market::export::{self, ExportedTick, ExportedTicks, TickBookmark, TickSelection};

#[cfg(feature = "export")]
use tokio::time::{Instant, timeout_at};

#[cfg(feature = "export")]
use crate::archived::{ArchivedMonth, ArchivedTicks};
use crate::{Archive, HistoryError, TickHistory};

/// The pages of a selection, which follow each other without an open transaction.
pub struct TickPages {
    history: TickHistory,
    /// What was not read yet, but for the ticks up to `after`.
    rest: TickSelection,
    after: Option<TickBookmark>,
    limit: u16,
    source: Source,
    /// The time until which the archive must have given the page that is read.
    #[cfg(feature = "export")]
    deadline: Option<Instant>,
}

/// Where the next page comes from.
enum Source {
    Undecided,
    /// The database has all ticks before this time.
    Rows(Timestamp),
    #[cfg(feature = "export")]
    Archive(Box<ArchivedMonth>),
}

/// Ticks that were read together, in order of (time, position).
pub enum TickPage {
    /// Those of the database.
    Rows(ExportedTicks),
    /// Those of the archive.
    #[cfg(feature = "export")]
    Archived(ArchivedTicks),
}

impl TickPage {
    /// Returns the number of ticks, which is not 0.
    #[expect(clippy::len_without_is_empty, reason = "a page has ticks")]
    pub fn len(&self) -> usize {
        match self {
            Self::Rows(page) => page.len(),
            #[cfg(feature = "export")]
            Self::Archived(page) => page.len(),
        }
    }

    /// Returns the ticks. A row that cannot be read is an error.
    pub fn iter(&self) -> Box<dyn Iterator<Item = Result<ExportedTick<'_>, store::Error>> + '_> {
        match self {
            Self::Rows(page) => Box::new(page.iter()),
            #[cfg(feature = "export")]
            Self::Archived(page) => Box::new(page.iter().map(Ok)),
        }
    }
}

impl TickPages {
    pub(crate) fn new(history: TickHistory, rest: TickSelection, limit: u16) -> Self {
        Self {
            history,
            rest,
            after: None,
            limit,
            source: Source::Undecided,
            #[cfg(feature = "export")]
            deadline: None,
        }
    }

    /// Returns the next page like [`TickPages::next`], and fails where the archive has not given its ticks within a time: a store may take
    /// a request and never answer it. The database has bounds of its own.
    pub async fn next_within(&mut self, time: Duration) -> Result<Option<TickPage>, HistoryError> {
        self.set_deadline(Some(time));
        let page = self.next().await;
        self.set_deadline(None);
        page
    }

    #[cfg(feature = "export")]
    fn set_deadline(&mut self, time: Option<Duration>) {
        self.deadline = time.map(|time| Instant::now() + time);
    }

    #[cfg(not(feature = "export"))]
    fn set_deadline(&mut self, _: Option<Duration>) {}

    /// Returns the next page; none behind the last one.
    pub async fn next(&mut self) -> Result<Option<TickPage>, HistoryError> {
        while self.rest.from < self.rest.to {
            let found = match &mut self.source {
                Source::Undecided => {
                    self.decide().await?;
                    None
                }
                Source::Rows(until) => {
                    let until = *until;
                    self.rows(until).await?
                }
                #[cfg(feature = "export")]
                Source::Archive(month) => {
                    let page = month.next(usize::from(self.limit));
                    let in_time = match self.deadline {
                        Some(deadline) => timeout_at(deadline, page).await.ok(),
                        None => Some(page.await),
                    };
                    let page = in_time.unwrap_or_else(|| Err(month.late()))?;
                    if page.is_none() {
                        let until = month.until();
                        self.go_on(until);
                    }
                    page.map(TickPage::Archived)
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Finds out who has the ticks from the start of the rest on.
    async fn decide(&mut self) -> Result<(), HistoryError> {
        let dropped = self.history.dropped_months(&self.rest).await?;
        match dropped.first() {
            None => self.source = Source::Rows(self.rest.to),
            Some(month) if Timestamp::from(month.start()) > self.rest.from => {
                self.source = Source::Rows(month.start().into());
            }
            Some(month) => self.read_archive(*month).await?,
        }
        Ok(())
    }

    /// Goes over to the archive for a month that was dropped.
    async fn read_archive(&mut self, month: Month) -> Result<(), HistoryError> {
        let until = Timestamp::from(month.next().start()).min(self.rest.to);
        match &self.history.archive {
            Archive::Absent(why) => {
                // The month has ticks of others only, or it was dropped since the first page.
                self.history.require_rows(&TickSelection { to: until, ..self.rest.clone() }, why).await?;
                self.go_on(until);
            }
            #[cfg(feature = "export")]
            Archive::Reader(archive) => {
                let days = self.history.dropped_days(&self.rest, month).await?;
                let range = (self.rest.from, until);
                self.source =
                    Source::Archive(Box::new(ArchivedMonth::new(archive.clone(), days, range, self.after.clone())));
            }
        }
        Ok(())
    }

    /// Reads the next page of the database; none where there is none before `until`.
    async fn rows(&mut self, until: Timestamp) -> Result<Option<TickPage>, HistoryError> {
        let selection = TickSelection { to: until, ..self.rest.clone() };
        let page = export::ticks(&self.history.store, &selection, self.after.as_ref(), self.limit).await?;
        // A page lacks what was dropped before it was read. The month is noted in the transaction that drops it, so whoever looks for
        // the note behind the page finds it.
        let from = self.after.as_ref().map_or(self.rest.from, TickBookmark::at);
        if !self.history.dropped_months(&TickSelection { from, ..selection }).await?.is_empty() {
            (self.rest.from, self.source) = (from, Source::Undecided);
            return Ok(None);
        }
        if page.len() < usize::from(self.limit) {
            self.go_on(until);
        } else {
            self.after = page.bookmark()?;
        }
        Ok((!page.is_empty()).then_some(TickPage::Rows(page)))
    }

    /// Goes on behind what one of the two has given.
    fn go_on(&mut self, until: Timestamp) {
        (self.rest.from, self.after, self.source) = (until, None, Source::Undecided);
    }
}
