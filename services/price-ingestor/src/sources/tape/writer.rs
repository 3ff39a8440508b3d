//! Writes a tape into a folder: files that are packed as they are written, begun anew by size and age, and deleted, the oldest
//! first, beyond the size of the whole.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use events::{Timestamp, Venue};
use thiserror::Error;
use tracing::info;

use super::line::{Content, ProductSymbols, write_line};

/// What a tape's file is called, with the time of its first line between both.
const PREFIX: &str = "tape-";
const SUFFIX: &str = ".ndjson.zst";
/// As fast as an exchange sends, and half as large as the fastest level.
const LEVEL: i32 = 3;
/// The most names that are tried for a file.
const MAX_NAMES: i64 = 1_000;

/// How a tape is divided and bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapeLimits {
    /// A file is ended when it has this many bytes.
    pub file_bytes: u64,
    /// A file is ended when it is this old.
    pub file_age: Duration,
    /// The most bytes of all files together.
    pub total_bytes: u64,
}

/// The reason why a tape cannot be written.
#[derive(Debug, Error)]
pub enum TapeWriteError {
    /// The folder cannot be made or read.
    #[error("cannot use the folder {0} for a tape; name a folder that can be written with --out")]
    Folder(String, #[source] io::Error),
    /// A file cannot be written. What is written before can be played.
    #[error("cannot write {0}; what is written before can be played")]
    Write(String, #[source] io::Error),
}

/// The totals of a tape that is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TapeTotals {
    /// The lines that were written.
    pub lines: u64,
    /// The bytes on disk of the files that are ended.
    pub bytes: u64,
    /// The files that were begun.
    pub files: u64,
    /// The old files that were deleted.
    pub deleted: u64,
}

/// The files of a tape in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapeFiles {
    /// The files, oldest first, with their sizes.
    pub files: Vec<(PathBuf, u64)>,
}

/// Writes the lines of a tape.
pub struct TapeWriter {
    folder: PathBuf,
    limits: TapeLimits,
    /// The products of each venue, which stand at the head of each file, so that a file can be played alone.
    heads: BTreeMap<Venue, ProductSymbols>,
    current: Option<Current>,
    totals: TapeTotals,
}

struct Current {
    path: PathBuf,
    encoder: zstd::Encoder<'static, CountedFile>,
    begun_at: Timestamp,
}

/// A file that counts what is written into it.
struct CountedFile {
    file: File,
    bytes: u64,
}

impl Write for CountedFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Returns whether a file is called like one of a tape.
pub(super) fn is_tape_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.ends_with(SUFFIX))
}

