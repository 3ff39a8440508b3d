//! Splits one line of a recording, CSV or NDJSON, into the texts of a trade.

use std::{borrow::Cow, fmt};

use csv_core::ReadRecordResult;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    layout::{Columns, Keys, Layout, ShapeError},
    lines::MAX_LINE_BYTES,
    options::Role,
    trade::{LineError, RecordedTrade, Texts, TradeReader},
};

/// The most columns of a CSV line.
const MAX_COLUMNS: usize = 256;

/// The decoder for the lines of one file.
pub(crate) enum Decoder {
    /// A trade per line, with a separator between its parts.
    Csv(Box<CsvDecoder>),
    /// A JSON object per line.
    Ndjson(Box<NdjsonDecoder>),
}

impl Decoder {
    /// Returns the decoder for the lines of a CSV file that begins with this line, and whether that line is a header.
    pub(crate) fn csv(layout: &Layout, first_line: &[u8]) -> Result<(Self, bool), ShapeError> {
        let mut splitter = Splitter::new(layout.separator.unwrap_or_else(|| separator_of(first_line)));
        // A line that cannot be split names no column.
        let count = splitter.split(first_line).unwrap_or(0);
        let fields: Vec<String> =
            (0..count).map(|index| splitter.field(index).unwrap_or_default().to_owned()).collect();
        let columns = layout.columns(&fields)?;
        let has_header = columns.has_header;
        let csv = CsvDecoder { splitter, columns, trades: TradeReader::new(layout) };
        Ok((Self::Csv(Box::new(csv)), has_header))
    }

    /// Returns the decoder for lines of JSON objects.
    pub(crate) fn ndjson(layout: &Layout) -> Result<Self, ShapeError> {
        Ok(Self::Ndjson(Box::new(NdjsonDecoder { keys: layout.keys()?, trades: TradeReader::new(layout) })))
    }

    /// Decodes a line, with or without its line end.
    pub(crate) fn decode(&mut self, line: &[u8]) -> Result<RecordedTrade, LineError> {
        match self {
            Self::Csv(csv) => csv.decode(line),
            Self::Ndjson(json) => json.trades.read(&json_texts(&json.keys, json.trades.has_symbol(), line)?),
        }
    }
}

/// The decoder for lines of JSON objects.
pub(crate) struct NdjsonDecoder {
    /// The keys of the parts of a trade.
    keys: Keys,
    trades: TradeReader,
}

/// Returns the separator that stands most often in a line, outside of quotes; a comma where none does.
fn separator_of(line: &[u8]) -> u8 {
    let is_quoted = |at: usize| line[..at].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
    let count = |separator: &u8| (0..line.len()).filter(|at| line[*at] == *separator && !is_quoted(*at)).count();
    // Of equal counts the last is the maximum.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// The decoder for lines as in RFC 4180, each by itself: an unclosed quote spoils its own line and not the rest of the file.
pub(crate) struct CsvDecoder {
    splitter: Splitter,
    columns: Columns,
    trades: TradeReader,
}

impl CsvDecoder {
    fn decode(&mut self, line: &[u8]) -> Result<RecordedTrade, LineError> {
        let Self { splitter, columns, trades } = self;
        let found = splitter.split(line)?;
        let mut surplus = columns.count..found;
        // Some programs write a separator behind the last field.
        let is_surplus_empty = surplus.all(|index| splitter.field(index).is_ok_and(str::is_empty));
        if found < columns.count || columns.has_header && !is_surplus_empty {
            return Err(LineError::Columns { found, expected: columns.count });
        }
        let mut texts = Texts::default();
        for (text, index) in texts.iter_mut().zip(columns.indexes) {
            *text = index.map(|index| splitter.field(index).map(Cow::from)).transpose()?;
        }
        trades.read(&texts)
    }
}

/// Splits lines into fields.
struct Splitter {
    reader: csv_core::Reader,
    /// The fields of the current line, unquoted, one after the other.
    text: Box<[u8; MAX_LINE_BYTES]>,
    /// The end of each field in `text`.
    ends: [usize; MAX_COLUMNS],
}

impl Splitter {
    fn new(separator: u8) -> Self {
        let reader = csv_core::ReaderBuilder::new().delimiter(separator).build();
        Self { reader, text: Box::new([0; MAX_LINE_BYTES]), ends: [0; MAX_COLUMNS] }
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
                    return Err(LineError::Columns { found: MAX_COLUMNS, expected: MAX_COLUMNS - 1 });
                }
            }
        }
    }

    fn field(&self, index: usize) -> Result<&str, LineError> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        std::str::from_utf8(&self.text[start..self.ends[index]]).map(str::trim).map_err(|_| LineError::Encoding)
    }
}

fn json_texts<'line>(keys: &Keys, has_symbol: bool, line: &'line [u8]) -> Result<Texts<'line>, LineError> {
    // serde_json would accept an array as an object whose keys are left out.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(LineError::Json("the line is not a JSON object".into()));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let texts = Object(keys).deserialize(&mut deserializer);
    let mut texts = texts.and_then(|texts| deserializer.end().map(|()| texts)).map_err(|error| {
        // serde_json counts lines within its input, which is always one: its "line 1" would mislead.
        let (text, column) = (error.to_string(), error.column());
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        LineError::Json(format!("{what} at column {column}"))
    })?;
    if texts[Role::Time as usize].is_none() {
        texts[Role::Time as usize] = texts[Role::Date as usize].take();
    }
    for role in [Role::Time, Role::Symbol, Role::Price] {
        if texts[role as usize].is_none() && !(role == Role::Symbol && has_symbol) {
            let key = keys[role as usize].join("`, `");
            return Err(LineError::Json(format!(
                "missing field `{key}`; name another key with --columns {}=KEY",
                role.name()
            )));
        }
    }
    Ok(texts)
}

