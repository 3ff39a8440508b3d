//! Rows as lines of CSV (RFC 4180) or NDJSON. Numbers and times have the digits that the database has.
//!
//! The columns of ticks have the names that the price-ingestor reads, so that what was exported can be published again.

use std::io::Write;

use events::{Interval, Symbol, Timestamp};

use super::ticks::ExportedTick;
use crate::{
    Numeric,
    market::{candle_list::CandleRow, tick_list::ColumnId},
};

/// How rows are written as text, one a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Fields between commas, under a line with their names.
    Csv,
    /// A JSON object.
    Ndjson,
}

impl TextFormat {
    /// Returns the line above all ticks, which may be empty.
    pub fn tick_header(self) -> &'static str {
        match self {
            Self::Csv => "time,venue,symbol,price,size,id,kind,source,received_at,stream_sequence,stream_index\n",
            Self::Ndjson => "",
        }
    }

    /// Returns the line above all candles, which may be empty.
    pub fn candle_header(self) -> &'static str {
        match self {
            Self::Csv => "start,venue,symbol,interval,open,high,low,close,volume,trades\n",
            Self::Ndjson => "",
        }
    }

    /// Appends the line of a tick.
    pub fn write_tick(self, symbol: &Symbol, tick: &ExportedTick<'_>, text: &mut Vec<u8>) {
        let mut line = Line { format: self, text, is_empty: true };
        line.time("time", tick.at);
        line.word("venue", tick.venue);
        line.word("symbol", symbol.as_str());
        line.number("price", Some(&tick.price));
        line.number("size", tick.size.as_ref());
        line.id("id", tick.id);
        line.word("kind", tick.kind.as_str());
        line.word("source", tick.source.as_str());
        line.time("received_at", tick.received_at);
        line.integer("stream_sequence", tick.position.sequence);
        line.integer("stream_index", tick.position.index);
        line.end();
    }

    /// Appends the line of a candle of a market.
    pub fn write_candle(
        self,
        (venue, symbol): (&str, &Symbol),
        interval: Interval,
        candle: &CandleRow<'_>,
        text: &mut Vec<u8>,
    ) {
        let mut line = Line { format: self, text, is_empty: true };
        line.time("start", candle.start);
        line.word("venue", venue);
        line.word("symbol", symbol.as_str());
        line.word("interval", &interval.to_string());
        line.number("open", Some(&candle.open));
        line.number("high", Some(&candle.high));
        line.number("low", Some(&candle.low));
        line.number("close", Some(&candle.close));
        line.number("volume", Some(&candle.volume));
        line.integer("trades", candle.trades);
        line.end();
    }
}

/// A line that is being written.
struct Line<'text> {
    format: TextFormat,
    text: &'text mut Vec<u8>,
    is_empty: bool,
}

impl Line<'_> {
    /// Writes a word that needs no escapes in either format.
    fn word(&mut self, name: &str, word: &str) {
        self.begin(name);
        self.quoted(|text| text.extend_from_slice(word.as_bytes()));
    }

    fn time(&mut self, name: &str, time: Timestamp) {
        self.begin(name);
        self.quoted(|text| text.extend_from_slice(&time.to_text()));
    }

    fn number(&mut self, name: &str, number: Option<&Numeric<'_>>) {
        self.begin(name);
        match (number, self.format) {
            (Some(number), _) => self.quoted(|text| number.write_to(text)),
            (None, TextFormat::Csv) => {}
            (None, TextFormat::Ndjson) => self.text.extend_from_slice(b"null"),
        }
    }

    fn integer(&mut self, name: &str, number: impl std::fmt::Display) {
        self.begin(name);
        // A vector takes all that is written.
        let _ = write!(self.text, "{number}");
    }

    /// Writes an id, which a venue makes of any characters.
    fn id(&mut self, name: &str, id: ColumnId<'_>) {
        self.begin(name);
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\' && byte != b',';
        if id.rest.bytes().all(is_plain) {
            return self.quoted(|text| {
                if let Some(micros) = id.micros {
                    let _ = write!(text, "{micros}");
                }
                text.extend_from_slice(id.rest.as_bytes());
            });
        }
        let id = id.to_string();
        match self.format {
            TextFormat::Csv => {
                let _ = write!(self.text, "\"{}\"", id.replace('"', "\"\""));
            }
            TextFormat::Ndjson => {
                // Text is JSON.
                let _ = serde_json::to_writer(&mut *self.text, &id);
            }
        }
    }

    fn begin(&mut self, name: &str) {
        match (self.format, self.is_empty) {
            (TextFormat::Csv, true) => {}
            (TextFormat::Csv, false) => self.text.push(b','),
            (TextFormat::Ndjson, is_empty) => {
                self.text.extend_from_slice(if is_empty { b"{\"" } else { b",\"" });
                self.text.extend_from_slice(name.as_bytes());
                self.text.extend_from_slice(b"\":");
            }
        }
        self.is_empty = false;
    }

    fn quoted(&mut self, content: impl FnOnce(&mut Vec<u8>)) {
        let quote: &[u8] = if self.format == TextFormat::Ndjson { b"\"" } else { b"" };
        self.text.extend_from_slice(quote);
        content(self.text);
        self.text.extend_from_slice(quote);
    }

    fn end(self) {
        self.text.extend_from_slice(if self.format == TextFormat::Ndjson { b"}\n" } else { b"\n" });
    }
}

