//! Decodes one line of a recording, CSV or NDJSON, into a trade.

use std::{fmt::Display, str::FromStr};

use csv_core::ReadRecordResult;
use events::{Price, Size, Symbol, Tick, Timestamp, Venue, tick::TickKind, tick::TickSource};
use serde::Deserialize;
use thiserror::Error;

/// The most bytes of a line: a trade needs a hundredth of it, and a file without line ends cannot fill the memory.
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024;
/// The most columns of a CSV line.
const MAX_COLUMNS: usize = 256;

/// The reason why a line is not a trade.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LineError {
    /// The line has more than [`MAX_LINE_BYTES`] bytes.
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The line is not text.
    #[error("the line is not UTF-8")]
    Encoding,
    /// A quoted field goes on after the end of the line.
    #[error("a quote is not closed")]
    Quote,
    /// The line has another number of fields than the header has names.
    #[error("{found} columns where the header names {expected}")]
    Columns {
        /// The number of fields in the line.
        found: usize,
        /// The number of names in the header.
        expected: usize,
    },
    /// A field cannot be parsed.
    #[error("{column} {text:?} {why}")]
    Field {
        /// The name of the column.
        column: &'static str,
        /// The text of the field.
        text: String,
        /// What the parser requires, a clause that begins with "must be".
        why: String,
    },
    /// The line is not a JSON object with the fields of a trade.
    #[error("{0}")]
    Json(String),
}

/// The error for a first line that is neither a CSV header nor a JSON object.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "line 1 names no column {missing:?}: a CSV file begins with the names time,symbol,price,size in any order, and a \
     file of JSON lines with an object that has these keys"
)]
pub struct HeaderError {
    missing: &'static str,
}

/// One trade, as a line of a recording has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RecordedTrade {
    /// The time of the trade.
    pub time: Timestamp,
    /// The symbol that was traded.
    pub symbol: Symbol,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The size in units of the base, where the recording has it.
    #[serde(default)]
    pub size: Option<Size>,
}

impl RecordedTrade {
    /// Converts the trade into a tick of `venue`.
    pub fn into_tick(self, venue: &Venue, received_at: Timestamp) -> Tick {
        let Self { time: at, symbol, price, size } = self;
        let (kind, source) = (TickKind::Trade, TickSource::File);
        Tick { venue: venue.clone(), symbol, price, size, at, received_at, kind, source }
    }
}

/// The decoder for the lines of one file.
pub(crate) enum Decoder {
    /// Comma-separated values under a header that names the columns.
    Csv(Box<CsvDecoder>),
    /// A JSON object per line.
    Ndjson,
}

impl Decoder {
    /// Returns the decoder for the lines under this CSV header.
    pub(crate) fn csv(header: &[u8]) -> Result<Self, HeaderError> {
        CsvDecoder::new(header).map(|csv| Self::Csv(Box::new(csv)))
    }

    /// Decodes a line, with or without its line end.
    pub(crate) fn decode(&mut self, line: &[u8]) -> Result<RecordedTrade, LineError> {
        match self {
            Self::Csv(csv) => csv.decode(line),
            Self::Ndjson => decode_json(line),
        }
    }
}

fn decode_json(line: &[u8]) -> Result<RecordedTrade, LineError> {
    // serde_json would accept an array as an object whose keys are left out.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(LineError::Json("the line is not a JSON object".into()));
    }
    serde_json::from_slice(line).map_err(|error| {
        // serde_json counts lines within its input, which is always one: its "line 1" would mislead.
        let (text, column) = (error.to_string(), error.column());
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        LineError::Json(format!("{what} at column {column}"))
    })
}

/// The decoder for CSV lines as in RFC 4180, each line by itself: an unclosed quote spoils its own line and not the
/// rest of the file.
pub(crate) struct CsvDecoder {
    reader: csv_core::Reader,
    /// The fields of the current line, unquoted, one after the other.
    text: Box<[u8; MAX_LINE_BYTES]>,
    /// The end of each field in `text`.
    ends: [usize; MAX_COLUMNS],
    columns: Columns,
}

