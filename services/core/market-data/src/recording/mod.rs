//! Recordings of trades: CSV or a JSON object per line, from a file or a pipe, gzipped, zipped or neither.
//!
//! The first bytes decide between the formats, not the name of the file. [`ReadOptions`] say what a file does not: which column
//! is which, the symbol, the layout of a vendor. A file is read line by line; only a ZIP archive from a pipe and a file whose
//! newest line is first are held in memory, up to a bound.

mod archive;
mod decoder;
mod formats;
mod input;
mod layout;
mod lines;
mod options;
mod time_text;
mod trade;
mod utf16;
#[cfg(test)]
mod vendor_tests;

use std::{
    io::{self, Read, Seek},
    vec,
};

use events::Timestamp;
use thiserror::Error;

pub use archive::ArchiveError;
pub use formats::{Format, FormatError};
pub use input::InputError;
pub use layout::{Hint, ShapeError};
pub use options::{CandlePrice, ColumnMap, Date, Header, OptionError, Order, ReadOptions, Separator};
pub use time_text::{TimeOptionError, TimeTextError, TimeUnit, TimeZone, read_time};
pub use trade::{LineError, RecordedTrade};

use decoder::Decoder;
use input::Input;
use layout::Layout;
use lines::LineReader;

/// The most lines of a file that is turned round, about 200 bytes each.
const MAX_REVERSED_LINES: usize = 1_000_000;
/// The number of steps back in time from which on a file without a step forward counts as one whose newest line is first.
const MIN_STEPS_BACK: usize = 10;

/// The error of a recording that cannot be read, or not to its end.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The bytes of the file are no text.
    #[error(transparent)]
    Input(InputError),
    /// The shape of the file and the options do not fit.
    #[error(transparent)]
    Shape(#[from] ShapeError),
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
    /// Whether the current line of `lines` is the first of the recording and not returned yet.
    is_at_first_line: bool,
    /// The lines of a file whose newest line was first, oldest first.
    reversed: Option<vec::IntoIter<RecordingLine>>,
}

impl Recording {
    /// Opens a file.
    pub fn open(file: impl Read + Seek + 'static, options: &ReadOptions) -> Result<Self, RecordingError> {
        Self::open_input(Input::File(Box::new(file)), options)
    }

    /// Opens what comes from a pipe.
    pub fn open_stream(stream: impl Read + 'static, options: &ReadOptions) -> Result<Self, RecordingError> {
        Self::open_input(Input::Stream(Box::new(stream)), options)
    }

    fn open_input(input: Input, options: &ReadOptions) -> Result<Self, RecordingError> {
        let layout = Layout::new(options)?;
        let text = input::open(input).map_err(|error| match error {
            InputError::Read(error) => RecordingError::Read { lines: 0, error },
            error => RecordingError::Input(error),
        })?;
        let mut lines = LineReader::new(text);
        advance_to_content(&mut lines)?;
        let first_line = lines.line.trim_ascii();
        let (decoder, has_header) = match first_line.first() {
            Some(b'{') => (Decoder::ndjson(&layout)?, false),
            Some(b'[') => return Err(ShapeError::JsonArray.into()),
            _ => Decoder::csv(&layout, &lines.line)?,
        };
        let mut recording = Self { lines, decoder, is_at_first_line: !has_header, reversed: None };
        if layout.order == Order::NewestFirst {
            recording.reversed = Some(recording.read_reversed()?.into_iter());
        }
        Ok(recording)
    }

    /// Returns the next line that is not empty, or `None` at the end. Fails when the file cannot be read any further; a
    /// line that is not a trade is no such error.
    pub fn next_line(&mut self) -> Result<Option<RecordingLine>, RecordingError> {
        if let Some(lines) = &mut self.reversed {
            return Ok(lines.next());
        }
        while std::mem::take(&mut self.is_at_first_line) || advance(&mut self.lines)? {
            let number = self.lines.number;
            if self.lines.is_too_long() {
                return Ok(Some(RecordingLine { number, trade: Err(LineError::TooLong) }));
            }
            if !self.lines.is_blank() {
                return Ok(Some(RecordingLine { number, trade: self.decoder.decode(&self.lines.line) }));
            }
        }
        Ok(None)
    }

    /// Reads all lines, oldest first. A file whose times ascend already is left as it is.
    fn read_reversed(&mut self) -> Result<Vec<RecordingLine>, RecordingError> {
        let mut lines = Vec::new();
        while let Some(line) = self.next_line()? {
            if lines.len() == MAX_REVERSED_LINES {
                return Err(ShapeError::TooLongToReverse(MAX_REVERSED_LINES).into());
            }
            lines.push(line);
        }
        let mut times = lines.iter().filter_map(|line| Some(line.trade.as_ref().ok()?.time));
        if let (Some(first), Some(last)) = (times.next(), times.next_back())
            && last < first
        {
            lines.reverse();
        }
        Ok(lines)
    }
}

/// Returns whether these times descend from the newest to the oldest, so that all but the first would be late.
pub fn is_newest_first(times: impl IntoIterator<Item = Timestamp>) -> bool {
    let mut times = times.into_iter();
    let Some(mut before) = times.next() else { return false };
    let mut steps_back = 0;
    for time in times {
        if time > before {
            return false;
        }
        steps_back += usize::from(time < before);
        before = time;
    }
    steps_back >= MIN_STEPS_BACK
}

