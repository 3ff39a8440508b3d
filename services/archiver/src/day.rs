//! One day of one market into the archive.
//!
//! Parts are put first, under names that nobody else has, then the manifest, on condition that it is as it was read. So a run that
//! stops anywhere leaves whole parts: the next one reads which rows they hold, writes the others as a further revision, and states
//! all of them in the manifest. Where such a part has rows of another one, it is not stated but removed once its rows are. A run that finds nothing to add writes nothing. Two at a time are kept apart by a lease; where one
//! outlives its lease, the one whose manifest comes second takes back the parts that nobody states.

use std::collections::HashSet;

use bytes::Bytes;
use events::{FeedGap, Timestamp};
use object_archive::{
    digest::sha256,
    layout::{self, DayFolder, MANIFEST, Rows},
    manifest::{Manifest, Part},
    target::{Put, Target, Version},
};
use store::{
    Store,
    feeds::progress,
    market::export::{self, Market, TimeRange},
};
use tick_history::TickHistory;

use crate::{
    ArchiveError,
    encoder::{EncodedPart, Encoder, Format},
    found::Found,
    rows::{Pages, Subject},
};

/// How often a day is begun anew because somebody else has changed it meanwhile.
const ATTEMPTS: usize = 3;
/// The most gaps of a manifest.
pub(crate) const MAX_GAPS: u16 = 10_000;

/// What an export has written, and what it has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// The number of rows that were written.
    pub rows: u64,
    /// The number of bytes that were written.
    pub bytes: u64,
    /// The number of parts that were written.
    pub parts: u64,
    /// The number of rows that the archive had already.
    pub known: u64,
    /// The number of gaps of the days.
    pub gaps: u64,
}

impl Exported {
    /// Adds what was done on another day.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.parts += other.parts;
        self.known += other.known;
        self.gaps += other.gaps;
    }
}

/// The archive that is written: where, and in which format.
#[derive(Clone, Copy)]
pub struct Archive<'a> {
    /// The history that the rows come from.
    pub history: &'a TickHistory,
    /// The folder or the bucket.
    pub target: &'a Target,
    /// The format of the parts.
    pub format: Format,
}

/// What was written of the rows that no part had.
struct Added {
    parts: Vec<Part>,
    exported: Exported,
    /// The keys of the rows, where parts are there that have some of them.
    keys: HashSet<u128>,
}