impl TapeFiles {
    /// Lists the files of a tape in a folder.
    pub fn list(folder: &Path) -> Result<Self, TapeWriteError> {
        let read = || {
            let mut files = Vec::new();
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if is_tape_file(&entry.path()) {
                    files.push((entry.path(), entry.metadata()?.len()));
                }
            }
            // The names begin with the time of the first line.
            files.sort();
            Ok(files)
        };
        read().map(|files| Self { files }).map_err(|error| TapeWriteError::Folder(folder.display().to_string(), error))
    }

    /// Returns the size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl TapeWriter {
    /// Returns a writer that begins a file with the first line. The folder is made where it is missing.
    pub fn open(folder: &Path, limits: TapeLimits) -> Result<Self, TapeWriteError> {
        fs::create_dir_all(folder).map_err(|error| TapeWriteError::Folder(folder.display().to_string(), error))?;
        TapeFiles::list(folder)?;
        let (heads, totals) = (BTreeMap::new(), TapeTotals::default());
        Ok(Self { folder: folder.to_owned(), limits, heads, current: None, totals })
    }

    /// Writes a line. It is on the disk after [`TapeWriter::flush`].
    pub fn write(&mut self, at: Timestamp, venue: &Venue, content: &Content<'_>) -> Result<(), TapeWriteError> {
        let is_full = self.current.as_ref().is_some_and(|current| current.is_full(at, &self.limits));
        if is_full {
            self.end_file()?;
        }
        if let Content::Products(products) = content {
            let known = self.heads.insert(venue.clone(), products.clone());
            if known.as_ref() == Some(products) || self.current.is_none() {
                // The head of the next file has it.
                return Ok(());
            }
        }
        if self.current.is_none() {
            self.begin_file(at)?;
        }
        self.append(&write_line(at, venue, content))
    }

    /// Hands everything that was written over to the operating system.
    pub fn flush(&mut self) -> Result<(), TapeWriteError> {
        let Some(Current { path, encoder, .. }) = &mut self.current else { return Ok(()) };
        encoder.flush().map_err(|error| TapeWriteError::Write(path.display().to_string(), error))
    }

    /// Ends the current file, so that it is whole.
    pub fn finish(mut self) -> Result<TapeTotals, TapeWriteError> {
        self.end_file()?;
        Ok(self.totals)
    }

    /// Returns what was written.
    pub fn totals(&self) -> TapeTotals {
        let open = self.current.as_ref().map_or(0, |current| current.encoder.get_ref().bytes);
        TapeTotals { bytes: self.totals.bytes + open, ..self.totals }
    }

    fn begin_file(&mut self, at: Timestamp) -> Result<(), TapeWriteError> {
        self.delete_old_files()?;
        let (path, file) = self.create_file(at)?;
        let failed = |error| TapeWriteError::Write(path.display().to_string(), error);
        let mut encoder = zstd::Encoder::new(CountedFile { file, bytes: 0 }, LEVEL).map_err(failed)?;
        encoder.include_checksum(true).map_err(failed)?;
        self.current = Some(Current { path, encoder, begun_at: at });
        self.totals.files += 1;
        let heads: Vec<String> = self
            .heads
            .iter()
            .map(|(venue, products)| write_line(at, venue, &Content::Products(products.clone())))
            .collect();
        heads.iter().try_for_each(|head| self.append(head))
    }

    /// Creates a file that did not exist: two recorders may write into one folder.
    fn create_file(&self, at: Timestamp) -> Result<(PathBuf, File), TapeWriteError> {
        let mut tries = 0;
        loop {
            let micros = at.micros() + tries;
            let name: String = Timestamp::from_micros(micros).unwrap_or(at).to_string();
            let path = self.folder.join(format!("{PREFIX}{}{SUFFIX}", name.replace(['-', ':'], "")));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MAX_NAMES => tries += 1,
                Err(error) => return Err(TapeWriteError::Write(path.display().to_string(), error)),
            }
        }
    }

    fn append(&mut self, line: &str) -> Result<(), TapeWriteError> {
        let Some(Current { path, encoder, .. }) = &mut self.current else { return Ok(()) };
        let written = encoder.write_all(line.as_bytes()).and_then(|()| encoder.write_all(b"\n"));
        written.map_err(|error| TapeWriteError::Write(path.display().to_string(), error))?;
        self.totals.lines += 1;
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), TapeWriteError> {
        let Some(Current { path, encoder, .. }) = self.current.take() else { return Ok(()) };
        let finish = || {
            let CountedFile { file, bytes } = encoder.finish()?;
            file.sync_all()?;
            Ok(bytes)
        };
        self.totals.bytes += finish().map_err(|error| TapeWriteError::Write(path.display().to_string(), error))?;
        Ok(())
    }

    /// Deletes the oldest files until there is room for a whole new one.
    fn delete_old_files(&mut self) -> Result<(), TapeWriteError> {
        let TapeFiles { files } = TapeFiles::list(&self.folder)?;
        let mut total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in files {
            if total + self.limits.file_bytes <= self.limits.total_bytes {
                break;
            }
            match fs::remove_file(&path) {
                Ok(()) => info!(file = %path.display(), bytes, "deleted the oldest file of the tape"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(TapeWriteError::Write(path.display().to_string(), error)),
            }
            total -= bytes;
            self.totals.deleted += 1;
        }
        Ok(())
    }
}

