//! A part as it is read back, and whether it is the one that its manifest states.

use bytes::Bytes;
use object_archive::{
    digest::sha256,
    layout,
    manifest::{Manifest, Part},
    parquet_part::ENDING,
};

use crate::{ArchiveError, day::Archive};

/// Reads the bytes of a part; the inner error says what is wrong with them.
pub(super) async fn bytes(
    archive: &Archive<'_>,
    path: &str,
    part: &Part,
) -> Result<Result<Bytes, String>, ArchiveError> {
    let Some((bytes, _)) = archive.target.get(&format!("{path}/{}", part.name)).await? else {
        return Ok(Err(format!("{} is not there", part.name)));
    };
    if sha256(&bytes) != part.sha256 {
        return Ok(Err(format!("{} is not the file that the manifest states: its SHA-256 differs", part.name)));
    }
    Ok(Ok(bytes))
}

/// Says which part is there that the manifest does not state; none where each is stated.
pub(super) fn unstated(names: &[String], manifest: &Manifest) -> Option<String> {
    let is_unstated = |name: &&String| {
        layout::revision(name, ENDING).is_some() && !manifest.parts.iter().any(|part| part.name == **name)
    };
    let name = names.iter().find(is_unstated)?;
    Some(format!(
        "{name} is there, and the manifest does not state it: engines that read the folder count its rows; remove it"
    ))
}

/// Says what is wrong with the number of a part's rows; none where nothing is.
pub(super) fn rows_difference(part: &Part, rows: usize) -> Option<String> {
    (rows as u64 != part.rows).then(|| format!("{} has {rows} rows, and the manifest states {}", part.name, part.rows))
}

/// Says which of the numbers differs first: what it is, what the archive has, and what the database has.
pub(super) fn first_difference<const N: usize>(compared: [(&str, String, String); N]) -> Option<String> {
    let (what, archived, stored) = compared.into_iter().find(|(_, archived, stored)| archived != stored)?;
    Some(format!("the archive has {what} of {archived}, the database {stored}"))
}
