//! The lines of a tape: JSON, one message of a venue each, with the time at which it was received.
//!
//! `{"at":"2026-11-28T15:00:00.000001Z","venue":"coinbase","received":{…}}`: a message that is one line of JSON stands there as
//! it was received, any other one as text, so that reading gives each byte back. `sent` in place of `received` is a message to
//! the venue, `products` names the symbols of the venue's products, and `lost` counts messages that were not written.
//! Captures of others, in which `at` is a number of seconds and no venue is named, are read as well.

use std::{borrow::Cow, collections::BTreeMap};

use events::{Symbol, Timestamp, Venue};
use market_data::recording::{TimeTextError, TimeUnit, read_time};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// The symbols of a venue's products, by the names of live messages.
pub type ProductSymbols = BTreeMap<String, Symbol>;

/// A line of a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapeLine<'line> {
    /// When it was received; captures of others may not say it.
    pub at: Option<Timestamp>,
    /// The venue; captures of others do not name it.
    pub venue: Option<Venue>,
    /// The message or the note of the line.
    pub content: Content<'line>,
}

/// What a line of a tape says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'line> {
    /// A message of the venue, as it was received.
    Received(Cow<'line, str>),
    /// A message to the venue.
    Sent(Cow<'line, str>),
    /// The products that are followed.
    Products(ProductSymbols),
    /// This many messages were received and could not be written.
    Lost(u64),
}

/// A line that is not one of a tape.
#[derive(Debug, Error)]
pub enum TapeLineError {
    /// The line is no JSON object with the keys of a tape.
    #[error(
        "it is no line of a tape, like {{\"at\":\"2026-11-28T15:00:00Z\",\"venue\":\"coinbase\",\"received\":{{…}}}}"
    )]
    Shape(#[from] serde_json::Error),
    /// The line says nothing.
    #[error("it has none of received, sent, products and lost")]
    Empty,
    /// The time is no time.
    #[error("its at is {0}: {1}")]
    At(String, #[source] TimeTextError),
}

#[derive(Deserialize)]
struct ReadLine<'line> {
    #[serde(borrow, default)]
    at: Option<&'line RawValue>,
    #[serde(default)]
    venue: Option<Venue>,
    #[serde(borrow, default)]
    received: Option<&'line RawValue>,
    #[serde(borrow, default)]
    sent: Option<&'line RawValue>,
    #[serde(default)]
    products: Option<ProductSymbols>,
    #[serde(default)]
    lost: Option<u64>,
}

#[derive(Serialize)]
struct WrittenLine<'line> {
    at: Timestamp,
    venue: &'line Venue,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<WrittenMessage<'line>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<WrittenMessage<'line>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    products: Option<&'line ProductSymbols>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenMessage<'line> {
    Json(&'line RawValue),
    Text(&'line str),
}

impl<'line> TapeLine<'line> {
    /// Reads a line.
    pub fn parse(line: &'line str) -> Result<Self, TapeLineError> {
        let ReadLine { at, venue, received, sent, products, lost } = serde_json::from_str(line)?;
        let content = match (received, sent, products, lost) {
            (Some(message), ..) => Content::Received(message_text(message)?),
            (None, Some(message), ..) => Content::Sent(message_text(message)?),
            (None, None, Some(products), _) => Content::Products(products),
            (None, None, None, Some(lost)) => Content::Lost(lost),
            (None, None, None, None) => return Err(TapeLineError::Empty),
        };
        Ok(Self { at: at.map(parse_at).transpose()?, venue, content })
    }
}

/// Writes a line, without its end.
pub fn write_line(at: Timestamp, venue: &Venue, content: &Content<'_>) -> String {
    let mut line = WrittenLine { at, venue, received: None, sent: None, products: None, lost: None };
    match content {
        Content::Received(text) => line.received = Some(written(text)),
        Content::Sent(text) => line.sent = Some(written(text)),
        Content::Products(products) => line.products = Some(products),
        Content::Lost(count) => line.lost = Some(*count),
    }
    serde_json::to_string(&line).expect("a line has text keys and no failing serializer")
}

fn written(text: &str) -> WrittenMessage<'_> {
    let is_one_line = text.starts_with(['{', '[']) && text.ends_with(['}', ']']) && !text.contains(['\n', '\r']);
    match serde_json::from_str::<&RawValue>(text) {
        Ok(json) if is_one_line => WrittenMessage::Json(json),
        _ => WrittenMessage::Text(text),
    }
}

fn message_text(raw: &RawValue) -> Result<Cow<'_, str>, TapeLineError> {
    let is_text = raw.get().starts_with('"');
    Ok(if is_text { Cow::Owned(serde_json::from_str(raw.get())?) } else { Cow::Borrowed(raw.get()) })
}

/// Reads a time: RFC 3339, or seconds since 1970 as a number.
fn parse_at(raw: &RawValue) -> Result<Timestamp, TapeLineError> {
    let text = raw.get().trim_matches('"');
    let unit = (!raw.get().starts_with('"')).then_some(TimeUnit::Seconds);
    read_time(text, unit).map_err(|error| TapeLineError::At(text.chars().take(40).collect(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_read_as_it_was_received() {
        let (venue, at) = (Venue::parse("okx").expect("a venue"), Timestamp::from_micros(1).expect("a time"));
        for message in [
            r#"{"a": 1.50, "b":"\u00e9"}"#,
            "[]",
            "pong",
            "",
            "\"pong\"",
            "{\"a\":\n1}",
            "{\"a\":1}\r\n",
            " {\"a\":1}",
            "{\"a\":",
            "{}}",
            "null",
            "\u{0}\u{7f}é",
        ] {
            for content in [Content::Received(message.into()), Content::Sent(message.into())] {
                let line = write_line(at, &venue, &content);
                assert!(!line.contains(['\n', '\r']), "{line}");
                let expected = TapeLine { at: Some(at), venue: Some(venue.clone()), content };
                assert_eq!(TapeLine::parse(&line).expect("a line"), expected);
            }
        }
        let products = ProductSymbols::from([("btcusdt".to_owned(), Symbol::parse("BTC-USDT").expect("a symbol"))]);
        for content in [Content::Products(products), Content::Lost(7)] {
            let line = write_line(at, &venue, &content);
            assert_eq!(TapeLine::parse(&line).expect("a line").content, content);
        }
    }

    #[test]
    fn captures_of_others_are_read() {
        let line = TapeLine::parse(r#"{"at":1633998512.0633569,"received":{"a":1}}"#).expect("a line");
        assert_eq!(line.at.expect("a time").micros(), 1_633_998_512_063_356);
        assert_eq!((line.venue, line.content), (None, Content::Received(r#"{"a":1}"#.into())));
        let line = TapeLine::parse(r#"{"received":{"a":1}}"#).expect("a line");
        assert_eq!(line.at, None);
    }

    #[test]
    fn what_is_no_line_of_a_tape_says_why() {
        for (line, said) in [
            ("", "no line of a tape"),
            ("time,price", "no line of a tape"),
            ("[]", "none of received"),
            (r#"{"time":"2026","price":"1"}"#, "none of received"),
            (r#"{"received":null}"#, "none of received"),
            (r#"{"at":"soon","received":{}}"#, "its at is soon"),
            (r#"{"at":1e300,"received":{}}"#, "its at is 1e300"),
            (r#"{"venue":"NYSE!","received":{}}"#, "no line of a tape"),
        ] {
            let error = TapeLine::parse(line).expect_err(line).to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
