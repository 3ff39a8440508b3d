//! The tick, one price of one symbol at one time, and the page in which ticks travel.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{Event, OutboundMessage, Price, Size, Symbol, Timestamp, Venue};

/// One price of one symbol at one venue.
///
/// Its id is not among the fields: a source has it from the venue, or derives it from these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The venue that made the price.
    pub venue: Venue,
    /// The symbol that the price is of.
    pub symbol: Symbol,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The traded size, in units of the base asset; none for quotes and polls.
    pub size: Option<Size>,
    /// The time of the price, by the venue's clock.
    pub at: Timestamp,
    /// The time at which the price ingestor received it, by its own clock.
    pub received_at: Timestamp,
    /// The kind of the price.
    pub kind: TickKind,
    /// The way by which the price was received.
    pub source: TickSource,
}

/// Reports 1 to 500 prices of one symbol at one venue, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TickPage")]
pub struct TickPage<Id = String> {
    /// The venue that made the prices.
    pub venue: Venue,
    /// The symbol that the prices are of.
    pub symbol: Symbol,
    /// The kind of the prices.
    pub kind: TickKind,
    /// The way by which the prices were received.
    pub source: TickSource,
    /// The time at which the price ingestor received the first of them, by its own clock.
    pub received_at: Timestamp,
    /// The prices, 1 to 500.
    #[serde(
        deserialize_with = "within_bounds",
        bound(deserialize = "Id: Deserialize<'de>", serialize = "Id: Serialize")
    )]
    #[schemars(length(min = 1, max = 500))]
    pub ticks: Vec<PageTick<Id>>,
}

/// One price of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageTick")]
pub struct PageTick<Id = String> {
    /// The id, unique within venue and symbol for ever: the venue's id of the trade, or one that is derived from time, price
    /// and size.
    pub id: Id,
    /// The time of the price, by the venue's clock.
    pub at: Timestamp,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The traded size, in units of the base asset; null for quotes and polls.
    #[serde(default)]
    pub size: Option<Size>,
}

/// The kind of a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TickKind {
    /// The price of a trade.
    Trade,
    /// The price of an offer.
    Quote,
    /// The current price, as a polled API reported it.
    Poll,
}

/// The way by which a price was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TickSource {
    /// Received from the venue when it was made.
    Live,
    /// Requested from the venue later, to fill a gap.
    Backfill,
    /// Read from a recorded file.
    File,
    /// Made by the simulator.
    Simulator,
}

impl TickKind {
    /// Returns the word that stands for the kind in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trade => "trade",
            Self::Quote => "quote",
            Self::Poll => "poll",
        }
    }
}

impl TickSource {
    /// Returns the word that stands for the source in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Backfill => "backfill",
            Self::File => "file",
            Self::Simulator => "simulator",
        }
    }
}

impl Tick {
    /// Returns the message of a page of this tick alone; `id` is unique within its venue and symbol.
    pub fn to_message(&self, id: &str) -> OutboundMessage {
        TickPage::of(self.clone(), id.to_owned()).to_message()
    }

    /// Returns the id of the only tick of its time, price and size whose venue assigns no ids.
    pub fn derived_trade_id(&self) -> String {
        self.nth_derived_trade_id(0)
    }

    /// Returns the id of a tick whose venue assigns none: its time, price and size, and how many equal ticks came before
    /// it in its source. Whatever the digits were written with, equal prices give equal ids.
    pub fn nth_derived_trade_id(&self, equal_before: u32) -> String {
        let size = self.size.map(|size| size.decimal().normalize().to_string()).unwrap_or_default();
        format!("{}/{}/{size}/{equal_before}", self.at.micros(), self.price.decimal().normalize())
    }
}

impl TickPage {
    /// The most ticks of a page.
    pub const MAX_TICKS: usize = 500;
    /// The most bytes of a page's body. With its headers it is below the 64 KiB that a message of stream `TICKS` may have.
    pub const MAX_BYTES: usize = 60 * 1024;
    /// The most bytes of an id that is a part of the id of its page.
    const MAX_ID_BYTES: usize = 200;

    /// Begins a page with its first tick.
    pub fn of(tick: Tick, id: String) -> Self {
        let Tick { venue, symbol, price, size, at, received_at, kind, source } = tick;
        Self { venue, symbol, kind, source, received_at, ticks: vec![PageTick { id, at, price, size }] }
    }

