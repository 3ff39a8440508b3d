//! Pages of ticks and candles as JSON, written from the rows to the buffer: numbers and times stay text all the way.
//!
//! The shapes are those of [`Tick`], [`CandleView`] and [`Page`](crate::routes::page::Page), which the OpenAPI document is made
//! of.

use std::io::Write;

use events::{Price, Size, Timestamp, Venue};
use serde::Serialize;
use store::{
    Numeric,
    market::{
        candle_list::CandleText,
        tick_list::{ColumnId, TickCursor, TickRow},
    },
};

use utoipa::ToSchema;

use super::completeness::{CandleCompleteness, CandleLine};
use crate::{
    market::latest_prices::ListedPrice,
    request::cursor::{CandleCursor, HistoryCursor, ListCursor, PriceCursor},
};

/// The bytes of a candle and of a tick, roughly.
const ROW_BYTES: usize = 192;

/// A tick of one venue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tick {
    venue: Venue,
    /// The time of the tick.
    at: Timestamp,
    price: Price,
    /// The traded quantity in the base asset; null for quotes and polls.
    size: Option<Size>,
    /// `trade`, `quote` or `poll`.
    #[schema(example = "trade")]
    kind: &'static str,
    /// The trade id of the venue, or one that is derived from time, price and size.
    #[schema(example = "123456")]
    trade_id: String,
    /// The sequence in the stream `TICKS` of the page that has the tick.
    stream_sequence: u64,
    /// The index of the tick in its page.
    stream_index: u16,
}

/// A candle: the ticks of one interval.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Candle)]
pub(crate) struct CandleView {
    /// The start of the interval, in UTC.
    start: Timestamp,
    /// Null, as the other prices are, only where the completeness is unknown.
    open: Option<Price>,
    high: Option<Price>,
    low: Option<Price>,
    close: Option<Price>,
    /// The exact sum of the traded quantities, in the base asset.
    #[schema(example = "12.5")]
    volume: String,
    /// The number of ticks.
    trades: i64,
    /// The number of ticks that have changed the candle after its close.
    revision: i64,
    completeness: CandleCompleteness,
}

/// A row that can be written.
pub(super) trait JsonRow {
    /// Appends the row as a JSON object.
    fn write_to(&self, json: &mut Vec<u8>);
    /// Returns the cursor of the page behind the row.
    fn cursor(&self) -> String;
}

/// Writes a page of at most `limit` rows, with a cursor when a row is left over. `rows` has up to `limit + 1`.
pub(super) fn page<R: JsonRow, E>(rows: impl ExactSizeIterator<Item = Result<R, E>>, limit: u16) -> Result<Vec<u8>, E> {
    let (limit, has_more) = (usize::from(limit), rows.len() > usize::from(limit));
    let mut json = Vec::with_capacity(64 + rows.len() * ROW_BYTES);
    json.extend_from_slice(b"{\"items\":[");
    let mut cursor = None;
    for (index, row) in rows.take(limit).enumerate() {
        let row = row?;
        if index > 0 {
            json.push(b',');
        }
        row.write_to(&mut json);
        if has_more && index + 1 == limit {
            cursor = Some(row.cursor());
        }
    }
    json.extend_from_slice(b"],\"next_cursor\":");
    match cursor {
        // A cursor has no character that JSON escapes.
        Some(cursor) => text(&mut json, |json| json.extend_from_slice(cursor.as_bytes())),
        None => json.extend_from_slice(b"null"),
    }
    json.push(b'}');
    Ok(json)
}

impl JsonRow for CandleLine<'_> {
    fn write_to(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(b"{\"start\":");
        time(json, self.start());
        let completeness = match self {
            Self::Traded(CandleText { open, high, low, close, volume, trades, revision, .. }, completeness) => {
                for (name, value) in [
                    (&b",\"open\":\""[..], open),
                    (b"\",\"high\":\"", high),
                    (b"\",\"low\":\"", low),
                    (b"\",\"close\":\"", close),
                    (b"\",\"volume\":\"", volume),
                    (b"\",\"trades\":", trades),
                    (b",\"revision\":", revision),
                ] {
                    json.extend_from_slice(name);
                    json.extend_from_slice(value.as_bytes());
                }
                *completeness
            }
            Self::Unknown(_) => {
                json.extend_from_slice(
                    b",\"open\":null,\"high\":null,\"low\":null,\"close\":null,\"volume\":\"0\",\"trades\":0,\"revision\":0",
                );
                CandleCompleteness::Unknown
            }
        };
        json.extend_from_slice(b",\"completeness\":");
        text(json, |json| json.extend_from_slice(completeness.as_str().as_bytes()));
        json.push(b'}');
    }

    fn cursor(&self) -> String {
        let cursor: CandleCursor = ListCursor(self.start());
        cursor.encode()
    }
}