/// A JSON object of which the values of some keys are wanted, as texts.
struct Object<'keys>(&'keys Keys);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Texts<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Texts<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts<'de>, A::Error> {
        let mut texts = Texts::default();
        let mut seen = [false; Role::ALL.len()];
        while let Some(role) = map.next_key_seed(Key(self.0))? {
            let Some(role) = role else {
                map.next_value::<de::IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[role as usize], true) {
                return Err(de::Error::custom(format!("duplicate field `{}`", role.name())));
            }
            texts[role as usize] = text_of(map.next_value()?, role)?;
        }
        Ok(texts)
    }
}

/// The part of a trade that the value of a key is.
struct Key<'keys>(&'keys Keys);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<Role>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Role>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<Role>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Option<Role>, E> {
        Ok(Role::ALL.into_iter().find(|role| self.0[*role as usize].iter().any(|known| known == key)))
    }
}

/// Returns the text of a string, or the digits of a number as they are written; none for null.
fn text_of<'de, E: de::Error>(value: &'de RawValue, role: Role) -> Result<Option<Cow<'de, str>>, E> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') if !raw.contains('\\') => Ok(Some(raw[1..raw.len() - 1].trim().into())),
        Some(b'"') => serde_json::from_str::<String>(raw).map(|text| Some(text.into())).map_err(E::custom),
        Some(b'-' | b'0'..=b'9') => Ok(Some(raw.into())),
        Some(b'n') => Ok(None),
        _ => Err(E::custom(format!("`{}` must be text or a number", role.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::options::ReadOptions;

    fn layout() -> Layout {
        Layout::new(&ReadOptions::default()).expect("a layout")
    }

    fn decode(header: &str, line: &[u8]) -> Result<String, String> {
        let decoder = match header {
            "{" => Decoder::ndjson(&layout()),
            _ => Decoder::csv(&layout(), header.as_bytes()).map(|(decoder, _)| decoder),
        };
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
        for (header, missing) in [("x", "time"), ("time,symbol,size", "price"), ("time,\"symbol\n", "time")] {
            let error = decode(header, b"").expect_err(header);
            assert!(error.contains(&format!("no column \"{missing}\"")), "{header}: {error}");
        }
    }

    #[test]
    fn the_error_of_a_bad_csv_line_names_the_fault() {
        for (line, why) in [
            ("2013-10-07T04:00:00Z,SPY,1\n", "3 columns where 4 are expected"),
            ("2013-10-07T04:00:00Z,SPY,1,2,3", "5 columns"),
            ("2013-10-32,SPY,1,2\n", "time \"2013-10-32\" must be"),
            ("2013-10-07T04:00:00Z,BTC USD,1,2\n", "symbol \"BTC USD\" must be"),
            ("2013-10-07T04:00:00Z,BRK-B,1,2\n", "and a class of share is written BRK.B"),
            ("2013-10-07T04:00:00Z,SPY,\"1,5\",2\n", "a comma in a number is not read"),
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
    fn a_separator_behind_the_last_field_is_no_column() {
        let expected = Ok("2013-10-07T04:00:00.000000Z SPY 1 2".to_owned());
        let line = "2013-10-07T04:00:00Z,SPY,1,2";
        for (header, more) in [(",", ","), (",", ""), ("", ","), (",,,", ","), (", ,", ",,,,")] {
            let header = format!("time,symbol,price,size{header}");
            assert_eq!(decode(&header, format!("{line}{more}").as_bytes()), expected, "{header} {more}");
        }
        assert!(decode(HEADER, format!("{line},,3").as_bytes()).is_err());
        assert!(decode("time,symbol,price,size,", b"2013-10-07T04:00:00Z,SPY,1").is_err());
    }

    #[test]
    fn the_separator_is_the_one_of_the_first_line() {
        for separator in [",", ";", "|", "\t"] {
            let line = ["2013-10-07T04:00:00Z", "SPY", "1", "2"].join(separator);
            let header = ["time", "\"symbol\"", "price", "size"].join(separator);
            assert_eq!(decode(&header, line.as_bytes()).as_deref(), Ok("2013-10-07T04:00:00.000000Z SPY 1 2"));
        }
    }

    #[test]
    fn a_bad_line_does_not_affect_the_next() {
        let mut decoder = Decoder::csv(&layout(), HEADER.as_bytes()).expect("a header").0;
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
            r#"{"price":0.10,"symbol":"spy","time":"2013-10-07T04:00:00Z"}"#,
            r#"{"price":0.10,"symbol":"SPY","time":1381118400}"#,
            r#"{"pr\u0069ce":"0\u002e10","symbol":"SPY","time":1381118400000}"#,
        ];
        for line in lines {
            assert_eq!(read(line).as_deref(), expected, "{line}");
        }
        for (line, why) in [
            ("{", "EOF while parsing an object at column 1"),
            (r#"["2013-10-07T04:00:00Z", "SPY", 1]"#, "not a JSON object"),
            (
                r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY"}"#,
                "missing field `price`; name another key with --columns price=KEY",
            ),
            (r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY","price":1,"price":2}"#, "duplicate field `price`"),
            (r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY","price":[1]}"#, "must be text or a number"),
            (r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY","price":0}"#, "must be above 0"),
            (r#"{"time":"2013-10-07T04:00:00Z","symbol":"SPY","price":1} x"#, "trailing characters"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