    /// Returns whether a tick may be the next one of this page.
    pub fn takes(&self, tick: &Tick) -> bool {
        self.ticks.len() < Self::MAX_TICKS
            && (self.kind, self.source) == (tick.kind, tick.source)
            && (&self.symbol, &self.venue) == (&tick.symbol, &tick.venue)
    }

    /// Adds a tick that the page [takes](Self::takes).
    pub fn push(&mut self, tick: Tick, id: String) {
        let Tick { price, size, at, .. } = tick;
        self.ticks.push(PageTick { id, at, price, size });
    }

    /// Returns the identity of the page, which is derived from the ids of its ticks.
    pub fn id(&self) -> String {
        let mut digest = Sha256::new();
        for tick in &self.ticks {
            digest.update(tick.id.as_bytes());
            digest.update(b"\n");
        }
        let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let first = self.ticks.first().map_or("", |tick| tick.id.as_str());
        // A header holds it. The digest tells pages apart all the same.
        let is_short = first.len() <= Self::MAX_ID_BYTES && first.bytes().all(|byte| byte.is_ascii_graphic());
        let first = if is_short { first } else { "" };
        format!("{}:{}:{first}+{}:{digest}", self.venue, self.symbol, self.ticks.len())
    }

    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(self.id(), self)
    }

    /// Returns the messages to publish: one, or more where the ids and numbers are so long that a message could not hold all
    /// ticks.
    pub fn into_messages(mut self) -> Vec<OutboundMessage> {
        let message = self.to_message();
        if message.body.len() <= Self::MAX_BYTES || self.ticks.len() < 2 {
            return vec![message];
        }
        let ticks = self.ticks.split_off(self.ticks.len() / 2);
        let rest = Self { ticks, ..self.clone() };
        [self, rest].into_iter().flat_map(Self::into_messages).collect()
    }
}

impl Event for TickPage {
    const TYPE: &'static str = "ticks.v1";
    const SOURCE: &'static str = "/tickbell/price-ingestor";

    fn subject(&self) -> String {
        format!("ticks.{}.{}", self.venue, self.symbol.subject_token())
    }

    fn ce_subject(&self) -> String {
        self.symbol.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.ticks.last().map_or(self.received_at, |last| last.at)
    }
}

/// What all ticks of a page have in common.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PageHead {
    /// The venue that made the prices.
    pub venue: Venue,
    /// The symbol that the prices are of.
    pub symbol: Symbol,
    /// The kind of the prices.
    pub kind: TickKind,
    /// The way by which the prices were received.
    pub source: TickSource,
    /// The time at which the price ingestor received the first of them, by its own clock.
    pub received_at: Timestamp,
}

/// Reads the body of a page, and hands over each of its ticks in order, or why it cannot be read: a bad tick costs itself
/// only. Nothing is allocated for a tick; its id is borrowed from the body.
pub fn read_page(
    body: &[u8],
    mut each: impl FnMut(Result<PageTick<&str>, serde_json::Error>),
) -> Result<PageHead, serde_json::Error> {
    if let Ok(page) = serde_json::from_slice::<TickPage<&str>>(body) {
        let TickPage { venue, symbol, kind, source, received_at, ticks } = page;
        ticks.into_iter().for_each(|tick| each(Ok(tick)));
        return Ok(PageHead { venue, symbol, kind, source, received_at });
    }
    // Some tick is bad, or its id has an escape.
    let head = serde_json::from_slice(body)?;
    let RawTicks { ticks } = serde_json::from_slice(body)?;
    for tick in ticks {
        match serde_json::from_str::<PageTick>(tick.get()) {
            Ok(PageTick { id, at, price, size }) => each(Ok(PageTick { id: &id, at, price, size })),
            Err(error) => each(Err(error)),
        }
    }
    Ok(head)
}

/// Reads the body of a page from its last tick back, until `each` returns something of a tick that can be read. What is before that tick
/// is JSON, and is not looked at.
pub fn read_page_backwards<T>(
    body: &[u8],
    mut each: impl FnMut(PageTick<&str>) -> Option<T>,
) -> Result<(PageHead, Option<T>), serde_json::Error> {
    let LazyPage { venue, symbol, kind, source, received_at, ticks } = serde_json::from_slice(body)?;
    let found = ticks.iter().rev().find_map(|tick| {
        let PageTick { id, at, price, size } = serde_json::from_str::<PageTick>(tick.get()).ok()?;
        each(PageTick { id: &id, at, price, size })
    });
    Ok((PageHead { venue, symbol, kind, source, received_at }, found))
}