impl JsonRow for TickRow<'_> {
    fn write_to(&self, json: &mut Vec<u8>) {
        // A venue and a kind have no character that JSON escapes.
        json.extend_from_slice(b"{\"venue\":");
        text(json, |json| json.extend_from_slice(self.venue.as_bytes()));
        json.extend_from_slice(b",\"at\":");
        time(json, self.at);
        json.extend_from_slice(b",\"price\":");
        number(json, &self.price);
        json.extend_from_slice(b",\"size\":");
        match &self.size {
            Some(size) => number(json, size),
            None => json.extend_from_slice(b"null"),
        }
        json.extend_from_slice(b",\"kind\":");
        text(json, |json| json.extend_from_slice(self.kind.as_str().as_bytes()));
        json.extend_from_slice(b",\"trade_id\":");
        trade_id(json, self.trade_id);
        json.extend_from_slice(b",\"stream_sequence\":");
        integer(json, self.position.sequence);
        json.extend_from_slice(b",\"stream_index\":");
        integer(json, self.position.index);
        json.push(b'}');
    }

    fn cursor(&self) -> String {
        let cursor: HistoryCursor = ListCursor(TickCursor { at: self.at, position: self.position });
        cursor.encode()
    }
}

impl JsonRow for ListedPrice {
    fn write_to(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(self.answer.body());
    }

    fn cursor(&self) -> String {
        let cursor: PriceCursor = ListCursor(self.symbol.clone());
        cursor.encode()
    }
}

fn text(json: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    json.push(b'"');
    content(json);
    json.push(b'"');
}

fn time(json: &mut Vec<u8>, time: Timestamp) {
    text(json, |json| json.extend_from_slice(&time.to_text()));
}

fn number(json: &mut Vec<u8>, number: &Numeric<'_>) {
    text(json, |json| number.write_to(json));
}

fn integer(json: &mut Vec<u8>, number: impl std::fmt::Display) {
    // A vector takes all that is written.
    let _ = write!(json, "{number}");
}