impl Archive<'_> {
    /// Returns the database.
    pub(crate) fn store(&self) -> &Store {
        self.history.store()
    }

    /// Writes the rows of a range of a day that the archive does not have. `seen` is called with the number of rows after each page.
    pub async fn write_day(
        &self,
        (market, subject): (&Market, Subject),
        range: TimeRange,
        mut seen: impl FnMut(u64),
    ) -> Result<Exported, ArchiveError> {
        let folder = folder_of(market, subject, range.0);
        for _ in 0..ATTEMPTS {
            if let Some(exported) = self.try_day((market, subject), range, &folder, &mut seen).await? {
                return Ok(exported);
            }
        }
        Err(ArchiveError::Contended(folder.path()))
    }

    /// Does the same once; none where somebody else has changed the day meanwhile.
    async fn try_day(
        &self,
        (market, subject): (&Market, Subject),
        range: TimeRange,
        folder: &DayFolder,
        seen: &mut impl FnMut(u64),
    ) -> Result<Option<Exported>, ArchiveError> {
        let path = folder.path();
        let names = self.target.list(&path).await?;
        let manifest = self.manifest(&path).await?;
        let gaps =
            progress::gaps_within(self.store(), (&market.venue, &market.symbol), day_of(range.0), MAX_GAPS).await?;
        let gaps = match &manifest {
            Some((stated, _)) => stated.with_newer_gaps(gaps),
            None => gaps,
        };
        if let Some((stated, version)) = &manifest
            && self.is_complete(stated, &names, (market, subject), range).await?
        {
            let known = Exported { known: stated.rows, gaps: gaps.len() as u64, ..Exported::default() };
            let is_stated = stated.gaps == gaps || self.state(&path, Some(version), stated.parts.clone(), gaps).await?;
            return Ok(is_stated.then_some(known));
        }
        let Some(mut found) = Found::read(self.target, self.format, &path, (names, manifest)).await? else {
            return Ok(None);
        };
        let Some(added) = self.add_missing((market, subject), range, &path, &found, seen).await? else {
            return Ok(None);
        };
        let own: Vec<String> = added.parts.iter().map(|part| part.name.clone()).collect();
        found.parts.extend(added.parts);
        found.keys.extend(added.keys);
        let version = found.manifest.as_ref().map(|(_, version)| version);
        let is_same =
            found.manifest.as_ref().is_some_and(|(stated, _)| stated.parts == found.parts && stated.gaps == gaps);
        let exported = Exported { gaps: gaps.len() as u64, ..added.exported };
        if is_same || found.parts.is_empty() || self.state(&path, version, found.parts, gaps).await? {
            self.remove_overlapping(&path, &found.keys, found.overlapping).await?;
            return Ok(Some(exported));
        }
        self.take_back(&path, own).await?;
        Ok(None)
    }

    /// Returns whether the archive has all ticks of a day, by their number. Candles are few, so all of them are compared.
    async fn is_complete(
        &self,
        stated: &Manifest,
        names: &[String],
        (market, subject): (&Market, Subject),
        range: TimeRange,
    ) -> Result<bool, ArchiveError> {
        let parts = names.iter().filter(|name| layout::revision(name, self.format.ending()).is_some());
        let stated_names: HashSet<&str> = stated.parts.iter().map(|part| part.name.as_str()).collect();
        let is_stated = parts.map(String::as_str).collect::<HashSet<_>>() == stated_names;
        if !is_stated || subject != Subject::Ticks || range != day_of(range.0) {
            return Ok(false);
        }
        Ok(export::count_ticks(self.store(), market.instrument, range).await? == stated.rows)
    }

    /// Writes the rows that no part has; none where somebody else has written other rows under a name of ours.
    async fn add_missing(
        &self,
        (market, subject): (&Market, Subject),
        range: TimeRange,
        path: &str,
        found: &Found,
        seen: &mut impl FnMut(u64),
    ) -> Result<Option<Added>, ArchiveError> {
        let exported = Exported { known: found.keys.len() as u64, ..Exported::default() };
        let mut added = Added { parts: Vec::new(), exported, keys: HashSet::new() };
        let mut encoder = self.encoder(subject)?;
        let mut pages = Pages::new(market, subject, range);
        let mut rows = 0;
        loop {
            let page = pages.next(self.history).await?;
            let mut ends = page.is_none();
            if let Some(page) = &page {
                pages.encode(page, &mut encoder, |at, rest| added.is_missing(found, at, rest))?;
                rows += page.len() as u64;
                seen(rows);
                let (relieved, is_full) = encoder.relieve().await?;
                encoder = relieved;
                ends = is_full;
            }
            if ends && let Some(part) = std::mem::replace(&mut encoder, self.encoder(subject)?).finish().await? {
                let Some(stated) = self.put(path, found, part, &mut added.exported).await? else { return Ok(None) };
                added.parts.push(stated);
            }
            if page.is_none() {
                return Ok(Some(added));
            }
        }
    }

    /// Puts a part; none where its name is taken by other content.
    async fn put(
        &self,
        path: &str,
        found: &Found,
        part: EncodedPart,
        exported: &mut Exported,
    ) -> Result<Option<Part>, ArchiveError> {
        let EncodedPart { bytes, rows, first, last } = part;
        let number = |edge: &object_archive::manifest::Edge| {
            if path.starts_with("ticks/") {
                edge.position.0.unsigned_abs()
            } else {
                edge.at.micros().unsigned_abs() / 1_000_000
            }
        };
        let name = layout::part_name(number(&first), number(&last), found.revision, self.format.ending());
        if matches!(self.format, Format::Text(_)) && !found.names.is_empty() && !found.names.contains(&name) {
            return Err(ArchiveError::Occupied(path.to_owned()));
        }
        let (digest, len) = (sha256(&bytes), bytes.len() as u64);
        let file = format!("{path}/{name}");
        let stated = Part { name, rows, bytes: len, sha256: digest, first, last };
        if self.target.put_new(&file, bytes).await? == Put::Written {
            exported.rows += rows;
            exported.bytes += len;
            exported.parts += 1;
            return Ok(Some(stated));
        }
        // An answer that was lost, or a run that stopped behind this part: the same bytes are no conflict.
        let there = self.target.get(&file).await?.is_some_and(|(there, _)| sha256(&there) == stated.sha256);
        if there {
            exported.known += rows;
        }
        match self.format {
            Format::Text(_) if !there => Err(ArchiveError::Occupied(path.to_owned())),
            _ => Ok(there.then_some(stated)),
        }
    }

    /// Puts the manifest; false where somebody else has put another one meanwhile.
    async fn state(
        &self,
        path: &str,
        version: Option<&Version>,
        parts: Vec<Part>,
        gaps: Vec<FeedGap>,
    ) -> Result<bool, ArchiveError> {
        let Some(manifest) = Manifest::of(parts, gaps) else { return Ok(true) };
        let (file, json) = (format!("{path}/{MANIFEST}"), Bytes::from(manifest.to_json()));
        let put = match version {
            Some(version) => self.target.replace(&file, version, json.clone()).await?,
            None => self.target.put_new(&file, json.clone()).await?,
        };
        // An answer that was lost leaves our own manifest there.
        Ok(put == Put::Written || self.target.get(&file).await?.is_some_and(|(there, _)| there == json))
    }

    /// Removes our parts that the manifest of somebody else does not state.
    async fn take_back(&self, path: &str, own: Vec<String>) -> Result<(), ArchiveError> {
        let stated = self.manifest(path).await?.map(|(manifest, _)| manifest.parts).unwrap_or_default();
        for name in own.into_iter().filter(|name| !stated.iter().any(|part| part.name == *name)) {
            self.target.remove(&format!("{path}/{name}")).await?;
        }
        Ok(())
    }

    /// Removes parts that no manifest states and whose rows are all in parts that are stated: engines would count them twice. Whoever has
    /// written one has read a manifest that does not state those rows, so its own is refused by now. Parts with other rows stay: whoever
    /// compares the day names them.
    async fn remove_overlapping(
        &self,
        path: &str,
        stated: &HashSet<u128>,
        overlapping: Vec<(String, Vec<u128>)>,
    ) -> Result<(), ArchiveError> {
        for (name, keys) in overlapping {
            if keys.iter().all(|key| stated.contains(key)) {
                self.target.remove(&format!("{path}/{name}")).await?;
            }
        }
        Ok(())
    }

    /// Reads the manifest of a day; none where there is none.
    pub(crate) async fn manifest(&self, path: &str) -> Result<Option<(Manifest, Version)>, ArchiveError> {
        let file = format!("{path}/{MANIFEST}");
        let Some((json, version)) = self.target.get(&file).await? else { return Ok(None) };
        let manifest = Manifest::read(&json).map_err(|error| ArchiveError::Manifest(file, error))?;
        Ok(Some((manifest, version)))
    }

    fn encoder(&self, subject: Subject) -> Result<Encoder, ArchiveError> {
        match subject {
            Subject::Ticks => Encoder::of_ticks(self.format),
            Subject::Candles(_) => Encoder::of_candles(self.format),
        }
    }
}

