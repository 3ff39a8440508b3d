//! What the archive has of a day: the parts that its manifest states, and those that a run has left which stopped before it stated them.

use std::collections::HashSet;

use object_archive::{
    layout,
    manifest::{Manifest, Part},
    target::{Target, Version},
};
#[cfg(feature = "export")]
use {
    bytes::Bytes,
    object_archive::{
        digest::sha256,
        parquet_part::PartContent,
        table::{CANDLES, TICKS},
    },
};

use crate::{ArchiveError, encoder::Format};

/// What the archive has of a day.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) manifest: Option<(Manifest, Version)>,
    /// The parts that are stated, but for those that are not there any more, and then those that no manifest states and no other part
    /// has rows of.
    pub(crate) parts: Vec<Part>,
    /// The keys of their rows.
    pub(crate) keys: HashSet<u128>,
    /// The names of all parts of the format.
    pub(crate) names: Vec<String>,
    /// The revision of what is added.
    pub(crate) revision: u32,
    /// The parts that no manifest states and that have rows of other parts, with the keys of their rows.
    pub(crate) overlapping: Vec<(String, Vec<u128>)>,
}

impl Found {
    /// Reads which rows the parts of a day hold; none where one of them has gone meanwhile.
    #[cfg_attr(not(feature = "export"), expect(unused_variables, reason = "text is not read back"))]
    pub(crate) async fn read(
        target: &Target,
        format: Format,
        path: &str,
        (names, manifest): (Vec<String>, Option<(Manifest, Version)>),
    ) -> Result<Option<Self>, ArchiveError> {
        let names = names.into_iter().filter(|name| layout::revision(name, format.ending()).is_some()).collect();
        let found =
            Self { manifest, parts: Vec::new(), keys: HashSet::new(), names, revision: 1, overlapping: Vec::new() };
        match format {
            // Text is not read back: where it differs from what is there, it is refused when it is put.
            Format::Text(_) => Ok(Some(found)),
            #[cfg(feature = "export")]
            Format::Parquet => found.read_parts(target, path).await,
        }
    }
}

#[cfg(feature = "export")]
impl Found {
    /// Reads the stated parts first: what they have, no other part may add.
    async fn read_parts(mut self, target: &Target, path: &str) -> Result<Option<Self>, ArchiveError> {
        let stated = self.manifest.as_ref().map(|(manifest, _)| manifest.parts.clone()).unwrap_or_default();
        let all = stated.iter().map(|part| &part.name).chain(&self.names);
        let newest = all.filter_map(|name| layout::revision(name, Format::Parquet.ending())).max();
        self.revision = newest.unwrap_or_default() + 1;
        for part in &stated {
            let file = format!("{path}/{}", part.name);
            // The rows of one that is lost are written again.
            let Some((bytes, _)) = target.get(&file).await? else { continue };
            if sha256(&bytes) != part.sha256 {
                return Err(ArchiveError::Damaged(file));
            }
            self.keys.extend(decode(path, bytes).await?.keys);
            self.parts.push(part.clone());
        }
        let names: Vec<String> =
            self.names.iter().filter(|name| !stated.iter().any(|part| part.name == **name)).cloned().collect();
        for name in names {
            let Some((bytes, _)) = target.get(&format!("{path}/{name}")).await? else { return Ok(None) };
            self.read_unstated(path, name, bytes).await?;
        }
        Ok(Some(self))
    }

    /// Takes a part that no manifest states: a run has stopped behind it. It holds rows of others where that run wrote another range of
    /// the day, or without the lease.
    async fn read_unstated(&mut self, path: &str, name: String, bytes: Bytes) -> Result<(), ArchiveError> {
        let (digest, len) = (sha256(&bytes), bytes.len() as u64);
        let PartContent { keys, edges, .. } = match decode(path, bytes).await {
            Ok(content) => content,
            // It is no part of ours, and whoever compares the day names it.
            Err(ArchiveError::Part(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        match edges {
            Some((first, last)) if !keys.iter().any(|key| self.keys.contains(key)) => {
                self.parts.push(Part { name, rows: keys.len() as u64, bytes: len, sha256: digest, first, last });
                self.keys.extend(keys);
            }
            _ => self.overlapping.push((name, keys)),
        }
        Ok(())
    }
}

#[cfg(feature = "export")]
async fn decode(path: &str, bytes: Bytes) -> Result<PartContent, ArchiveError> {
    let table = if path.starts_with("ticks/") { &TICKS } else { &CANDLES };
    let work = tokio::task::spawn_blocking(move || object_archive::parquet_part::read(table, bytes));
    Ok(work.await.map_err(ArchiveError::Panicked)??)
}