fn trade_id(json: &mut Vec<u8>, id: ColumnId<'_>) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if id.rest.bytes().all(is_plain) {
        text(json, |json| {
            if let Some(micros) = id.micros {
                integer(json, micros);
            }
            json.extend_from_slice(id.rest.as_bytes());
        });
    } else {
        // A vector takes all that is written, and text is JSON.
        let _ = serde_json::to_writer(json, &id.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use events::{Symbol, tick::TickKind};
    use store::market::tick_list::TickPosition;

    use super::*;
    use crate::{http::validators::Tagged, routes::page::Page};

    /// Writes a number as the database sends it, and keeps it to the end of the test.
    fn numeric(text: &str) -> Numeric<'static> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = format!("{:0>width$}", whole, width = whole.len().next_multiple_of(4));
        let padded = format!("{:0<width$}", fraction, width = fraction.len().next_multiple_of(4));
        let digits: Vec<u16> = (whole.clone() + &padded)
            .as_bytes()
            .chunks(4)
            .map(|group| std::str::from_utf8(group).expect("ASCII").parse().expect("digits"))
            .collect();
        let header = [digits.len() as u16, (whole.len() / 4 - 1) as u16, 0, fraction.len() as u16];
        let bytes: Vec<u8> = header.iter().chain(&digits).flat_map(|part| part.to_be_bytes()).collect();
        Numeric::try_from(&*bytes.leak()).expect(text)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000 + 1).expect("a time")
    }

    const NUMBERS: [&str; 6] =
        ["0.000000000000000001", "167.4100", "68000", "9999.9999", "99999999999999.9", "1234567890.000100"];

    #[test]
    fn a_page_of_candles_has_the_bytes_that_the_serializer_gives_it() {
        let volume = "100000000000000000000000000000.000000000000001";
        let completeness = |number: usize| {
            use CandleCompleteness::{Backfilled, Complete, Partial, Unknown};
            [Complete, Partial, Backfilled, Unknown][number % 4]
        };
        let candle = |number: usize| {
            let row = CandleText {
                start: at(number as i64),
                open: NUMBERS[number],
                high: NUMBERS[(number + 1) % 6],
                low: NUMBERS[(number + 2) % 6],
                close: NUMBERS[(number + 3) % 6],
                volume,
                trades: (number as i64 * 1_000_003).to_string().leak(),
                revision: number.to_string().leak(),
            };
            match completeness(number) {
                CandleCompleteness::Unknown => CandleLine::Unknown(row.start),
                known => CandleLine::Traded(row, known),
            }
        };
        let view = |number: usize| {
            let price = |number: usize| Some(NUMBERS[number % 6].parse::<Price>().expect("a price"));
            let completeness = completeness(number);
            if completeness == CandleCompleteness::Unknown {
                let (start, volume) = (at(number as i64), "0".into());
                return CandleView {
                    start,
                    open: None,
                    high: None,
                    low: None,
                    close: None,
                    volume,
                    trades: 0,
                    revision: 0,
                    completeness,
                };
            }
            CandleView {
                start: at(number as i64),
                open: price(number),
                high: price(number + 1),
                low: price(number + 2),
                close: price(number + 3),
                volume: volume.into(),
                trades: number as i64 * 1_000_003,
                revision: number as i64,
                completeness,
            }
        };
        for (rows, limit) in [(0, 5), (1, 5), (5, 5), (6, 5)] {
            let written = page((0..rows).map(candle).map(Ok::<_, Infallible>), limit).expect("a page");
            let expected: Page<CandleView> =
                Page::new((0..rows).map(view).collect(), limit, |last: &CandleView| -> CandleCursor {
                    ListCursor(last.start)
                });
            let expected = serde_json::to_string(&expected).expect("JSON");
            assert_eq!(String::from_utf8(written).expect("UTF-8"), expected);
        }
    }

    #[test]
    fn a_page_of_ticks_has_the_bytes_that_the_serializer_gives_it() {
        let ids = ["812345001", "a\"b", "\\", "é𝄞/", "tab\t", "1"];
        let position = |number: usize| TickPosition { sequence: 7 * number as u64, index: number as u16 };
        let kind = |number: usize| [TickKind::Trade, TickKind::Quote, TickKind::Poll][number % 3];
        let tick = |number: usize| TickRow {
            venue: "coinbase",
            trade_id: ColumnId { micros: (number % 2 == 1).then_some(number as i64), rest: ids[number] },
            position: position(number),
            price: numeric(NUMBERS[number]),
            size: (number != 1).then(|| numeric(NUMBERS[5 - number])),
            at: at(number as i64),
            kind: kind(number),
        };
        let view = |number: usize| Tick {
            venue: Venue::parse("coinbase").expect("a venue"),
            at: at(number as i64),
            price: NUMBERS[number].parse().expect("a price"),
            size: (number != 1).then(|| NUMBERS[5 - number].parse::<Size>().expect("a size")),
            kind: kind(number).as_str(),
            trade_id: if number % 2 == 1 { format!("{number}{}", ids[number]) } else { ids[number].into() },
            stream_sequence: position(number).sequence,
            stream_index: position(number).index,
        };
        for (rows, limit) in [(0, 5), (5, 5), (6, 5), (6, 9)] {
            let written = page((0..rows).map(tick).map(Ok::<_, Infallible>), limit).expect("a page");
            let cursor = |last: &Tick| -> HistoryCursor {
                let position = TickPosition { sequence: last.stream_sequence, index: last.stream_index };
                ListCursor(TickCursor { at: last.at, position })
            };
            let expected: Page<Tick> = Page::new((0..rows).map(view).collect(), limit, cursor);
            let expected = serde_json::to_string(&expected).expect("JSON");
            assert_eq!(String::from_utf8(written).expect("UTF-8"), expected);
        }
    }

    #[test]
    fn a_list_of_prices_has_the_bytes_that_the_serializer_gives_it() {
        let prices = |number: usize| serde_json::json!({ "symbol": format!("S{number}"), "price": NUMBERS[number] });
        let listed = |number: usize| ListedPrice {
            symbol: Symbol::parse(&format!("S{number}")).expect("a symbol"),
            answer: Tagged::of(&prices(number)).expect("JSON"),
        };
        for (rows, limit) in [(0, 5), (5, 5), (6, 5)] {
            let written = page((0..rows).map(listed).map(Ok::<_, Infallible>), limit).expect("a page");
            let cursor = |last: &serde_json::Value| -> PriceCursor {
                ListCursor(Symbol::parse(last["symbol"].as_str().expect("text")).expect("a symbol"))
            };
            let expected: Page<serde_json::Value> = Page::new((0..rows).map(prices).collect(), limit, cursor);
            assert_eq!(String::from_utf8(written).expect("UTF-8"), serde_json::to_string(&expected).expect("JSON"));
        }
    }
}