/// The index of each column that is used.
#[derive(Default)]
struct Columns {
    /// The number of names in the header.
    count: usize,
    time: usize,
    symbol: usize,
    price: usize,
    size: Option<usize>,
}

impl CsvDecoder {
    fn new(header: &[u8]) -> Result<Self, HeaderError> {
        let mut csv = Self {
            reader: csv_core::Reader::new(),
            text: Box::new([0; MAX_LINE_BYTES]),
            ends: [0; MAX_COLUMNS],
            columns: Columns::default(),
        };
        // A header that cannot be split names no column.
        let count = csv.split(header).unwrap_or(0);
        let find = |name| (0..count).find(|index| csv.field(*index).is_ok_and(|field| is_named(field, name)));
        let require = |missing| find(missing).ok_or(HeaderError { missing });
        csv.columns = Columns {
            count,
            time: require("time")?,
            symbol: require("symbol")?,
            price: require("price")?,
            size: find("size"),
        };
        Ok(csv)
    }

    fn decode(&mut self, line: &[u8]) -> Result<RecordedTrade, LineError> {
        let found = self.split(line)?;
        let expected = self.columns.count;
        if found != expected {
            return Err(LineError::Columns { found, expected });
        }
        let size = self.columns.size.map_or(Ok(""), |index| self.field(index))?;
        Ok(RecordedTrade {
            time: parse("time", self.field(self.columns.time)?)?,
            symbol: parse("symbol", self.field(self.columns.symbol)?)?,
            price: parse("price", self.field(self.columns.price)?)?,
            size: if size.is_empty() { None } else { Some(parse("size", size)?) },
        })
    }

    /// Splits a line into `text` and `ends`, and returns the number of its fields.
    fn split(&mut self, line: &[u8]) -> Result<usize, LineError> {
        self.reader.reset();
        let (mut fields, mut input, mut written) = (0, line, 0);
        // The second iteration has empty input, which ends the record of a last line without a line end.
        loop {
            let output = &mut self.text[written..];
            let (result, read, wrote, ended) = self.reader.read_record(input, output, &mut self.ends[fields..]);
            (input, written, fields) = (&input[read..], written + wrote, fields + ended);
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(fields),
                ReadRecordResult::InputEmpty if line.last() == Some(&b'\n') => return Err(LineError::Quote),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => return Err(LineError::TooLong),
                ReadRecordResult::OutputEndsFull => {
                    return Err(LineError::Columns { found: MAX_COLUMNS, expected: self.columns.count });
                }
            }
        }
    }

    fn field(&self, index: usize) -> Result<&str, LineError> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        std::str::from_utf8(&self.text[start..self.ends[index]]).map(str::trim).map_err(|_| LineError::Encoding)
    }
}

fn is_named(field: &str, name: &str) -> bool {
    field.eq_ignore_ascii_case(name)
}

