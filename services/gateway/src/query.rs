//! A query string, one parameter at a time, and the places in lists that `cursor` names. No I/O.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::{Symbol, Timestamp};
use store::market::queries::{SortOrder, TickCursor};
use uuid::Uuid;

use crate::problem::{Mistake, Problem};

/// How many items a page has when nobody says.
const PAGE: u16 = 100;
/// How many at most.
const LARGEST_PAGE: u16 = 1_000;

/// The parameters that have not been read, and the mistakes in those that have.
#[derive(Debug)]
pub(crate) struct Query {
    unread: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

impl Query {
    /// Parameters as they stand in the URL, decoded.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut query = Self { unread: BTreeMap::new(), mistakes: Vec::new() };
        for (name, value) in pairs {
            if query.unread.insert(name.clone(), value).is_some() {
                query.refuse(&name, "stands twice");
            }
        }
        query
    }

    /// A parameter that may be absent; `None` also when it is a mistake, which is noted.
    pub(crate) fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.unread.remove(name)?;
        text.parse().map_err(|error: T::Err| self.refuse(name, error.to_string())).ok()
    }

    /// A parameter that must be there; `None` when it is a mistake, which is noted.
    pub(crate) fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        if !self.unread.contains_key(name) {
            self.refuse(name, "is required");
        }
        self.optional(name)
    }

    /// `from` or `to`. The `+` of an offset that was not escaped arrives as a space, which RFC 3339 has nowhere else.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        if let Some(text) = self.unread.get_mut(name) {
            *text = text.replace(' ', "+");
        }
        self.optional(name)
    }

    /// `limit`: 1 to 1000, else 100.
    pub(crate) fn limit(&mut self) -> u16 {
        self.optional::<Limit>("limit").map_or(PAGE, |Limit(limit)| limit)
    }

    /// Notes a mistake that no parser of one parameter can see.
    pub(crate) fn refuse(&mut self, name: &str, detail: impl Into<String>) {
        self.mistakes.push(Mistake::parameter(name, detail));
    }

    /// `read` when there was no mistake; parameters that nobody has read are some.
    pub(crate) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        for name in std::mem::take(&mut self.unread).into_keys() {
            self.refuse(&name, "is no parameter of this operation");
        }
        read.filter(|_| self.mistakes.is_empty()).ok_or_else(|| Problem::invalid(self.mistakes))
    }
}

struct Limit(u16);

impl FromStr for Limit {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let limit = text.parse().ok().filter(|limit| digits && (1..=LARGEST_PAGE).contains(limit));
        limit.map(Self).ok_or("must be a whole number from 1 to 1000")
    }
}

/// A place in a list, as the item before it: base64url of its key, behind a letter that keeps the cursors of one list
/// out of another.
pub(crate) trait Cursor: Sized {
    /// The letter.
    const LIST: &'static str;
    /// The key as text.
    fn key(&self) -> String;
    /// The key that was written so.
    fn from_key(key: &str) -> Option<Self>;

    /// As it is shown.
    fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("{}{}", Self::LIST, self.key()))
    }

    /// As it comes back.
    fn decode(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        Self::from_key(std::str::from_utf8(&bytes).ok()?.strip_prefix(Self::LIST)?)
    }
}

/// A cursor on its way in.
pub(crate) struct Given<C>(pub(crate) C);

impl<C: Cursor> FromStr for Given<C> {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        C::decode(text).map(Self).ok_or("must be the next_cursor of an earlier page of this list")
    }
}

/// Behind a firing of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FiringPlace(pub(crate) i64);

impl Cursor for FiringPlace {
    const LIST: &'static str = "f";
    fn key(&self) -> String {
        self.0.to_string()
    }
    fn from_key(key: &str) -> Option<Self> {
        key.parse().ok().filter(|number| *number > 0).map(Self)
    }
}

/// Behind an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyPlace(pub(crate) Uuid);

impl Cursor for KeyPlace {
    const LIST: &'static str = "k";
    fn key(&self) -> String {
        self.0.to_string()
    }
    fn from_key(key: &str) -> Option<Self> {
        key.parse().ok().map(Self)
    }
}

/// Behind a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RulePlace(pub(crate) Uuid);

impl Cursor for RulePlace {
    const LIST: &'static str = "r";
    fn key(&self) -> String {
        self.0.to_string()
    }
    fn from_key(key: &str) -> Option<Self> {
        key.parse().ok().map(Self)
    }
}

/// Behind a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SymbolPlace(pub(crate) Symbol);

impl Cursor for SymbolPlace {
    const LIST: &'static str = "p";
    fn key(&self) -> String {
        self.0.to_string()
    }
    fn from_key(key: &str) -> Option<Self> {
        Symbol::parse(key).ok().map(Self)
    }
}

/// Behind a candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CandlePlace(pub(crate) Timestamp);

impl CandlePlace {
    /// The first instant at which a later candle can start.
    pub(crate) fn next(self) -> Timestamp {
        Timestamp::from_micros(self.0.micros() + 1).unwrap_or(Timestamp::LAST)
    }
}