/// Returns the body of a page with one tick of another page alone, as it was written; none where there is no such tick.
pub fn page_of_one(body: &[u8], index: usize) -> Option<Vec<u8>> {
    let head: RawHead<'_> = serde_json::from_slice(body).ok()?;
    let RawTicks { ticks } = serde_json::from_slice(body).ok()?;
    let page = RawPage { head, ticks: [ticks.get(index)?] };
    serde_json::to_vec(&page).ok()
}

/// A page whose ticks are as they were written.
#[derive(Deserialize)]
struct LazyPage<'a> {
    venue: Venue,
    symbol: Symbol,
    kind: TickKind,
    source: TickSource,
    received_at: Timestamp,
    #[serde(borrow, deserialize_with = "within_bounds")]
    ticks: Vec<&'a RawValue>,
}

/// Only the ticks of a page, as they were written.
#[derive(Deserialize)]
struct RawTicks<'a> {
    #[serde(borrow, deserialize_with = "within_bounds")]
    ticks: Vec<&'a RawValue>,
}

/// Only the head of a page, as it was written.
#[derive(Serialize, Deserialize)]
struct RawHead<'a> {
    #[serde(borrow)]
    venue: &'a RawValue,
    #[serde(borrow)]
    symbol: &'a RawValue,
    #[serde(borrow)]
    kind: &'a RawValue,
    #[serde(borrow)]
    source: &'a RawValue,
    #[serde(borrow)]
    received_at: &'a RawValue,
}

/// A page as it is written.
#[derive(Serialize)]
struct RawPage<'a> {
    #[serde(flatten)]
    head: RawHead<'a>,
    ticks: [&'a RawValue; 1],
}

