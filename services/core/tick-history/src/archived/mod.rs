//! The ticks of a month in the archive, day by day.

mod day;
mod decoders;
mod memory;
mod part;
#[cfg(test)]
mod tests;
mod tick;

use std::{collections::VecDeque, sync::Arc};

use events::Timestamp;
use object_archive::target::{Target, TargetError};
use store::market::export::{DroppedDay, ExportedTick, TickBookmark, TimeRange};

use self::{day::ArchivedDay, tick::ArchivedTick};
use crate::HistoryError;

pub(crate) use self::{decoders::Decoders, memory::PartMemory};

/// The archive, and the memory for reading it.
#[derive(Clone)]
pub(crate) struct ArchiveReader {
    pub(crate) target: Target,
    /// Where it is, for errors.
    pub(crate) url: Arc<str>,
    pub(crate) memory: PartMemory,
    pub(crate) decoders: Decoders,
}

/// What is read of a month.
pub(crate) struct ArchivedMonth {
    archive: ArchiveReader,
    /// Whether it waits until others need less memory.
    waits_for_memory: bool,
    /// The days that were not opened yet, in order of day and instrument.
    days: VecDeque<DroppedDay>,
    range: TimeRange,
    /// The last tick that was read elsewhere.
    after: Option<TickBookmark>,
    day: Option<ArchivedDay>,
}

/// A page of ticks.
pub struct ArchivedTicks(Vec<ArchivedTick>);

impl ArchivedTicks {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ExportedTick<'_>> {
        self.0.iter().map(|tick| tick.stored().into())
    }
}

impl ArchivedMonth {
    pub(crate) fn new(
        archive: ArchiveReader,
        days: Vec<DroppedDay>,
        range: TimeRange,
        after: Option<TickBookmark>,
    ) -> Self {
        Self { archive, waits_for_memory: false, days: days.into(), range, after, day: None }
    }

    /// Returns the time up to which it has ticks.
    pub(crate) fn until(&self) -> Timestamp {
        self.range.1
    }

    /// Returns at most so many further ticks; none behind the last one.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<ArchivedTicks>, HistoryError> {
        let mut ticks = Vec::with_capacity(limit);
        while ticks.len() < limit {
            let day = match &mut self.day {
                Some(day) => day,
                None => match self.open_day().await? {
                    Some(day) => self.day.insert(day),
                    None => break,
                },
            };
            match day.next().await? {
                Some(tick) => ticks.extend(Some(tick).filter(|tick| self.is_wanted(tick))),
                None => self.day = None,
            }
        }
        Ok((!ticks.is_empty()).then_some(ArchivedTicks(ticks)))
    }

    /// Returns why the page that was read did not come in time.
    pub(crate) fn late(&self) -> HistoryError {
        if self.waits_for_memory {
            return HistoryError::Busy;
        }
        let url = &self.archive.url;
        HistoryError::Archive(TargetError::Unavailable(format!("{url} has not given the ticks of a page in time")))
    }

    /// Opens the next day, of all markets that have ticks there.
    async fn open_day(&mut self) -> Result<Option<ArchivedDay>, HistoryError> {
        let Some(first) = self.days.front().map(|day| day.day) else { return Ok(None) };
        let mut markets = Vec::new();
        while let Some(day) = self.days.pop_front_if(|day| day.day == first) {
            markets.push(day);
        }
        let (from, until) = self.range;
        let range = (self.after.as_ref().map_or(from, |after| from.max(after.at())), until);
        let mut day = ArchivedDay::find(&self.archive, first, markets, range).await?;
        self.waits_for_memory = true;
        day.reserve().await?;
        self.waits_for_memory = false;
        Ok(Some(day))
    }

    fn is_wanted(&self, tick: &ArchivedTick) -> bool {
        let (from, until) = self.range;
        from <= tick.at && tick.at < until && self.after.as_ref().is_none_or(|after| *after < tick.bookmark())
    }
}
