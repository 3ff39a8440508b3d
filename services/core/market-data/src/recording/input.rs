//! The text of a recording, whatever it is packed in. The first bytes decide, not the name of the file.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use super::{
    archive::{self, ArchiveError, ReadSeek},
    utf16::{ByteOrder, Utf16Reader},
};

/// The number of bytes that are decompressed or decoded at a time.
const BUFFER_BYTES: usize = 64 * 1024;
/// The number of bytes by which the kind of a file is recognised.
const HEAD_BYTES: usize = 100;
/// The most bytes of a ZIP archive that comes from a pipe. Its directory stands at its end, so all of it lies in memory.
const MAX_PIPED_ARCHIVE_BYTES: u64 = 64 * 1024 * 1024;

/// The reason why the bytes of a file are no text.
#[derive(Debug, Error)]
pub enum InputError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file is a ZIP archive that cannot be read as a recording.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archive comes from a pipe and is too large for that.
    #[error(
        "a ZIP archive from a pipe may have {MAX_PIPED_ARCHIVE_BYTES} bytes: name the file with --source file:PATH"
    )]
    PipedArchive,
    /// The file begins like something that is not read here.
    #[error("the file begins like {what}: {remedy}")]
    Unsupported {
        /// The kind of file that it looks like.
        what: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// The bytes of a file.
pub(crate) enum Input {
    /// Bytes that come once, as from a pipe.
    Stream(Box<dyn Read>),
    /// Bytes of which any can be read.
    File(Box<dyn ReadSeek>),
}

/// What files begin with that are not read here: their bytes, their name and what to do.
const UNSUPPORTED: [(&[u8], &str, &str); 9] = [
    (b"\x28\xb5\x2f\xfd", "Zstandard data", "unpack it with `zstd -dc FILE` and pipe that to --source file:-"),
    (b"\xfd7zXZ\0", "XZ data", "unpack it with `xz -dc FILE` and pipe that to --source file:-"),
    (b"BZh", "bzip2 data", "unpack it with `bzip2 -dc FILE` and pipe that to --source file:-"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"PAR1", "a Parquet file", "export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "a workbook of a spreadsheet program", "save its sheet as CSV"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"<!", "a web page", "look at it: the download may have answered with an error"),
    (b"<html", "a web page", "look at it: the download may have answered with an error"),
];

/// Returns the text in UTF-8, without a byte-order mark.
pub(crate) fn open(input: Input) -> Result<Box<dyn BufRead>, InputError> {
    let bytes = match input {
        Input::File(mut file) => {
            let head = read_head(&mut file)?;
            file.rewind()?;
            if is_zip(&head) { buffered(archive::open(file)?) } else { buffered(file) }
        }
        Input::Stream(stream) => {
            let (head, stream) = peek(buffered(stream))?;
            if is_zip(&head) { buffered(archive::open(piped_archive(stream)?)?) } else { stream }
        }
    };
    text(gunzipped(bytes)?)
}

fn buffered(reader: impl Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, reader))
}

/// Returns the first bytes, and a reader that begins with them. A pipe may bring them one by one.
fn peek(mut reader: Box<dyn BufRead>) -> io::Result<(Vec<u8>, Box<dyn BufRead>)> {
    let head = read_head(&mut reader)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(reader))))
}

/// Reads the first bytes. An error behind some of them is left to the next read.
fn read_head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let mut count = 0;
    while count < head.len() {
        match reader.read(&mut head[count..]) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if count == 0 => return Err(error),
            Err(_) => break,
        }
    }
    head.truncate(count);
    Ok(head)
}

/// Returns whether a ZIP archive begins like this, be it an empty one (APPNOTE.TXT, 4.3.7 and 4.3.16).
fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

fn piped_archive(stream: Box<dyn BufRead>) -> Result<Box<dyn ReadSeek>, InputError> {
    let mut archive = Vec::new();
    stream.take(MAX_PIPED_ARCHIVE_BYTES + 1).read_to_end(&mut archive)?;
    if archive.len() as u64 > MAX_PIPED_ARCHIVE_BYTES {
        return Err(InputError::PipedArchive);
    }
    Ok(Box::new(Cursor::new(archive)))
}

fn gunzipped(bytes: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let (head, bytes) = peek(bytes)?;
    let is_gzip = head.starts_with(&[0x1f, 0x8b]); // RFC 1952, 2.3.1
    Ok(if is_gzip { buffered(MultiGzDecoder::new(bytes)) } else { bytes })
}

fn text(bytes: Box<dyn BufRead>) -> Result<Box<dyn BufRead>, InputError> {
    let (head, mut bytes) = peek(bytes)?;
    let order = match head.as_slice() {
        // Spreadsheets put a byte-order mark in front, which would become part of the first column's name.
        [0xEF, 0xBB, 0xBF, ..] => {
            bytes.consume(3);
            return Ok(bytes);
        }
        [0xFF, 0xFE, ..] => ByteOrder::Little,
        [0xFE, 0xFF, ..] => ByteOrder::Big,
        head => {
            refuse_unsupported(head)?;
            return Ok(bytes);
        }
    };
    bytes.consume(2);
    Ok(buffered(Utf16Reader::new(bytes, order)))
}

fn refuse_unsupported(head: &[u8]) -> Result<(), InputError> {
    let begins_with = |magic: &[u8]| head.get(..magic.len()).is_some_and(|head| head.eq_ignore_ascii_case(magic));
    if let Some((_, what, remedy)) = UNSUPPORTED.iter().find(|(magic, ..)| begins_with(magic)) {
        return Err(InputError::Unsupported { what, remedy });
    }
    if head.contains(&0) {
        let remedy = "convert it, as in `iconv -f UTF-16LE -t UTF-8 FILE`, and pipe that to --source file:-";
        return Err(InputError::Unsupported { what: "UTF-16 without its mark, or like no text at all", remedy });
    }
    Ok(())
}