impl Current {
    fn is_full(&self, at: Timestamp, limits: &TapeLimits) -> bool {
        let age = u64::try_from(at.micros() - self.begun_at.micros()).unwrap_or(0);
        self.encoder.get_ref().bytes >= limits.file_bytes || Duration::from_micros(age) >= limits.file_age
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::tape::{line::TapeLine, reader::TapeReader};

    const LIMITS: TapeLimits =
        TapeLimits { file_bytes: 1 << 20, file_age: Duration::from_secs(60), total_bytes: 10 << 20 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000).expect("a time")
    }

    fn venue() -> Venue {
        Venue::parse("okx").expect("a venue")
    }

    fn products() -> ProductSymbols {
        ProductSymbols::from([("BTC-USDT".to_owned(), events::Symbol::parse("BTC-USDT").expect("a symbol"))])
    }

    /// Returns what the lines of each file say.
    fn written(folder: &Path) -> Vec<Vec<String>> {
        let files = TapeFiles::list(folder).expect("files").files;
        let contents = |(path, _): &(PathBuf, u64)| {
            let mut reader = TapeReader::open(path).expect("a tape");
            let mut contents = Vec::new();
            while let Some(line) = reader.next_line().expect("a line") {
                let line = String::from_utf8(line.text.to_vec()).expect("text");
                contents.push(match TapeLine::parse(&line).expect("a line").content {
                    Content::Received(text) | Content::Sent(text) => text.into_owned(),
                    Content::Products(products) => format!("{} products", products.len()),
                    Content::Lost(count) => format!("{count} lost"),
                });
            }
            contents
        };
        files.iter().map(contents).collect()
    }

    #[test]
    fn a_new_file_begins_by_age_and_each_has_the_products_at_its_head() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = TapeWriter::open(folder.path(), LIMITS).expect("a writer");
        writer.write(at(0), &venue(), &Content::Products(products())).expect("written");
        for second in [1, 59, 60, 61, 200] {
            writer.write(at(second), &venue(), &Content::Received(second.to_string().into())).expect("written");
        }
        writer.write(at(201), &venue(), &Content::Lost(3)).expect("written");
        writer.flush().expect("flushed");
        assert_eq!(writer.totals().files, 3);
        let totals = writer.finish().expect("finished");
        let expected: [&[&str]; 3] =
            [&["1 products", "1", "59", "60"], &["1 products", "61"], &["1 products", "200", "3 lost"]];
        assert_eq!(written(folder.path()), expected);
        assert_eq!((totals.lines, totals.bytes), (9, TapeFiles::list(folder.path()).expect("files").bytes()));
    }

    #[test]
    fn a_tape_is_bounded_and_its_oldest_files_go_first() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("notes.txt"), vec![0; 100_000]).expect("written");
        let limits = TapeLimits { file_bytes: 1, file_age: Duration::from_secs(1), total_bytes: 600 };
        let mut writer = TapeWriter::open(folder.path(), limits).expect("a writer");
        for second in 0..50 {
            writer.write(at(second), &venue(), &Content::Received("x".into())).expect("written");
            assert!(TapeFiles::list(folder.path()).expect("files").bytes() <= 600);
        }
        let totals = writer.finish().expect("finished");
        let left = written(folder.path());
        assert_eq!((totals.files, totals.files - totals.deleted), (50, left.len() as u64));
        assert!(left.len() >= 2 && folder.path().join("notes.txt").exists(), "{}", left.len());
    }

    #[test]
    fn two_recorders_of_one_folder_do_not_share_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["a", "b"] {
            let mut writer = TapeWriter::open(folder.path(), LIMITS).expect("a writer");
            writer.write(at(1), &venue(), &Content::Received(text.into())).expect("written");
            writer.finish().expect("finished");
        }
        assert_eq!(written(folder.path()), [["a"], ["b"]]);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let error = TapeWriter::open(&file, LIMITS).err().expect("no folder").to_string();
        assert!(error.contains("file for a tape") && error.contains("--out"), "{error}");
    }
}