fn parse<T: FromStr<Err: Display>>(column: &'static str, text: &str) -> Result<T, LineError> {
    text.parse().map_err(|why: T::Err| LineError::Field { column, text: text.to_owned(), why: why.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(header: &str, line: &[u8]) -> Result<String, String> {
        let decoder = if header == "{" { Ok(Decoder::Ndjson) } else { Decoder::csv(header.as_bytes()) };
        let trade = decoder.map_err(|error| error.to_string())?.decode(line);
        let trade = trade.map_err(|error| error.to_string())?;
        let size = trade.size.map_or("-".into(), |size| size.to_string());
        Ok(format!("{} {} {} {size}", trade.time, trade.symbol, trade.price))
    }

    const HEADER: &str = "time,symbol,price,size\n";

    #[test]
    fn a_csv_line_is_read_digit_by_digit() {
        let read = |line: &str| decode(HEADER, line.as_bytes()).expect(line);
        let expected = "2013-10-07T04:00:00.464000Z SPY 167.4100 100";
        assert_eq!(read("2013-10-07T04:00:00.464Z,SPY,167.4100,100\n"), expected);
        assert_eq!(read("2013-10-07T04:00:00.464Z,SPY,167.4100,100\r\n"), expected);
        assert_eq!(read("2013-10-07T04:00:00.464Z,SPY,167.4100,100"), expected);
        assert_eq!(read("\"2013-10-07T06:00:00.464+02:00\", SPY ,\"167.4100\",100\n"), expected);
        assert_eq!(read("2013-10-07T04:00:00Z,SPY,1e2,\n"), "2013-10-07T04:00:00.000000Z SPY 100 -");
    }

    #[test]
    fn the_header_gives_the_order_of_the_columns() {
        let line = b"SPY,x,167.41,2013-10-07T04:00:00Z\n";
        let read = decode("Symbol,note, PRICE ,time\r\n", line);
        assert_eq!(read.as_deref(), Ok("2013-10-07T04:00:00.000000Z SPY 167.41 -"));
        for (header, missing) in [("", "time"), ("time,symbol,size", "price"), ("time,\"symbol\n", "time")] {
            let error = decode(header, b"").expect_err(header);
            assert!(error.contains(&format!("no column \"{missing}\"")), "{header}: {error}");
        }
    }

    #[test]
    fn the_error_of_a_bad_csv_line_names_the_fault() {
        for (line, why) in [
            ("2013-10-07T04:00:00Z,SPY,1\n", "3 columns where the header names 4"),
            ("2013-10-07T04:00:00Z,SPY,1,2,3", "5 columns"),
            ("2013-10-07,SPY,1,2\n", "time \"2013-10-07\" must be"),
            ("2013-10-07T04:00:00Z,BTC/USD,1,2\n", "symbol \"BTC/USD\" must be"),
            ("2013-10-07T04:00:00Z,SPY,-1,2\n", "price \"-1\" must be above 0"),
            ("2013-10-07T04:00:00Z,SPY,,2\n", "price \"\" must be a decimal"),
            ("2013-10-07T04:00:00Z,SPY,1,much\n", "size \"much\" must be a decimal"),
            ("2013-10-07T04:00:00Z,\"SPY,1,2\n", "quote is not closed"),
            (&"x,".repeat(300), "256 columns"),
        ] {
            let error = decode(HEADER, line.as_bytes()).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
        let torn = b"2013-10-07T04:00:00Z,\xC3,1,\xA9\n";
        assert_eq!(decode(HEADER, torn), Err("the line is not UTF-8".into()));
    }

    #[test]
    fn a_bad_line_does_not_affect_the_next() {
        let mut decoder = Decoder::csv(HEADER.as_bytes()).expect("a header");
        assert!(decoder.decode(b"2013-10-07T04:00:00Z,\"SPY,1,2\n").is_err());
        assert!(decoder.decode(b"2013-10-07T04:00:00Z,SPY,1,2\n").is_ok());
    }

    #[test]
    fn a_json_line_has_the_same_keys() {
        let read = |line: &str| decode("{", line.as_bytes());
        let expected = Ok("2013-10-07T04:00:00.000000Z SPY 0.10 -");
        let lines = [
            r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY","price":"0.10","size":null}"#,
            r#"{"size":null,"price":0.10,"symbol":"SPY","time":"2013-10-07T04:00:00Z","more":[1.5]}"#,
            r#" {"price":0.10,"symbol":"SPY","time":"2013-10-07T04:00:00Z"}"#,
        ];
        for line in lines {
            assert_eq!(read(line).as_deref(), expected, "{line}");
        }
        for (line, why) in [
            ("{", "EOF while parsing an object at column 1"),
            (r#"["2013-10-07T04:00:00Z", "SPY", 1]"#, "not a JSON object"),
            (r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY"}"#, "missing field `price` at column 46"),
            (r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY","price":0}"#, "must be above 0"),
            (r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY","price":1} x"#, "trailing characters"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
