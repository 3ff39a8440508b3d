//! A recording as numbered rows. Gzip and the form of the lines are told by what the file holds, not by its name.

pub mod decoder;

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use crate::recording::decoder::{Decoder, HeaderError, LINE_BYTES, LineError, RecordedTrade};

/// How much is decompressed at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Why a recording cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The first line does not say what the others hold.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file, or its compressed data, cannot be read after this many lines.
    #[error("line {} and what follows cannot be read", .lines + 1)]
    Read {
        /// Lines that are whole.
        lines: u64,
        /// What the system or the decompressor says.
        #[source]
        error: io::Error,
    },
}

/// A line's number, counted from 1 with the header, and what it says.
pub type Numbered = (u64, Result<RecordedTrade, LineError>);

/// Reads a recording line by line.
pub struct Recording {
    lines: Lines,
    decoder: Decoder,
}

impl Recording {
    /// Reads the CSV header, or sees that there is none because the lines are objects.
    pub fn open(file: impl Read + 'static) -> Result<Self, RecordingError> {
        let at_start = |error| RecordingError::Read { lines: 0, error };
        let mut lines = Lines::open(file).map_err(at_start)?;
        let decoder = match lines.reader.fill_buf().map_err(at_start)?.first() {
            Some(b'{') => Decoder::Ndjson,
            _ => {
                lines.advance()?;
                Decoder::csv(&lines.line)?
            }
        };
        Ok(Self { lines, decoder })
    }

    /// The next line that says something or should, or `None` at the end. Empty lines are passed over.
    pub fn next_row(&mut self) -> Result<Option<Numbered>, RecordingError> {
        while self.lines.advance()? {
            let Lines { line, number, .. } = &self.lines;
            if line.len() > LINE_BYTES {
                return Ok(Some((*number, Err(LineError::TooLong))));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((*number, self.decoder.row(line))));
            }
        }
        Ok(None)
    }
}

/// The lines of a text, one at a time.
struct Lines {
    reader: Box<dyn BufRead>,
    /// The current line with its end; longer than [`LINE_BYTES`] when it is cut.
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn open(file: impl Read + 'static) -> io::Result<Self> {
        let mut file = BufReader::new(file);
        let gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]); // RFC 1952, 2.3.1
        let mut reader: Box<dyn BufRead> = match gzip {
            true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file))),
            false => Box::new(file),
        };
        // Spreadsheets put a byte-order mark in front, which would become part of the first column's name.
        if reader.fill_buf()?.starts_with(b"\xEF\xBB\xBF") {
            reader.consume(3);
        }
        Ok(Self { reader, line: Vec::with_capacity(LINE_BYTES), number: 0 })
    }

    /// Reads the next line; false at the end. A line that cannot be read to its end is no line: half of a price is
    /// another price.
    fn advance(&mut self) -> Result<bool, RecordingError> {
        self.line.clear();
        match self.read() {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.number += 1;
                Ok(true)
            }
            Err(error) => Err(RecordingError::Read { lines: self.number, error }),
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let read = self.reader.by_ref().take(LINE_BYTES as u64 + 1).read_until(b'\n', &mut self.line)?;
        if read > LINE_BYTES && !self.line.ends_with(b"\n") {
            self.reader.skip_until(b'\n')?;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const CSV: &str = "time,symbol,price,size\n\
        2013-10-07T04:00:00.464Z,SPY,167.4100,100\n\
        bad\n\
        \n\
        2013-10-07T04:00:01Z,SPY,167.42,";
    const READ: [(u64, Option<&str>); 3] =
        [(2, Some("2013-10-07T04:00:00.464000Z")), (3, None), (5, Some("2013-10-07T04:00:01.000000Z"))];

    /// Reads into `rows` line numbers and times.
    fn read(file: impl AsRef<[u8]>, rows: &mut Vec<(u64, Option<String>)>) -> Result<(), RecordingError> {
        let mut recording = Recording::open(Cursor::new(file.as_ref().to_vec()))?;
        while let Some((line, row)) = recording.next_row()? {
            rows.push((line, row.ok().map(|row| row.time.to_string())));
        }
        Ok(())
    }

    fn assert_reads(file: impl AsRef<[u8]>, expected: &[(u64, Option<&str>)]) {
        let mut rows = Vec::new();
        read(file, &mut rows).expect("read to the end");
        let rows: Vec<_> = rows.iter().map(|(line, time)| (*line, time.as_deref())).collect();
        assert_eq!(rows, expected);
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory")
    }

    #[test]
    fn rows_carry_the_line_number_of_the_file() {
        assert_reads(CSV, &READ);
        assert_reads(format!("\u{feff}{CSV}"), &READ);
        assert_reads(CSV.replace('\n', "\r\n"), &READ);
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes_and_may_have_several_members() {
        let (first, second) = CSV.as_bytes().split_at(50);
        assert_reads([gzip(first), gzip(second)].concat(), &READ);
    }

    #[test]
    fn json_lines_have_no_header() {
        let line = r#"{"time":"2013-10-07T04:00:01Z","symbol":"SPY","price":"167.42"}"#;
        let read = [(1, Some("2013-10-07T04:00:01.000000Z")), (2, None), (3, Some("2013-10-07T04:00:01.000000Z"))];
        assert_reads(format!("{line}\n{{\"time\":1}}\n{line}\n"), &read);
    }

    #[test]
    fn a_line_without_end_spoils_only_itself() {
        let endless = "x".repeat(3 * LINE_BYTES);
        assert_reads(CSV.replace("bad", &endless), &READ);
        let widest = "x".repeat(LINE_BYTES);
        assert_reads(CSV.replace("bad", &widest), &READ);
    }

    #[test]
    fn compressed_data_that_ends_early_gives_its_whole_lines_and_says_so() {
        // Not compressed within, so that every byte cut off is a byte of text.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(CSV.as_bytes()).expect("memory");
        let whole = encoder.finish().expect("memory");
        let trailer_and_price_digit = 8 + 2;
        let mut rows = Vec::new();
        let error = read(&whole[..whole.len() - trailer_and_price_digit], &mut rows).expect_err("cut");
        assert_eq!(rows.len(), 2);
        assert_eq!(error.to_string(), "line 5 and what follows cannot be read");
    }

    #[test]
    fn an_empty_file_is_no_recording() {
        for nothing in [Vec::new(), b"\n".to_vec(), gzip(b"")] {
            assert!(matches!(read(nothing, &mut Vec::new()), Err(RecordingError::Header(_))));
        }
    }
}