impl Added {
    /// Returns whether no part has a row, which is added then.
    #[cfg(feature = "export")]
    fn is_missing(&mut self, found: &Found, at: Timestamp, rest: &dyn std::fmt::Display) -> bool {
        if found.keys.is_empty() && found.overlapping.is_empty() {
            return true;
        }
        let key = object_archive::parquet_part::row_key(at.micros(), rest);
        let is_missing = !found.keys.contains(&key);
        if is_missing && !found.overlapping.is_empty() {
            self.keys.insert(key);
        }
        is_missing
    }

    #[cfg(not(feature = "export"))]
    fn is_missing(&mut self, found: &Found, _: Timestamp, _: &dyn std::fmt::Display) -> bool {
        found.keys.is_empty()
    }
}

/// Returns the folder of the day that contains a time.
pub(crate) fn folder_of(market: &Market, subject: Subject, day: Timestamp) -> DayFolder {
    let rows = match subject {
        Subject::Ticks => Rows::Ticks,
        Subject::Candles(interval) => Rows::Candles(interval),
    };
    DayFolder { rows, venue: market.venue.clone(), symbol: market.symbol.clone(), day }
}

/// Returns the UTC day that contains a time.
pub fn day_of(at: Timestamp) -> TimeRange {
    let start = at.floor(events::Interval::Day);
    (start, start.after(events::Period::DAY))
}