impl Cursor for CandlePlace {
    const LIST: &'static str = "c";
    fn key(&self) -> String {
        self.0.micros().to_string()
    }
    fn from_key(key: &str) -> Option<Self> {
        Timestamp::from_micros(key.parse().ok()?).ok().map(Self)
    }
}

/// Behind a tick, in one of the two orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TickPlace(pub(crate) SortOrder, pub(crate) TickCursor);

impl Cursor for TickPlace {
    const LIST: &'static str = "h";
    fn key(&self) -> String {
        let Self(order, TickCursor { at, sequence }) = self;
        let order = if *order == SortOrder::Ascending { 'a' } else { 'd' };
        format!("{order}{}.{sequence}", at.micros())
    }
    fn from_key(key: &str) -> Option<Self> {
        let (order, key) = match key.strip_prefix('a') {
            Some(key) => (SortOrder::Ascending, key),
            None => (SortOrder::Descending, key.strip_prefix('d')?),
        };
        let (at, sequence) = key.split_once('.')?;
        let at = Timestamp::from_micros(at.parse().ok()?).ok()?;
        // A sequence is a bigint where it is stored.
        let sequence = sequence.parse::<i64>().ok().and_then(|sequence| u64::try_from(sequence).ok())?;
        Some(Self(order, TickCursor { at, sequence }))
    }
}

/// Turns `limit + 1` items into a page of `limit` and the cursor behind it, if there is more.
pub(crate) fn page<T, C: Cursor>(mut items: Vec<T>, limit: u16, place: impl Fn(&T) -> C) -> (Vec<T>, Option<String>) {
    let more = items.len() > usize::from(limit);
    items.truncate(usize::from(limit));
    let next = items.last().filter(|_| more).map(|last| place(last).encode());
    (items, next)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        Query::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn refused(query: Query) -> String {
        let problem = query.finish(Some(())).expect_err("a mistake");
        String::from_utf8(problem.to_json("")).expect("UTF-8")
    }

    #[test]
    fn parameters_that_nobody_reads_or_that_stand_twice_are_refused_by_name() {
        assert!(refused(query(&[("colour", "red")])).contains(r#""parameter":"colour""#));
        let mut twice = query(&[("limit", "1"), ("limit", "2")]);
        twice.limit();
        assert!(refused(twice).contains("stands twice"));
    }

    #[test]
    fn a_limit_is_a_whole_number_in_its_range() {
        for (text, limit) in [("1", 1), ("1000", 1_000), ("007", 7)] {
            assert_eq!(query(&[("limit", text)]).limit(), limit);
        }
        assert_eq!(query(&[]).limit(), 100);
        for bad in ["0", "1001", "-1", "+5", "1.5", "", "ten", "99999999999999999999", " 5", "５"] {
            let mut query = query(&[("limit", bad)]);
            query.limit();
            assert!(refused(query).contains(r#""parameter":"limit""#), "{bad}");
        }
    }

    #[test]
    fn the_plus_of_an_offset_may_be_left_unescaped() {
        let time = query(&[("from", "2018-04-05T02:00:00 02:00")]).time("from");
        assert_eq!(time.map(|time| time.to_string()).as_deref(), Some("2018-04-05T00:00:00.000000Z"));
    }

    #[test]
    fn a_cursor_comes_back_as_it_went_and_only_to_its_list() {
        fn check<C: Cursor + PartialEq + Debug>(place: C) -> String {
            let text = place.encode();
            assert_eq!(C::decode(&text).as_ref(), Some(&place));
            text
        }
        let at: Timestamp = "2018-04-05T00:01:00Z".parse().expect("a time");
        let texts = [
            check(FiringPlace(7)),
            check(SymbolPlace(Symbol::parse("BTC-USD").expect("a symbol"))),
            check(CandlePlace(at)),
            check(TickPlace(SortOrder::Ascending, TickCursor { at, sequence: 5 })),
        ];
        check(TickPlace(SortOrder::Descending, TickCursor { at, sequence: 0 }));
        for text in &texts[1..] {
            assert_eq!(FiringPlace::decode(text), None);
        }
        for text in &texts[..3] {
            assert_eq!(TickPlace::decode(text), None);
        }
    }

    #[test]
    fn a_cursor_that_was_made_up_is_none() {
        let made = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        for bad in [made("f0"), made("f-1"), made("f99999999999999999999"), made(""), "é".into(), "====".into()] {
            assert_eq!(FiringPlace::decode(&bad), None, "{bad}");
        }
        for bad in ["h", "ha", "ha1", "hx1.1", "ha1.-1", "ha-1.1", "ha1.18446744073709551615", "ha999999999999999999.1"]
        {
            assert_eq!(TickPlace::decode(&made(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_page_ends_with_a_cursor_only_when_there_is_more() {
        assert_eq!(page(vec![3, 2, 1], 2, |number| FiringPlace(*number)), (vec![3, 2], Some(FiringPlace(2).encode())));
        assert_eq!(page(vec![2, 1], 2, |number| FiringPlace(*number)), (vec![2, 1], None));
        assert_eq!(page(vec![], 2, |number: &i64| FiringPlace(*number)), (vec![], None));
    }
}
