//! Cursors: positions in lists, which `next_cursor` hands out and `?cursor=` takes back. No I/O.
//!
//! A cursor is plain text, so that the OpenAPI document can say what a list takes. It holds nothing that the page before it
//! has not shown.

use std::str::FromStr;

use events::{Symbol, Timestamp};
use store::market::tick_list::{TickCursor, TickPosition};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};
use uuid::Uuid;

pub(crate) type AlertCursor = ListCursor<Uuid, 'r'>;
pub(crate) type ApiKeyCursor = ListCursor<Uuid, 'k'>;
pub(crate) type CandleCursor = ListCursor<Timestamp, 'c'>;
pub(crate) type DeadLetterCursor = ListCursor<i64, 'd'>;
pub(crate) type FiringCursor = ListCursor<i64, 'f'>;
pub(crate) type HistoryCursor = ListCursor<TickCursor, 'h'>;
pub(crate) type OrderCursor = ListCursor<Uuid, 'o'>;
pub(crate) type PostingCursor = ListCursor<i64, 'l'>;
pub(crate) type PriceCursor = ListCursor<Symbol, 'p'>;
pub(crate) type TradeCursor = ListCursor<i64, 't'>;

/// The position behind the item with this key. `LIST` is a letter of the list, so that no other list takes its cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListCursor<K, const LIST: char>(pub(crate) K);

impl<K: CursorKey, const LIST: char> ListCursor<K, LIST> {
    /// Writes the cursor as the list's letter and the key.
    pub(crate) fn encode(&self) -> String {
        format!("{LIST}{}", self.0.to_text())
    }

    fn decode(text: &str) -> Option<Self> {
        K::from_text(text.strip_prefix(LIST)?).map(Self)
    }
}

impl<K: CursorKey, const LIST: char> FromStr for ListCursor<K, LIST> {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::decode(text).ok_or("must be the next_cursor of an earlier page of this list")
    }
}

impl<K: CursorKey, const LIST: char> PartialSchema for ListCursor<K, LIST> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^{LIST}{}$", K::pattern()))).into()
    }
}

impl<K: CursorKey, const LIST: char> ToSchema for ListCursor<K, LIST> {}

/// The key that a list is sorted by.
pub(crate) trait CursorKey: Sized {
    /// Writes the key.
    fn to_text(&self) -> String;
    /// Reads a key that was written so.
    fn from_text(text: &str) -> Option<Self>;
    /// Returns a regular expression of keys, each of which can be read.
    fn pattern() -> String;
}

impl CursorKey for Uuid {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn pattern() -> String {
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".into()
    }
}

/// A number that counts from 1.
impl CursorKey for i64 {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }
    fn pattern() -> String {
        "[1-9][0-9]{0,17}".into()
    }
}

impl CursorKey for Symbol {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
    fn pattern() -> String {
        let RefOr::T(Schema::Object(symbol)) = Self::schema() else { return String::new() };
        symbol.pattern.unwrap_or_default().trim_matches(['^', '$']).to_owned()
    }
}

impl CursorKey for Timestamp {
    fn to_text(&self) -> String {
        self.micros().to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        Self::from_micros(text.parse().ok()?).ok()
    }
    fn pattern() -> String {
        "[0-9]{1,16}".into()
    }
}

/// A list of ticks goes on from its last one, in the order that the request asks for.
impl CursorKey for TickCursor {
    fn to_text(&self) -> String {
        format!("{}.{}.{}", self.at.micros(), self.position.sequence, self.position.index)
    }
    fn from_text(text: &str) -> Option<Self> {
        let (at, position) = text.split_once('.')?;
        let (sequence, index) = position.split_once('.')?;
        let at = Timestamp::from_micros(at.parse().ok()?).ok()?;
        // A sequence is a bigint where it is stored.
        let sequence = sequence.parse::<i64>().ok().and_then(|sequence| u64::try_from(sequence).ok())?;
        // And the index of a tick a smallint.
        let index = index.parse::<i16>().ok().and_then(|index| u16::try_from(index).ok())?;
        Some(Self { at, position: TickPosition { sequence, index } })
    }
    fn pattern() -> String {
        r"[0-9]{1,16}\.[0-9]{1,18}\.[0-9]{1,4}".into()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_and_only_to_its_list() {
        fn check<K: CursorKey + PartialEq + Debug, const LIST: char>(cursor: ListCursor<K, LIST>) -> String {
            let text = cursor.encode();
            assert_eq!(text.parse().as_ref(), Ok(&cursor));
            text
        }
        let at: Timestamp = "2018-04-05T00:01:00Z".parse().expect("a time");
        let position = |sequence| TickPosition { sequence, index: 3 };
        let history = |sequence| -> HistoryCursor { ListCursor(TickCursor { at, position: position(sequence) }) };
        let texts = [
            check::<i64, 'f'>(ListCursor(7)),
            check::<i64, 't'>(ListCursor(7)),
            check::<Uuid, 'r'>(ListCursor(Uuid::from_u128(7))),
            check::<Symbol, 'p'>(ListCursor(Symbol::parse("BTC-USD").expect("a symbol"))),
            check::<Timestamp, 'c'>(ListCursor(at)),
            check(history(5)),
        ];
        check(history(0));
        for text in &texts[1..] {
            assert_eq!(FiringCursor::decode(text), None);
        }
        for text in &texts[..5] {
            assert_eq!(HistoryCursor::decode(text), None);
        }
    }

    #[test]
    fn a_made_up_cursor_is_rejected() {
        for bad in ["", "f", "f0", "f-1", "f1.0", "f99999999999999999999", "é", "====", "ZjE", "t1", "F1"] {
            assert_eq!(FiringCursor::decode(bad), None, "{bad}");
        }
        for bad in ["h", "h1", "hx.1", "h1.-1", "h-1.1", "h1.18446744073709551615", "h999999999999999999.1"] {
            assert_eq!(HistoryCursor::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cursor_is_described_by_a_pattern() {
        let pattern = |schema: RefOr<Schema>| serde_json::to_value(schema).expect("JSON")["pattern"].clone();
        assert_eq!(pattern(FiringCursor::schema()), "^f[1-9][0-9]{0,17}$");
        let symbol = pattern(Symbol::schema());
        let symbol = symbol.as_str().and_then(|text| text.strip_prefix('^')).expect("a pattern");
        assert_eq!(pattern(PriceCursor::schema()), format!("^p{symbol}"));
        // The largest of what the patterns allow.
        assert!(FiringCursor::decode("f999999999999999999").is_some());
        assert!(CandleCursor::decode("c9999999999999999").is_some());
        assert!(HistoryCursor::decode("h9999999999999999.999999999999999999.9999").is_some());
    }
}
