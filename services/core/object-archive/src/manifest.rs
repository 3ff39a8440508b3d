//! The manifest of a day: what its parts hold, and what is missing.

use events::{FeedGap, Timestamp, feed::GapState};
use serde::{Deserialize, Serialize};

/// The number of the manifest's shape.
pub const FORMAT: u32 = 1;

/// What the parts of a day hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The number of this shape.
    pub format: u32,
    /// The number of rows of all parts.
    pub rows: u64,
    /// The key of the first row in the order of the rows: the id of a tick, the start of a candle.
    pub first_id: String,
    /// The key of the last row.
    pub last_id: String,
    /// The parts, in the order in which they were written.
    pub parts: Vec<Part>,
    /// The trades of that day that are known to be missing, or were fetched later.
    pub gaps: Vec<FeedGap>,
}

/// A part of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The name of the file in the day's folder.
    pub name: String,
    /// The number of rows.
    pub rows: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// The digest of the bytes in hexadecimal.
    pub sha256: String,
    /// The time and the key of the first row.
    pub first: Edge,
    /// The time and the key of the last row.
    pub last: Edge,
}

/// The first or the last row of a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// The time of the row.
    pub at: Timestamp,
    /// The sequence and the index of a tick, the revision of a candle and 0.
    pub position: (i64, i64),
    /// The id of a tick, the start of a candle.
    pub id: String,
}

impl Manifest {
    /// Returns the manifest of parts, of which there is at least one.
    pub fn of(parts: Vec<Part>, gaps: Vec<FeedGap>) -> Option<Self> {
        let first = parts.iter().map(|part| &part.first).min()?.id.clone();
        let last = parts.iter().map(|part| &part.last).max()?.id.clone();
        let rows = parts.iter().map(|part| part.rows).sum();
        Some(Self { format: FORMAT, rows, first_id: first, last_id: last, parts, gaps })
    }

    /// Reads a manifest. One of another format is an error.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match manifest.format {
            FORMAT => Ok(manifest),
            other => Err(format!("it has format {other}, and this version reads format {FORMAT}")),
        }
    }

    /// Returns the gaps of the day as they are known now, in order of time. One that was filled stays stated, although the database has
    /// forgotten it by now.
    pub fn with_newer_gaps(&self, mut now: Vec<FeedGap>) -> Vec<FeedGap> {
        let is_known = |gap: &FeedGap| now.iter().any(|known| known.gap_id == gap.gap_id);
        let is_forgotten = |gap: &&FeedGap| gap.state == GapState::Filled && !is_known(gap);
        let forgotten: Vec<FeedGap> = self.gaps.iter().filter(is_forgotten).cloned().collect();
        now.extend(forgotten);
        now.sort_by_key(|gap| gap.from);
        now
    }

    /// Writes the manifest for people and programs.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Symbol, Venue,
        feed::{GapBounds, GapReason},
    };

    use super::*;

    #[test]
    fn a_gap_that_was_filled_stays_stated() {
        let gap = |second: i64, state| FeedGap {
            gap_id: second.to_string(),
            venue: Venue::parse("coinbase").expect("a venue"),
            symbol: Symbol::parse("BTC-USD").expect("a symbol"),
            revision: 1,
            bounds: GapBounds::Times,
            from: Timestamp::from_micros(second * 1_000_000).expect("a time"),
            to: None,
            first_missing_id: None,
            last_missing_id: None,
            reason: GapReason::Down,
            state,
            filled: 0,
        };
        let stated = vec![gap(1, GapState::Filled), gap(2, GapState::Open), gap(3, GapState::Open)];
        let manifest = Manifest {
            format: FORMAT,
            rows: 0,
            first_id: String::new(),
            last_id: String::new(),
            parts: vec![],
            gaps: stated,
        };
        let now = vec![gap(2, GapState::Filled), gap(4, GapState::Unfillable)];
        let expected = [gap(1, GapState::Filled), gap(2, GapState::Filled), gap(4, GapState::Unfillable)];
        assert_eq!(manifest.with_newer_gaps(now), expected);
    }
}
