//! Recordings of trades: CSV with a header, or a JSON object per line, gzipped or not.
//!
//! The first bytes decide between the formats, not the name of the file. Every trade keeps the number of its line,
//! because that number is its trade id.

pub mod decoder;

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use crate::recording::decoder::{Decoder, HeaderError, LineError, MAX_LINE_BYTES, RecordedTrade};

/// The number of bytes that are decompressed at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// The error of a recording that cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The first line is neither a CSV header nor a JSON object.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file, or its compressed data, cannot be read any further.
    #[error("line {} and the lines after it cannot be read", .lines + 1)]
    Read {
        /// The number of whole lines before the fault.
        lines: u64,
        /// The error of the operating system or of the decompressor.
        #[source]
        error: io::Error,
    },
}

/// One line of a recording.
#[derive(Debug)]
pub struct RecordingLine {
    /// The number of the line in the file, from 1 and with the header.
    pub number: u64,
    /// The trade, or why the line is not one.
    pub trade: Result<RecordedTrade, LineError>,
}

/// A recording that is read line by line.
pub struct Recording {
    lines: LineReader,
    decoder: Decoder,
}

impl Recording {
    /// Detects the format, and reads the header of a CSV file.
    pub fn open(file: impl Read + 'static) -> Result<Self, RecordingError> {
        let at_start = |error| RecordingError::Read { lines: 0, error };
        let mut lines = LineReader::open(file).map_err(at_start)?;
        let decoder = match lines.reader.fill_buf().map_err(at_start)?.first() {
            Some(b'{') => Decoder::Ndjson,
            _ => {
                lines.advance()?;
                Decoder::csv(&lines.line)?
            }
        };
        Ok(Self { lines, decoder })
    }

    /// Returns the next line that is not empty, or `None` at the end. Fails when the file cannot be read any further; a
    /// line that is not a trade is no such error.
    pub fn next_line(&mut self) -> Result<Option<RecordingLine>, RecordingError> {
        while self.lines.advance()? {
            let LineReader { line, number, .. } = &self.lines;
            let number = *number;
            if line.len() > MAX_LINE_BYTES {
                return Ok(Some(RecordingLine { number, trade: Err(LineError::TooLong) }));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(RecordingLine { number, trade: self.decoder.decode(line) }));
            }
        }
        Ok(None)
    }
}

/// The lines of a file, decompressed, one at a time.
struct LineReader {
    reader: Box<dyn BufRead>,
    /// The current line with its line end; longer than [`MAX_LINE_BYTES`] when it was cut off.
    line: Vec<u8>,
    /// The number of the current line, from 1.
    number: u64,
}

impl LineReader {
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
        Ok(Self { reader, line: Vec::with_capacity(MAX_LINE_BYTES), number: 0 })
    }

    /// Reads the next line; returns false at the end of the file. Fails for a line that cannot be read to its end: half
    /// of a price would be another price.
    fn advance(&mut self) -> Result<bool, RecordingError> {
        self.line.clear();
        match self.read_line() {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.number += 1;
                Ok(true)
            }
            Err(error) => Err(RecordingError::Read { lines: self.number, error }),
        }
    }

    fn read_line(&mut self) -> io::Result<usize> {
        let read = self.reader.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut self.line)?;
        if read > MAX_LINE_BYTES && !self.line.ends_with(b"\n") {
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

    /// Reads line numbers and times into `lines`; the time is absent where the line is not a trade.
    fn read(file: impl AsRef<[u8]>, lines: &mut Vec<(u64, Option<String>)>) -> Result<(), RecordingError> {
        let mut recording = Recording::open(Cursor::new(file.as_ref().to_vec()))?;
        while let Some(line) = recording.next_line()? {
            lines.push((line.number, line.trade.ok().map(|trade| trade.time.to_string())));
        }
        Ok(())
    }

    fn assert_reads(file: impl AsRef<[u8]>, expected: &[(u64, Option<&str>)]) {
        let mut lines = Vec::new();
        read(file, &mut lines).expect("read to the end");
        let lines: Vec<_> = lines.iter().map(|(number, time)| (*number, time.as_deref())).collect();
        assert_eq!(lines, expected);
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory")
    }

    #[test]
    fn trades_carry_the_number_of_their_line() {
        assert_reads(CSV, &READ);
        assert_reads(format!("\u{feff}{CSV}"), &READ);
        assert_reads(CSV.replace('\n', "\r\n"), &READ);
    }

    #[test]
    fn gzip_is_detected_by_its_first_bytes_and_may_have_several_members() {
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
    fn an_endless_line_spoils_only_itself() {
        let endless = "x".repeat(3 * MAX_LINE_BYTES);
        assert_reads(CSV.replace("bad", &endless), &READ);
        let widest = "x".repeat(MAX_LINE_BYTES);
        assert_reads(CSV.replace("bad", &widest), &READ);
    }

    #[test]
    fn truncated_gzip_gives_its_whole_lines_and_then_an_error() {
        // Stored without compression, so that every byte cut off is a byte of text.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(CSV.as_bytes()).expect("memory");
        let whole = encoder.finish().expect("memory");
        let trailer_and_price_digit = 8 + 2;
        let mut lines = Vec::new();
        let error = read(&whole[..whole.len() - trailer_and_price_digit], &mut lines).expect_err("cut");
        assert_eq!(lines.len(), 2);
        assert_eq!(error.to_string(), "line 5 and the lines after it cannot be read");
    }

    #[test]
    fn an_empty_file_is_not_a_recording() {
        for nothing in [Vec::new(), b"\n".to_vec(), gzip(b"")] {
            assert!(matches!(read(nothing, &mut Vec::new()), Err(RecordingError::Header(_))));
        }
    }
}