#[cfg(test)]
mod tests {
    use events::tick::{TickKind, TickSource};
    use market_data::TickPosition;

    use super::*;

    /// 167.41 as the wire has it.
    const PRICE: [u8; 12] = [0, 2, 0, 0, 0, 0, 0, 2, 0, 167, 0x10, 0x04];

    fn line(format: TextFormat, id: ColumnId<'_>, size: Option<Numeric<'_>>) -> String {
        let at = |micros| Timestamp::from_micros(micros).expect("a time");
        let tick = ExportedTick {
            venue: "file",
            at: at(1_000_001),
            price: Numeric::try_from(&PRICE[..]).expect("a number"),
            size,
            id,
            kind: TickKind::Trade,
            source: TickSource::Backfill,
            received_at: at(2_000_000),
            position: TickPosition { sequence: 7, index: 3 },
        };
        let mut text = Vec::new();
        format.write_tick(&Symbol::parse("BRK.B").expect("a symbol"), &tick, &mut text);
        String::from_utf8(text).expect("UTF-8")
    }

    #[test]
    fn a_tick_is_a_line() {
        let price = Numeric::try_from(&PRICE[..]).expect("a number");
        let derived = ColumnId { micros: Some(1_000_001), rest: "/167.41//0" };
        assert_eq!(
            line(TextFormat::Csv, derived, None),
            "1970-01-01T00:00:01.000001Z,file,BRK.B,167.41,,1000001/167.41//0,trade,backfill,1970-01-01T00:00:02.000000Z,7,3\n"
        );
        assert_eq!(
            line(TextFormat::Ndjson, derived, Some(price)),
            concat!(
                r#"{"time":"1970-01-01T00:00:01.000001Z","venue":"file","symbol":"BRK.B","price":"167.41","size":"167.41","#,
                r#""id":"1000001/167.41//0","kind":"trade","source":"backfill","received_at":"1970-01-01T00:00:02.000000Z","#,
                r#""stream_sequence":7,"stream_index":3}"#,
                "\n"
            )
        );
        assert_eq!(TextFormat::Csv.tick_header().matches(',').count(), 10);
    }

    #[test]
    fn an_id_of_any_characters_stays_one_field() {
        for (id, csv, json) in [
            ("a,b", r#""a,b""#, r#""a,b""#),
            ("a\"b", r#""a""b""#, r#""a\"b""#),
            ("a\nb", "\"a\nb\"", r#""a\nb""#),
            ("é𝄞", "é𝄞", "\"é𝄞\""),
        ] {
            let id = ColumnId { micros: None, rest: id };
            assert!(line(TextFormat::Csv, id, None).contains(&format!(",,{csv},trade")), "{csv}");
            assert!(line(TextFormat::Ndjson, id, None).contains(&format!("\"id\":{json},\"kind\"")), "{json}");
        }
    }
}
