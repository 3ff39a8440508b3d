//! One day of the archive: the parts of all its markets, merged in the order of the ticks.

use std::{collections::BTreeSet, sync::Arc};

use events::{Period, Timestamp};
use object_archive::{
    layout::{DayFolder, MANIFEST, Rows},
    manifest::{Manifest, Part},
    target::Target,
};
use store::market::export::{DroppedDay, Market, TimeRange};

use super::{
    ArchiveReader,
    memory::{self, ReservedMemory},
    part::OpenPart,
    tick::ArchivedTick,
};
use crate::HistoryError;

/// A day that is read, within a range.
pub(super) struct ArchivedDay {
    archive: ArchiveReader,
    day: Timestamp,
    range: TimeRange,
    /// The parts that were not opened yet, the one with the first tick last.
    waiting: Vec<WaitingPart>,
    open: Vec<OpenPart>,
    /// The bytes of memory that open parts may still take, by what the manifests state.
    free: u64,
    memory: Option<ReservedMemory>,
}

struct WaitingPart {
    market: Arc<Market>,
    folder: String,
    part: Part,
}

impl WaitingPart {
    fn order(&self) -> (Timestamp, (i64, i64)) {
        (self.part.first.at, self.part.first.position)
    }
}

impl ArchivedDay {
    /// Finds a day of the markets that had ticks there. Parts without a tick of the range are not read, and no tick behind it is returned;
    /// some of those before it are.
    pub(super) async fn find(
        archive: &ArchiveReader,
        day: Timestamp,
        markets: Vec<DroppedDay>,
        range: TimeRange,
    ) -> Result<Self, HistoryError> {
        let mut waiting = Vec::new();
        for dropped in markets {
            let Market { venue, symbol, .. } = dropped.market.clone();
            let folder = DayFolder { rows: Rows::Ticks, venue, symbol, day }.path();
            let parts = parts(&archive.target, &folder, &dropped).await?;
            let market = Arc::new(dropped.market);
            for part in parts.into_iter().filter(|part| range.0 <= part.last.at && part.first.at < range.1) {
                waiting.push(WaitingPart { market: Arc::clone(&market), folder: folder.clone(), part });
            }
        }
        waiting.sort_by_key(|part| std::cmp::Reverse(part.order()));
        Ok(Self { archive: archive.clone(), day, range, waiting, open: Vec::new(), free: 0, memory: None })
    }

    /// Waits for the memory that its parts need. Fails where they need more than all readers may have.
    pub(super) async fn reserve(&mut self) -> Result<(), HistoryError> {
        self.free = memory::of_day(self.waiting.iter().map(|part| &part.part));
        self.memory = self.archive.memory.reserve(self.free).await;
        if self.memory.is_some() {
            return Ok(());
        }
        let markets: BTreeSet<_> = self.waiting.iter().map(|part| part.market.instrument).collect();
        Err(HistoryError::TooWide { day: self.day, markets: markets.len(), mebibytes: self.free >> 20 })
    }

    /// Returns the next tick; none behind the last one of the range. Memory was reserved before.
    pub(super) async fn next(&mut self) -> Result<Option<ArchivedTick>, HistoryError> {
        loop {
            let first = self.first();
            let order = first.and_then(|index| self.open.get(index)?.head()).map(ArchivedTick::order);
            // A part that may have an earlier tick is opened before one is taken.
            if let Some(part) = self.waiting.pop_if(|part| order.is_none_or(|order| part.order() <= order)) {
                self.open(part).await?;
                continue;
            }
            let Some(index) = first else { return Ok(None) };
            if order.is_some_and(|(at, _)| at >= self.range.1) {
                // So are all others, and those that have a tick of the range are open.
                self.open.clear();
                return Ok(None);
            }
            let Some(part) = self.open.get_mut(index) else { return Ok(None) };
            let tick = part.take().await?;
            self.close_if_ended(index);
            if tick.is_some() {
                return Ok(tick);
            }
        }
    }

    async fn open(&mut self, WaitingPart { market, folder, part }: WaitingPart) -> Result<(), HistoryError> {
        let bytes = memory::of_part(&part);
        self.free = self.free.checked_sub(bytes).ok_or_else(|| {
            HistoryError::Damaged(format!("{folder}: more parts have ticks of the same time than the manifest states"))
        })?;
        let opened = OpenPart::open(&self.archive, market, &folder, part, self.range.0).await?;
        self.open.push(opened);
        self.close_if_ended(self.open.len() - 1);
        Ok(())
    }

    /// Closes a part that has no further tick.
    fn close_if_ended(&mut self, index: usize) {
        if self.open.get(index).is_some_and(|part| part.head().is_none()) {
            self.free += self.open.swap_remove(index).memory();
        }
    }

    /// Returns the open part with the first tick.
    fn first(&self) -> Option<usize> {
        let order = |part: &OpenPart| part.head().map(ArchivedTick::order);
        let bookmark = |part: &OpenPart| part.head().map(ArchivedTick::bookmark);
        let compare = |one: &OpenPart, other: &OpenPart| {
            order(one).cmp(&order(other)).then_with(|| bookmark(one).cmp(&bookmark(other)))
        };
        (0..self.open.len()).min_by(|one, other| compare(&self.open[*one], &self.open[*other]))
    }
}

/// Returns the parts that the manifest of a day states, which have as many ticks as the database had.
async fn parts(target: &Target, folder: &str, dropped: &DroppedDay) -> Result<Vec<Part>, HistoryError> {
    let DroppedDay { day, ticks, archived, .. } = *dropped;
    let lacking = |found: String| {
        let (from, to, why) =
            (day, day.after(Period::DAY), format!("the archive has {found} of the {ticks} ticks of {folder}"));
        if archived < ticks { HistoryError::Missing { from, to, why } } else { HistoryError::Lost { from, to, why } }
    };
    let file = format!("{folder}/{MANIFEST}");
    let Some((json, _)) = target.get(&file).await? else { return Err(lacking("none".into())) };
    let manifest = Manifest::read(&json).map_err(|error| HistoryError::Damaged(format!("{file}: {error}")))?;
    if manifest.rows != ticks || manifest.parts.iter().map(|part| part.rows).sum::<u64>() != ticks {
        return Err(lacking(manifest.rows.to_string()));
    }
    Ok(manifest.parts)
}
