//! Reads the lines of a tape: a file, or a folder of the files that `tickbell record` writes, packed or not.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use super::writer::is_tape_file;

/// The most bytes of a line: an escaped message of the longest that a venue may send.
const MAX_LINE_BYTES: u64 = 32 << 20;
const BUFFER_BYTES: usize = 256 * 1024;

/// The reason why a tape cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum TapeError {
    /// The file or folder cannot be opened.
    #[error("cannot open {0}; name a file or a folder that `tickbell record` has written")]
    Open(String, #[source] io::Error),
    /// The folder has no tape.
    #[error("{0} has no file of a tape (tape-….ndjson.zst)")]
    NoTape(String),
    /// The packed data is damaged.
    #[error("line {line} of {file} and what follows cannot be read")]
    Damaged {
        /// The path of the file.
        file: String,
        /// The number of the first line that cannot be read, from 1.
        line: u64,
        /// The error of the operating system or of the decompressor.
        #[source]
        error: io::Error,
    },
    /// A line has no end.
    #[error("line {line} of {file} is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong {
        /// The path of the file.
        file: String,
        /// The number of the line, from 1.
        line: u64,
    },
}

/// The text of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapeText<'tape> {
    /// The path of its file.
    pub file: &'tape str,
    /// The number of the line in its file, from 1.
    pub number: u64,
    /// The line without its end.
    pub text: &'tape [u8],
}

/// The lines of a tape, in their order.
pub struct TapeReader {
    files: VecDeque<PathBuf>,
    current: Option<Current>,
    buffer: Vec<u8>,
    cut_files: Vec<String>,
}

struct Current {
    name: String,
    input: Box<dyn BufRead + Send>,
    lines: u64,
}

impl TapeReader {
    /// Opens a file, or the tape files of a folder, the oldest first.
    pub fn open(path: &Path) -> Result<Self, TapeError> {
        let failed = |error| TapeError::Open(path.display().to_string(), error);
        let files = if fs::metadata(path).map_err(failed)?.is_dir() {
            let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
            let mut files: Vec<PathBuf> =
                entries.into_iter().map(|entry| entry.path()).filter(|path| is_tape_file(path)).collect();
            files.sort();
            files
        } else {
            vec![path.to_owned()]
        };
        if files.is_empty() {
            return Err(TapeError::NoTape(path.display().to_string()));
        }
        Ok(Self { files: files.into(), current: None, buffer: Vec::new(), cut_files: Vec::new() })
    }

    /// Returns the next line without its end, and none after the last one. A file that
    /// ends in the middle, because its recorder was killed, gives its whole lines.
    pub fn next_line(&mut self) -> Result<Option<TapeText<'_>>, TapeError> {
        loop {
            if self.current.is_none() {
                let Some(path) = self.files.pop_front() else { return Ok(None) };
                self.current = Some(Current::open(&path)?);
            }
            match self.read_line()? {
                true => break,
                false => self.current = None,
            }
        }
        let Some(current) = &self.current else { return Ok(None) };
        let end = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let text = end.strip_suffix(b"\r").unwrap_or(end);
        Ok(Some(TapeText { file: &current.name, number: current.lines, text }))
    }

    /// Returns the files that ended in the middle of their packed data.
    pub fn cut_files(&self) -> &[String] {
        &self.cut_files
    }

    fn read_line(&mut self) -> Result<bool, TapeError> {
        let Self { current: Some(Current { name, input, lines }), buffer, cut_files, .. } = self else {
            return Ok(false);
        };
        buffer.clear();
        match input.take(MAX_LINE_BYTES).read_until(b'\n', buffer) {
            Ok(0) => Ok(false),
            Ok(read) => {
                *lines += 1;
                if read as u64 == MAX_LINE_BYTES {
                    return Err(TapeError::LineTooLong { file: name.clone(), line: *lines });
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                cut_files.push(name.clone());
                Ok(false)
            }
            Err(error) => Err(TapeError::Damaged { file: name.clone(), line: *lines + 1, error }),
        }
    }
}

impl Current {
    fn open(path: &Path) -> Result<Self, TapeError> {
        let name = path.display().to_string();
        let failed = |error| TapeError::Open(name.clone(), error);
        let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(failed)?);
        // The first bytes decide, not the name.
        let input: Box<dyn BufRead + Send> = match file.fill_buf().map_err(failed)? {
            [0x1f, 0x8b, ..] => buffered(MultiGzDecoder::new(file)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => buffered(zstd::Decoder::with_buffer(file).map_err(failed)?),
            _ => Box::new(file),
        };
        Ok(Self { name, input, lines: 0 })
    }
}

fn buffered(input: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, input))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(path: &Path) -> Result<(Vec<String>, usize), TapeError> {
        let mut reader = TapeReader::open(path)?;
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line()? {
            lines.push(String::from_utf8(line.text.to_vec()).expect("text"));
        }
        Ok((lines, reader.cut_files().len()))
    }

    #[test]
    fn a_tape_is_read_packed_or_not_and_a_cut_one_to_its_last_whole_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tape");
        let text = (0..2_000).map(|number| format!("{{\"lost\":{number}}}\n")).collect::<String>();
        let expected: Vec<&str> = text.lines().collect();
        let gzipped = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).expect("packed");
            encoder.finish().expect("packed")
        };
        let packed = zstd::encode_all(text.as_bytes(), 3).expect("packed");
        for bytes in [text.as_bytes(), &gzipped, &packed, &[packed.clone(), packed.clone()].concat()] {
            fs::write(&path, bytes).expect("written");
            let (read, cut) = lines(&path).expect("lines");
            assert_eq!((&read[..2_000], cut), (&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..], 0));
        }
        fs::write(&path, &packed[..packed.len() - 5]).expect("written");
        let (read, cut) = lines(&path).expect("the lines before the cut");
        assert!(
            cut == 1
                && read.len() < 2_000
                && expected.starts_with(&read.iter().map(String::as_str).collect::<Vec<_>>())
        );
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 0xff;
        damaged[packed.len() / 2 + 1] ^= 0xff;
        fs::write(&path, &damaged).expect("written");
        assert!(lines(&path).is_err() || lines(&path).is_ok_and(|(read, _)| read != expected));
    }

    #[test]
    fn a_path_without_a_tape_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("notes.txt"), "x").expect("written");
        let error = lines(folder.path()).expect_err("no tape").to_string();
        assert!(error.contains("no file of a tape"), "{error}");
        let error = lines(&folder.path().join("missing")).expect_err("nothing").to_string();
        assert!(error.contains("missing; name a file or a folder"), "{error}");
    }
}
