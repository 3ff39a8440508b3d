//! One day of the archive: the parts of all its markets, merged in the order of the ticks.

use std::{cmp::Ordering, sync::Arc};

use events::{Period, Timestamp};
use object_archive::{
    layout::{DayFolder, MANIFEST, Rows},
    manifest::{Manifest, Part},
    target::Target,
};
use store::market::export::{Market, TimeRange};

use super::{part::OpenPart, tick::ArchivedTick};
use crate::HistoryError;

/// The most parts that are open at a time: those of one day that overlap. Late ticks make small ones.
const MAX_OPEN: usize = 256;

/// A day that is read, within a range.
pub(super) struct ArchivedDay {
    target: Target,
    range: TimeRange,
    /// The parts that were not opened yet, the one with the first tick last.
    waiting: Vec<WaitingPart>,
    open: Vec<OpenPart>,
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
    /// Opens a day of these markets, each of which had so many ticks there. Parts without a tick of the range are not read, and no tick
    /// behind it is returned; some of those before it are.
    pub(super) async fn open(
        target: &Target,
        day: Timestamp,
        markets: Vec<(Arc<Market>, u64)>,
        range: TimeRange,
    ) -> Result<Self, HistoryError> {
        let mut waiting = Vec::new();
        for (market, ticks) in markets {
            let Market { venue, symbol, .. } = (*market).clone();
            let folder = DayFolder { rows: Rows::Ticks, venue, symbol, day }.path();
            let parts = parts(target, &folder, (day, ticks)).await?;
            for part in parts.into_iter().filter(|part| range.0 <= part.last.at && part.first.at < range.1) {
                waiting.push(WaitingPart { market: Arc::clone(&market), folder: folder.clone(), part });
            }
        }
        waiting.sort_by_key(|part| std::cmp::Reverse(part.order()));
        Ok(Self { target: target.clone(), range, waiting, open: Vec::new() })
    }

    /// Returns the next tick; none behind the last one of the range.
    pub(super) async fn next(&mut self) -> Result<Option<ArchivedTick>, HistoryError> {
        loop {
            let first = self.first();
            let order = first.and_then(|index| self.open.get(index)?.head()).map(ArchivedTick::order);
            // A part that may have an earlier tick is opened before one is taken.
            if let Some(part) = self.waiting.pop_if(|part| order.is_none_or(|order| part.order() <= order)) {
                let WaitingPart { market, folder, part } = part;
                if self.open.len() == MAX_OPEN {
                    let detail = format!("{folder} has more than {MAX_OPEN} parts of the same time");
                    return Err(HistoryError::Damaged(detail));
                }
                let opened = OpenPart::open(&self.target, market, &folder, part, self.range.0).await?;
                self.open.push(opened);
                continue;
            }
            let Some(index) = first else { return Ok(None) };
            if order.is_some_and(|(at, _)| at >= self.range.1) {
                // So are all others, and those that have a tick of the range are open.
                self.open.clear();
                return Ok(None);
            }
            let taken = match self.open.get_mut(index) {
                Some(part) => part.take().await?,
                None => None,
            };
            match taken {
                Some(tick) => return Ok(Some(tick)),
                None => drop(self.open.swap_remove(index)),
            }
        }
    }

    /// Returns the open part with the first tick; one that has ended comes before all others, so that it is removed.
    fn first(&self) -> Option<usize> {
        let compare = |one: &OpenPart, other: &OpenPart| match (one.head(), other.head()) {
            (Some(one), Some(other)) => {
                one.order().cmp(&other.order()).then_with(|| one.bookmark().cmp(&other.bookmark()))
            }
            (None, _) => Ordering::Less,
            (_, None) => Ordering::Greater,
        };
        (0..self.open.len()).min_by(|one, other| compare(&self.open[*one], &self.open[*other]))
    }
}

/// Returns the parts that the manifest of a day states, which have as many ticks as the database had.
async fn parts(target: &Target, folder: &str, (day, ticks): (Timestamp, u64)) -> Result<Vec<Part>, HistoryError> {
    let missing = |why: String| HistoryError::Missing { from: day, to: day.after(Period::DAY), why };
    let file = format!("{folder}/{MANIFEST}");
    let Some((json, _)) = target.get(&file).await? else {
        return Err(missing(format!("the archive has none of the {ticks} ticks of {folder}")));
    };
    let manifest = Manifest::read(&json).map_err(|error| HistoryError::Damaged(format!("{file}: {error}")))?;
    if manifest.rows != ticks || manifest.parts.iter().map(|part| part.rows).sum::<u64>() != ticks {
        return Err(missing(format!("the archive has {} of the {ticks} ticks of {folder}", manifest.rows)));
    }
    Ok(manifest.parts)
}
