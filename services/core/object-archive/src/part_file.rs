//! The bytes of a part, read window by window where they lie: a part has up to 128 MiB, which need not be in memory together.

use std::{
    collections::VecDeque,
    io::{self, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::reader::{ChunkReader, Length},
};
use tokio::{runtime::Handle, time::timeout};

use crate::{
    digest::sha256,
    manifest::Part,
    target::{Target, TargetError, Version},
};

/// A part of so many bytes is read at once.
const SMALL: u64 = 4 << 20;
/// The bytes of a window.
const WINDOW: u64 = 256 << 10;
/// The time in which a window must be read.
const WINDOW_TIME: Duration = Duration::from_secs(15);
/// The windows in memory: each column is read at its own place.
const MAX_WINDOWS: usize = 13;
/// The bytes of all windows at most: that of a page of text which does not compress is longer.
const MEMORY: u64 = 5 << 20;
/// A header of a page has fewer bytes, mostly.
const HEADER: usize = 256;

/// A part whose bytes are those that its manifest states. It is read on threads that may block, not on those of the runtime.
#[derive(Debug, Clone)]
pub struct PartFile(Arc<Source>);

#[derive(Debug)]
struct Source {
    target: Target,
    path: String,
    version: Version,
    length: u64,
    runtime: Handle,
    /// The windows and where each begins, the last one that was used first.
    windows: Mutex<VecDeque<(u64, Bytes)>>,
    /// Why a window was not read.
    failure: Mutex<Option<TargetError>>,
}

impl PartFile {
    /// Returns the bytes of memory that a part of a length takes at most: itself, or its windows.
    pub fn memory(length: u64) -> u64 {
        length.min(MEMORY)
    }

    /// Opens a part, of which each byte is read and compared with what the manifest states; the inner error says what is wrong.
    pub async fn open(target: &Target, path: String, part: &Part) -> Result<Result<Self, String>, TargetError> {
        let mut windows = VecDeque::new();
        let found = if part.bytes <= SMALL {
            let found = target.get(&path).await?;
            found.map(|(bytes, version)| {
                let digest = sha256(&bytes);
                windows.push_back((0, bytes));
                (digest, version)
            })
        } else {
            target.digest(&path).await?
        };
        let Some((digest, version)) = found else { return Ok(Err(format!("{path} is not there"))) };
        if digest != part.sha256 {
            return Ok(Err(format!("{path} is not the file that the manifest states: its SHA-256 differs")));
        }
        Ok(Ok(Self(Arc::new(Source {
            target: target.clone(),
            path,
            version,
            length: part.bytes,
            runtime: Handle::current(),
            windows: Mutex::new(windows),
            failure: Mutex::new(None),
        }))))
    }

    /// Returns why the target did not give what was asked for since the last call.
    pub fn take_failure(&self) -> Option<TargetError> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the bytes from `start` on, as many as asked for or more.
    fn read(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let source = &*self.0;
        if length > source.length.saturating_sub(start) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the part ends before"));
        }
        let mut windows = source.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |(at, bytes): &(u64, Bytes)| *at <= start && start + length <= at + bytes.len() as u64;
        let (at, bytes) = match windows.iter().position(has).and_then(|index| windows.remove(index)) {
            Some(window) => window,
            None => {
                let end = source.length.min(start + length.max(WINDOW));
                let get = source.target.get_range(&source.path, &source.version, start..end);
                // A store that hangs would otherwise hold the thread for as long as a whole part may take.
                let read = source.runtime.block_on(async { timeout(WINDOW_TIME, get).await });
                let read = read.unwrap_or_else(|_| {
                    let detail = format!("{} was not read within {} s", source.path, WINDOW_TIME.as_secs());
                    Err(TargetError::Unavailable(detail))
                });
                let bytes = read.map_err(|error| {
                    let said = io::Error::other(error.to_string());
                    *source.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    said
                })?;
                windows.truncate(MAX_WINDOWS - 1);
                (start, bytes)
            }
        };
        windows.push_front((at, bytes.clone()));
        let from = usize::try_from(start - at).map_err(io::Error::other)?;
        if bytes.len() < from { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes.slice(from..)) }
    }
}

impl Length for PartFile {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for PartFile {
    type T = BufReader<PartReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::with_capacity(HEADER, PartReader { file: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.read(start, length as u64)?;
        bytes.get(..length).ok_or_else(|| ParquetError::EOF("the part ends before".into()))?;
        Ok(bytes.slice(..length))
    }
}

/// Reads a part from a place on.
#[derive(Debug)]
pub struct PartReader {
    file: PartFile,
    at: u64,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.file.0.length.saturating_sub(self.at);
        let length = rest.min(buffer.len() as u64);
        if length == 0 {
            return Ok(0);
        }
        let bytes = self.file.read(self.at, length)?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use events::Timestamp;

    use super::*;
    use crate::{
        manifest::Edge,
        parquet_part::PartEncoder,
        part_rows::PartRows,
        table::{RowBuffer, TICKS, Value},
        target::Settings,
    };

    /// A part of more than `SMALL` bytes: ids that no compression makes short.
    fn large() -> Bytes {
        let mut rows = RowBuffer::new(&TICKS);
        for number in 0..200_000_i64 {
            let at = Value::Time(Timestamp::from_micros(number).expect("a time"));
            let id = sha256(number.to_be_bytes());
            rows.push([
                at,
                Value::Integer(number),
                Value::Integer(0),
                Value::Decimal(Some(5)),
                Value::Decimal(None),
                Value::Text(Some(&id)),
                Value::Text(Some("trade")),
                Value::Text(Some("file")),
                at,
                Value::Integer(18),
                Value::Integer(0),
            ]);
        }
        let mut encoder = PartEncoder::new(&TICKS).expect("a part");
        encoder.append(&rows).expect("a group");
        encoder.finish().expect("bytes")
    }

    #[tokio::test]
    async fn a_large_part_is_read_window_by_window() {
        let root = tempfile::tempdir().expect("a folder");
        let url = root.path().to_str().expect("text").to_owned();
        let target = Target::open(&Settings { url, ..Settings::default() }).expect("a target");
        let bytes = large();
        assert!(bytes.len() as u64 > SMALL, "{}", bytes.len());
        let edge = Edge { at: Timestamp::EPOCH, position: (0, 0), id: String::new() };
        let mut part = Part {
            name: "part".into(),
            rows: 200_000,
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
            first: edge.clone(),
            last: edge,
        };
        target.put_new("part", bytes).await.expect("written");
        let file = PartFile::open(&target, "part".into(), &part).await.expect("an answer").expect("the file");
        let read = file.clone();
        let rows = tokio::task::spawn_blocking(move || {
            let mut part = PartRows::open(&TICKS, read).expect("a part");
            let mut count = 0_i64;
            while let Some(rows) = part.next(5_000).expect("rows") {
                for row in 0..rows.len() {
                    assert_eq!(rows.values()[0].integer(row), Some(count));
                    count += 1;
                }
            }
            count
        });
        assert_eq!(rows.await.expect("it ends"), 200_000);
        let windows: usize = file.0.windows.lock().expect("free").iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(windows as u64 <= PartFile::memory(part.bytes), "{windows}");
        assert!(file.take_failure().is_none());

        part.sha256 = "0".repeat(64);
        let other = PartFile::open(&target, "part".into(), &part).await.expect("an answer");
        assert!(other.is_err_and(|detail| detail.contains("SHA-256 differs")));
        let absent = PartFile::open(&target, "absent".into(), &part).await.expect("an answer");
        assert!(absent.is_err_and(|detail| detail.contains("is not there")));
    }
}