fn within_bounds<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let ticks = Vec::deserialize(deserializer)?;
    if (1..=TickPage::MAX_TICKS).contains(&ticks.len()) {
        return Ok(ticks);
    }
    Err(de::Error::custom(format_args!("it has {} ticks; a page has 1 to {}", ticks.len(), TickPage::MAX_TICKS)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        r#""venue":"test","symbol":"BTC-USD","kind":"trade","source":"live","received_at":"2024-08-11T00:00:00Z""#;

    fn page(ids: &[String]) -> TickPage {
        let tick = |id: &String| PageTick {
            id: id.clone(),
            at: Timestamp::from_micros(ids.len() as i64).expect("a time"),
            price: "69017.23".parse().expect("a price"),
            size: id.len().is_multiple_of(2).then(|| "0.0123".parse().expect("a size")),
        };
        TickPage {
            venue: Venue::parse("test").expect("a venue"),
            symbol: Symbol::parse("BRK.B").expect("a symbol"),
            kind: TickKind::Trade,
            source: TickSource::Live,
            received_at: Timestamp::EPOCH,
            ticks: ids.iter().map(tick).collect(),
        }
    }

    fn read(body: &[u8]) -> Result<Vec<Result<PageTick, String>>, String> {
        let mut ticks = Vec::new();
        let each = |tick: Result<PageTick<&str>, serde_json::Error>| {
            ticks.push(match tick {
                Ok(PageTick { id, at, price, size }) => Ok(PageTick { id: id.to_owned(), at, price, size }),
                Err(error) => Err(error.to_string()),
            });
        };
        read_page(body, each).map_err(|error| error.to_string())?;
        Ok(ticks)
    }

    #[test]
    fn a_bad_tick_of_a_page_costs_only_itself() {
        let good = r#"{"id":"1","at":"2024-08-11T00:00:00Z","price":"5","size":null}"#;
        for (bad, reason) in [
            ("7", "invalid type"),
            (r#"{"id":"2","at":"2024-08-11T00:00:00Z"}"#, "missing field `price`"),
            (r#"{"id":"2","at":"yesterday","price":"5"}"#, "must be an RFC 3339 time"),
            (r#"{"id":"2","at":"2024-08-11T00:00:00Z","price":"-5"}"#, "must be"),
            (r#"{"at":"2024-08-11T00:00:00Z","price":"5"}"#, "missing field `id`"),
        ] {
            let body = format!("{{{HEAD},\"ticks\":[{good},{bad},{good}]}}");
            let ticks = read(body.as_bytes()).expect("a page");
            assert!(ticks[0].is_ok() && ticks[2].is_ok() && ticks.len() == 3, "{bad}");
            assert!(ticks[1].as_ref().is_err_and(|error| error.contains(reason)), "{bad}: {ticks:?}");
            let body_of = |ticks: &str| format!("{{{HEAD},\"ticks\":[{ticks}]}}");
            let last = |ticks: &str| {
                read_page_backwards(body_of(ticks).as_bytes(), |tick| Some(tick.id.to_owned())).map(|(_, id)| id)
            };
            assert_eq!(last(&format!("{good},{bad}")).expect("a page"), Some("1".to_owned()), "{bad}");
            assert_eq!(last(bad).expect("a page"), None, "{bad}");
            let alone = String::from_utf8(page_of_one(body.as_bytes(), 1).expect("a page of one")).expect("text");
            assert_eq!(alone, format!("{{{HEAD},\"ticks\":[{bad}]}}"));
            assert_eq!(page_of_one(body.as_bytes(), 3), None);
        }
    }

    #[test]
    fn a_page_without_a_head_or_within_no_bounds_is_none() {
        let tick = r#"{"id":"1","at":"2024-08-11T00:00:00Z","price":"5"}"#;
        let ticks = |count: usize| vec![tick; count].join(",");
        for (body, reason) in [
            (format!("{{{HEAD},\"ticks\":[]}}"), "it has 0 ticks; a page has 1 to 500"),
            (format!("{{{HEAD},\"ticks\":[{}]}}", ticks(501)), "it has 501 ticks; a page has 1 to 500"),
            (format!("{{{HEAD}}}"), "missing field `ticks`"),
            (format!("{{\"venue\":\"test\",\"ticks\":[{tick}]}}"), "missing field `symbol`"),
            (format!("{{{HEAD},\"ticks\":[{tick}"), "EOF"),
            ("7".into(), "invalid type"),
        ] {
            let error = read(body.as_bytes()).expect_err(&body);
            assert!(error.contains(reason), "{error}");
            let error = read_page_backwards(body.as_bytes(), |_| Some(())).expect_err(&body).to_string();
            assert!(error.contains(reason), "{error}");
        }
        let full = format!("{{{HEAD},\"ticks\":[{}]}}", ticks(500));
        assert_eq!(read(full.as_bytes()).map(|ticks| ticks.len()), Ok(500));
    }

    #[test]
    fn the_identity_of_a_page_names_its_first_tick_and_tells_every_other_set_of_ids() {
        let ids = |ids: &[&str]| page(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()).id();
        assert!(ids(&["7", "8"]).starts_with("test:BRK.B:7+2:"), "{}", ids(&["7", "8"]));
        assert_ne!(ids(&["7", "8"]), ids(&["7", "9"]));
        assert_ne!(ids(&["7", "8"]), ids(&["7", "8", "9"]));
        assert_ne!(ids(&["a\r\nb"]), ids(&["a\r\nc"]));
        assert!(ids(&["a\r\nb"]).starts_with("test:BRK.B:+1:"), "a header must hold it");
    }

    #[test]
    fn a_page_that_is_too_large_for_a_message_is_cut_into_several() {
        let ids: Vec<String> = (0..500).map(|n| format!("{n:0>200}")).collect();
        let messages = page(&ids).into_messages();
        assert!(messages.len() > 1 && messages.iter().all(|message| message.body.len() <= TickPage::MAX_BYTES));
        let read = messages.iter().flat_map(|message| read(&message.body).expect("a page"));
        assert!(read.map(|tick| tick.expect("a tick").id).eq(ids));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(ids in prop::collection::vec("\\PC{1,40}|[a-z\"\\\\\n]{1,9}|[0-9]{1,20}", 1..40)) {
            let page = page(&ids);
            let message = page.to_message();
            prop_assert_eq!(serde_json::from_slice::<TickPage>(&message.body).expect("a page"), page.clone());
            let ticks: Vec<PageTick> = read(&message.body).expect("a page").into_iter().map(|tick| tick.expect("a tick")).collect();
            prop_assert_eq!(ticks, page.ticks);
        }
    }
}
