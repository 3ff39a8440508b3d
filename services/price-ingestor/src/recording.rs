//! A recording as numbered rows. Gzip and the form of the lines are told by what the file holds, not by its name.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;

use crate::lines::{Decoder, HeaderError, LINE_BYTES, LineError, Row};

/// Why a recording cannot be read on.
#[derive(Debug, Error)]
pub(crate) enum RecordingError {
    /// The first line does not say what the others hold.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file, or its compressed data, cannot be read beyond this many lines.
    #[error("line {} and what follows cannot be read", .whole_lines + 1)]
    Read {
        /// Lines that could be read to their end.
        whole_lines: u64,
        /// What the system or the decompressor says.
        #[source]
        error: io::Error,
    },
}

/// A line's number, counted from 1 with the header, and what it says.
pub(crate) type Numbered = (u64, Result<Row, LineError>);

/// Reads a recording line by line.
pub(crate) struct Recording {
    reader: Box<dyn BufRead>,
    decoder: Option<Decoder>,
    line: Vec<u8>,
    number: u64,
}

impl Recording {
    /// Reads the first bytes, to see whether they are gzip.
    pub(crate) fn open(file: impl Read + 'static) -> io::Result<Self> {
        let mut file = BufReader::new(file);
        let gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]); // RFC 1952, 2.3.1
        let reader: Box<dyn BufRead> =
            if gzip { Box::new(BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(file))) } else { Box::new(file) };
        Ok(Self { reader, decoder: None, line: Vec::with_capacity(LINE_BYTES), number: 0 })
    }

    /// The next line that says something or should, or `None` at the end. Empty lines are passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Numbered>, RecordingError> {
        while self.read_line().map_err(|error| RecordingError::Read { whole_lines: self.number - 1, error })? {
            if self.line.len() > LINE_BYTES {
                return Ok(Some((self.number, Err(LineError::TooLong))));
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            match &mut self.decoder {
                Some(decoder) => return Ok(Some((self.number, decoder.row(&self.line)))),
                None => self.decoder = Some(self.begin()?),
            }
        }
        // A file of no lines has no header either.
        if self.decoder.is_none() { Err(Decoder::new(b"").err().map_or(...)) } else { Ok(None) }
    }
}