/// Goes to the first line that has something in it. Some vendors write their address above the header.
fn advance_to_content(lines: &mut LineReader) -> Result<(), RecordingError> {
    loop {
        if !advance(lines)? {
            return Err(ShapeError::Empty.into());
        }
        let is_address = [b"http://".as_slice(), b"https://"].iter().any(|scheme| lines.line.starts_with(scheme));
        if !lines.is_blank() && !is_address {
            return Ok(());
        }
    }
}

fn advance(lines: &mut LineReader) -> Result<bool, RecordingError> {
    lines.advance().map_err(|error| RecordingError::Read { lines: lines.number, error })
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::{archive::tests::pack, lines::MAX_LINE_BYTES, *};

    const CSV: &str = "time,symbol,price,size\n\
        2013-10-07T04:00:00.464Z,SPY,167.4100,100\n\
        bad\n\
        \n\
        2013-10-07T04:00:01Z,SPY,167.42,";
    const READ: [(u64, Option<&str>); 3] =
        [(2, Some("2013-10-07T04:00:00.464000Z")), (3, None), (5, Some("2013-10-07T04:00:01.000000Z"))];

    /// Reads line numbers and times into `lines`; the time is absent where the line is not a trade.
    fn read(file: impl AsRef<[u8]>, lines: &mut Vec<(u64, Option<String>)>) -> Result<(), RecordingError> {
        let mut recording = Recording::open(Cursor::new(file.as_ref().to_vec()), &ReadOptions::default())?;
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
    fn lines_carry_their_number_whatever_ends_them() {
        assert_reads(CSV, &READ);
        assert_reads(format!("\u{feff}{CSV}"), &READ);
        assert_reads(CSV.replace('\n', "\r\n"), &READ);
        assert_reads(CSV.replace('\n', "\r"), &READ);
        let ends = ["\r", "\n", "\r\n"].iter().cycle();
        assert_reads(CSV.lines().zip(ends).map(|(line, end)| format!("{line}{end}")).collect::<String>(), &READ);
    }

    #[test]
    fn utf_16_with_its_mark_and_zip_archives_are_detected() {
        let utf16 = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{CSV}").encode_utf16().flat_map(order).collect()
        };
        assert_reads(utf16(u16::to_le_bytes), &READ);
        assert_reads(utf16(u16::to_be_bytes), &READ);
        assert_reads(gzip(&utf16(u16::to_le_bytes)), &READ);
        assert_reads(pack(&[("trades.csv", CSV.as_bytes())]), &READ);
        assert_reads(pack(&[("trades.csv.gz", &gzip(CSV.as_bytes()))]), &READ);
        let stream = Cursor::new(pack(&[("trades.csv", CSV.as_bytes())]));
        let mut recording = Recording::open_stream(stream, &ReadOptions::default()).expect("an archive from a pipe");
        assert_eq!(recording.next_line().expect("a line").expect("a line").number, 2);
    }

    #[test]
    fn what_is_no_recording_is_refused_with_what_was_seen() {
        let utf16: Vec<u8> = CSV.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (file, why) in [
            (utf16, "UTF-16 without its mark"),
            (b"\x28\xb5\x2f\xfd..".to_vec(), "begins like Zstandard data: unpack it with `zstd -dc FILE`"),
            (b"<!DOCTYPE html>".to_vec(), "begins like a web page"),
            (b"<HTML>".to_vec(), "begins like a web page"),
            (b"[{}]".to_vec(), "one JSON array"),
            (b"\n\n".to_vec(), "no lines"),
        ] {
            let error = read(file, &mut Vec::new()).expect_err(why).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_file_whose_newest_line_is_first_is_turned_round() {
        let options = ReadOptions { order: Order::NewestFirst, ..ReadOptions::default() };
        let seconds = |order: &mut dyn Iterator<Item = u32>| {
            let lines = order.map(|second| format!("2024-01-01T00:00:{second:02}Z,SPY,1\n"));
            let text = format!("time,symbol,price\n{}", lines.collect::<String>());
            let mut recording = Recording::open(Cursor::new(text.into_bytes()), &options).expect("a file");
            std::iter::from_fn(|| recording.next_line().expect("a line"))
                .map(|line| line.trade.expect("a trade").time.to_string()[17..19].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(seconds(&mut [3, 2, 1].into_iter()), ["01", "02", "03"]);
        assert_eq!(seconds(&mut [1, 2, 3].into_iter()), ["01", "02", "03"]);
        let at = |second: u32| Timestamp::from_micros(i64::from(second) * 1_000_000).expect("a time");
        assert!(is_newest_first((0..20).rev().map(at)) && !is_newest_first((0..20).map(at)));
        assert!(!is_newest_first([5, 4].map(at)) && !is_newest_first((0..20).rev().chain([50]).map(at)));
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
            assert!(matches!(read(nothing, &mut Vec::new()), Err(RecordingError::Shape(ShapeError::Empty))));
        }
    }
}
