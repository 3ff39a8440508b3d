//! A set of numbers as sorted ranges that do not touch.

use serde::{Deserialize, Serialize};

/// Numbers, as ranges with their first and last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds numbers that are above or below all of the set, or in no range of it.
    pub(super) fn insert(&mut self, first: u64, last: u64) {
        let at = self.0.partition_point(|(start, _)| *start < first);
        self.0.insert(at, (first, last));
    }

    /// Removes numbers that are all in one range of the set; returns whether they were.
    pub(super) fn remove(&mut self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < first);
        let Some((start, end)) = self.0.get(at).copied().filter(|(start, end)| *start <= first && last <= *end) else {
            return false;
        };
        let before = (start < first).then(|| (start, first - 1));
        let after = (last < end).then(|| (last + 1, end));
        self.0.splice(at..=at, before.into_iter().chain(after));
        true
    }

    /// Returns the number of ranges.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no number.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the smallest number.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.first().map(|(first, _)| *first)
    }

    /// Returns the largest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }
}
