//! The memory of open parts: one budget for all readers of a process, so that it does not grow with their number.
//!
//! A day takes what it needs at once before it opens a part, and gives it back as a whole. So nobody waits for one who waits.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use object_archive::{
    manifest::{Edge, Part},
    part_file::PartFile,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bytes that all open parts take together.
const BUDGET: u64 = 64 << 20;
/// What is reserved is counted in units of so many bytes.
const UNIT: u64 = 64 << 10;
/// The bytes that a row takes while its page, and the dictionaries of its columns, are decoded; and the rows for which that grows: a page has
/// 20,000 rows, a dictionary of numbers 65,536.
const ROW: u64 = 128;
const MOST_ROWS: u64 = 65_536;
/// The bytes that each open part takes in addition: its footer and the batch that was decoded.
const PART: u64 = 512 << 10;

/// The memory that is left for open parts.
#[derive(Clone)]
pub(crate) struct PartMemory {
    free: Arc<Semaphore>,
    /// What there is in all.
    units: u32,
}

/// Memory that a day has reserved, until it is dropped.
#[derive(Debug)]
pub(super) struct ReservedMemory(
    #[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit,
);

impl Default for PartMemory {
    fn default() -> Self {
        Self::of(BUDGET)
    }
}

impl PartMemory {
    /// Returns a budget of so many bytes.
    pub(super) fn of(bytes: u64) -> Self {
        let units = (bytes / UNIT) as u32;
        Self { free: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits until so many bytes are free, in the order of who has asked. Returns none where there are never so many.
    pub(super) async fn reserve(&self, bytes: u64) -> Option<ReservedMemory> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok().filter(|units| *units <= self.units)?;
        // The semaphore is never closed.
        Arc::clone(&self.free).acquire_many_owned(units).await.ok().map(ReservedMemory)
    }
}

/// Returns the bytes that a part takes while it is open.
pub(super) fn of_part(part: &Part) -> u64 {
    PartFile::memory(part.bytes) + part.rows.min(MOST_ROWS) * ROW + PART
}

/// Returns the bytes that parts take at most, of which those are open at once that have ticks of the same time.
pub(super) fn of_day<'part>(parts: impl Iterator<Item = &'part Part>) -> u64 {
    let place = |edge: &Edge| (edge.at, edge.position);
    let mut by_start: Vec<&Part> = parts.collect();
    by_start.sort_by_key(|part| place(&part.first));
    let (mut open, mut taken, mut most) = (BinaryHeap::new(), 0, 0);
    for part in by_start {
        while let Some(Reverse((last, bytes))) = open.peek()
            && *last < place(&part.first)
        {
            taken -= *bytes;
            open.pop();
        }
        open.push(Reverse((place(&part.last), of_part(part))));
        taken += of_part(part);
        most = most.max(taken);
    }
    most
}
