//! The one file in a ZIP archive.

use std::io::{self, Read, Seek, SeekFrom, Take};

use flate2::{Crc, read::DeflateDecoder};
use thiserror::Error;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

/// The most names that an error lists.
const MAX_LISTED: usize = 5;

/// The reason why an archive cannot be read as a recording.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The directory of the archive cannot be read.
    #[error("the ZIP archive cannot be read: {0}")]
    Damaged(String),
    /// It is the file of a spreadsheet program.
    #[error("the file is a workbook of a spreadsheet program: save its sheet as CSV")]
    Workbook,
    /// The archive has no file, or several of them.
    #[error(
        "the ZIP archive has {count} files{names}, and one is read at a time: unpack the one you mean, as in \
         `unzip -p ARCHIVE NAME | tickbell price-ingestor --source file:-`"
    )]
    Files {
        /// The number of files.
        count: usize,
        /// The names of the first, with a parenthesis around them.
        names: String,
    },
    /// The file is packed in a way that is not read here.
    #[error("the file {name:?} of the ZIP archive is {how}: pack it as usual (deflate, no password), or unpack it")]
    Packing {
        /// The name of the file.
        name: String,
        /// The way, like "encrypted".
        how: String,
    },
}

/// A reader that can go to any position.
pub(crate) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// Where the only file of an archive lies in it.
struct Entry {
    name: String,
    start: u64,
    packed_bytes: u64,
    method: CompressionMethod,
    crc: u32,
}

/// Returns the content of the only file of an archive.
pub(crate) fn open(file: Box<dyn ReadSeek>) -> Result<Box<dyn Read>, ArchiveError> {
    let damaged = |error: ZipError| ArchiveError::Damaged(error.to_string());
    let mut archive = ZipArchive::new(file).map_err(damaged)?;
    let names = archive.file_names().map(|name| name.map(Into::into));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(damaged)?;
    if names.iter().any(|name| name == "[Content_Types].xml") {
        return Err(ArchiveError::Workbook);
    }
    // macOS adds a folder with its own notes about each file.
    let is_file = |name: &&String| !name.ends_with('/') && !name.starts_with("__MACOSX/");
    let files: Vec<&String> = names.iter().filter(is_file).collect();
    let [name] = files.as_slice() else {
        let shown: Vec<_> = files.iter().take(MAX_LISTED).map(|name| name.as_str()).collect();
        let more = if files.len() > MAX_LISTED { ", …" } else { "" };
        let names = if shown.is_empty() { String::new() } else { format!(" ({}{more})", shown.join(", ")) };
        return Err(ArchiveError::Files { count: files.len(), names });
    };
    let index = archive.index_for_name(name).ok_or_else(|| ArchiveError::Damaged("a name is missing".to_owned()))?;
    let entry = {
        let file = archive.by_index_raw(index).map_err(damaged)?;
        let packing = |how: String| ArchiveError::Packing { name: (*name).clone(), how };
        if file.encrypted() {
            return Err(packing("encrypted".to_owned()));
        }
        let method = file.compression();
        if !matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(packing(format!("compressed by {method}")));
        }
        let start = file.data_start().ok_or_else(|| ArchiveError::Damaged("a file has no place in it".to_owned()))?;
        Entry { name: (*name).clone(), start, packed_bytes: file.compressed_size(), method, crc: file.crc32() }
    };
    let mut file = archive.into_inner();
    file.seek(SeekFrom::Start(entry.start)).map_err(|error| ArchiveError::Damaged(error.to_string()))?;
    let packed: Take<_> = file.take(entry.packed_bytes);
    let content: Box<dyn Read> = match entry.method {
        CompressionMethod::Stored => Box::new(packed),
        _ => Box::new(DeflateDecoder::new(packed)),
    };
    Ok(Box::new(CheckedReader { content, crc: Crc::new(), expected: entry.crc, name: entry.name }))
}

/// Compares the checksum of a file when all of it is read.
struct CheckedReader {
    content: Box<dyn Read>,
    crc: Crc,
    expected: u32,
    name: String,
}

impl Read for CheckedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.crc.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && self.crc.sum() != self.expected {
            let message = format!("the checksum of {:?} in the ZIP archive does not match", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Cursor, Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// Packs files by deflate.
    pub(crate) fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            let method =
                if name.ends_with(".stored") { CompressionMethod::Stored } else { CompressionMethod::Deflated };
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(*name, options).and_then(|()| Ok(writer.write_all(content)?)).expect("memory");
        }
        writer.finish().expect("memory").into_inner()
    }

    fn unpack(archive: Vec<u8>) -> Result<String, String> {
        let mut content = open(Box::new(Cursor::new(archive))).map_err(|error| error.to_string())?;
        let mut text = String::new();
        content.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn the_only_file_is_read_whatever_lies_beside_it() {
        assert_eq!(unpack(pack(&[("a.csv", b"text")])).as_deref(), Ok("text"));
        assert_eq!(unpack(pack(&[("a.csv.stored", b"text")])).as_deref(), Ok("text"));
        assert_eq!(
            unpack(pack(&[("x/", b""), ("x/a.csv", b"text"), ("__MACOSX/._a.csv", b"?")])).as_deref(),
            Ok("text")
        );
    }

    #[test]
    fn an_archive_that_is_no_recording_is_refused_with_what_was_seen() {
        for (archive, why) in [
            (pack(&[]), "has 0 files"),
            (pack(&[("a.csv", b"1"), ("b.csv", b"2")]), "has 2 files (a.csv, b.csv)"),
            (pack(&[("[Content_Types].xml", b"<"), ("xl/workbook.xml", b"<")]), "save its sheet as CSV"),
            (b"PK\x03\x04 and no more".to_vec(), "cannot be read"),
        ] {
            let error = unpack(archive).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut archive = pack(&[("a.csv.stored", b"price 100")]);
        let at = archive.windows(9).position(|window| window == b"price 100").expect("the text");
        archive[at + 6] = b'9';
        assert!(unpack(archive).expect_err("changed").contains("checksum"));
    }
}
