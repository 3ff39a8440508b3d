//! Cursors: positions in lists, which `next_cursor` hands out and `?cursor=` takes back. No I/O.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::{Symbol, Timestamp};
use store::market::queries::{SortOrder, TickCursor};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};
use uuid::Uuid;

pub(crate) type AlertCursor = ListCursor<Uuid, 'r'>;
pub(crate) type ApiKeyCursor = ListCursor<Uuid, 'k'>;
pub(crate) type CandleCursor = ListCursor<Timestamp, 'c'>;
pub(crate) type FiringCursor = ListCursor<i64, 'f'>;
pub(crate) type HistoryCursor = ListCursor<(SortOrder, TickCursor), 'h'>;
pub(crate) type OrderCursor = ListCursor<Uuid, 'o'>;
pub(crate) type PostingCursor = ListCursor<i64, 'l'>;
pub(crate) type PriceCursor = ListCursor<Symbol, 'p'>;
pub(crate) type TradeCursor = ListCursor<i64, 't'>;

/// The position behind the item with this key. `LIST` is a letter of the list, so that no other list takes its cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListCursor<K, const LIST: char>(pub(crate) K);

impl<K: CursorKey, const LIST: char> ListCursor<K, LIST> {
    /// Writes the cursor as base64url of the list's letter and the key.
    pub(crate) fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("{LIST}{}", self.0.to_text()))
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        K::from_text(std::str::from_utf8(&bytes).ok()?.strip_prefix(LIST)?).map(Self)
    }
}

impl<K: CursorKey, const LIST: char> FromStr for ListCursor<K, LIST> {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::decode(text).ok_or("must be the next_cursor of an earlier page of this list")
    }
}

impl<K, const LIST: char> PartialSchema for ListCursor<K, LIST> {
    fn schema() -> RefOr<Schema> {
        String::schema()
    }
}

impl<K, const LIST: char> ToSchema for ListCursor<K, LIST> {}

/// The key that a list is sorted by.
pub(crate) trait CursorKey: Sized {
    /// Writes the key.
    fn to_text(&self) -> String;
    /// Reads a key that was written so.
    fn from_text(text: &str) -> Option<Self>;
}

impl CursorKey for Uuid {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
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
}

impl CursorKey for Symbol {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}

impl CursorKey for Timestamp {
    fn to_text(&self) -> String {
        self.micros().to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        Self::from_micros(text.parse().ok()?).ok()
    }
}

/// A tick, in one of the two orders.
impl CursorKey for (SortOrder, TickCursor) {
    fn to_text(&self) -> String {
        let (order, TickCursor { at, sequence }) = self;
        let order = if *order == SortOrder::Ascending { 'a' } else { 'd' };
        format!("{order}{}.{sequence}", at.micros())
    }
    fn from_text(text: &str) -> Option<Self> {
        let (order, key) = match text.strip_prefix('a') {
            Some(key) => (SortOrder::Ascending, key),
            None => (SortOrder::Descending, text.strip_prefix('d')?),
        };
        let (at, sequence) = key.split_once('.')?;
        let at = Timestamp::from_micros(at.parse().ok()?).ok()?;
        // A sequence is a bigint where it is stored.
        let sequence = sequence.parse::<i64>().ok().and_then(|sequence| u64::try_from(sequence).ok())?;
        Some((order, TickCursor { at, sequence }))
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
        let history = |order, sequence| -> HistoryCursor { ListCursor((order, TickCursor { at, sequence })) };
        let texts = [
            check::<i64, 'f'>(ListCursor(7)),
            check::<i64, 't'>(ListCursor(7)),
            check::<Uuid, 'r'>(ListCursor(Uuid::from_u128(7))),
            check::<Symbol, 'p'>(ListCursor(Symbol::parse("BTC-USD").expect("a symbol"))),
            check::<Timestamp, 'c'>(ListCursor(at)),
            check(history(SortOrder::Ascending, 5)),
        ];
        check(history(SortOrder::Descending, 0));
        for text in &texts[1..] {
            assert_eq!(FiringCursor::decode(text), None);
        }
        for text in &texts[..5] {
            assert_eq!(HistoryCursor::decode(text), None);
        }
    }

    #[test]
    fn a_made_up_cursor_is_rejected() {
        let made = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        for bad in [made("f0"), made("f-1"), made("f99999999999999999999"), made(""), "é".into(), "====".into()] {
            assert_eq!(FiringCursor::decode(&bad), None, "{bad}");
        }
        for bad in ["h", "ha", "ha1", "hx1.1", "ha1.-1", "ha-1.1", "ha1.18446744073709551615", "ha999999999999999999.1"]
        {
            assert_eq!(HistoryCursor::decode(&made(bad)), None, "{bad}");
        }
    }
}
