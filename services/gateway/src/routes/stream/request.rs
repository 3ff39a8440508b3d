//! What a client asks for when it opens a stream: channels, symbols, and from where on.

use std::str::FromStr;

use axum::http::HeaderMap;
use events::Symbol;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    live::{
        channel::{Channel, UnknownChannel},
        cursor::Cursor,
        queue::Conflation,
        subscription::Resume,
    },
    request::{
        headers::LAST_EVENT_ID,
        query::{FromQuery, Query},
    },
};

/// The most channels and the most symbols of one stream.
const MOST_CHANNELS: usize = 16;
const MOST_SYMBOLS: usize = 100;

/// The channels and the symbols that a stream shows.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// The channels, separated by commas: `prices`, which is the default, `candles:INTERVAL`, `gaps`, and with a token or a
    /// ticket `firings`, `orders`, `trades` and `deliveries`.
    #[param(value_type = Option<String>, example = "prices,candles:1m", pattern = "^[a-z0-9:,]+$")]
    pub(crate) channels: Vec<Channel>,
    /// The symbols, separated by commas, at most 100; without it, all.
    #[param(value_type = Option<String>, example = "BTC-USD,ETH-USD", pattern = "^[A-Z0-9.,/_-]+$")]
    pub(crate) symbols: Option<Vec<Symbol>>,
    /// `latest` sends of each market the latest price, at most four times a second, with the number of those before in
    /// `conflated`; `none` sends every price.
    #[param(value_type = Option<String>, default = "latest", example = "none", pattern = "^(latest|none)$")]
    pub(crate) conflate: Conflation,
    /// The id of the last event that was received, or `earliest`; the header `Last-Event-ID` goes before it. `lastEventID` is read
    /// too.
    #[param(value_type = Option<String>, example = "earliest")]
    pub(crate) last_event_id: Option<String>,
    /// The alert whose `manage_token` is in the header `Authorization`: `firings` are those of this alert.
    pub(crate) alert: Option<Uuid>,
    /// A ticket of `POST /v1/stream-tickets`, in place of the header `Authorization`.
    #[param(value_type = Option<String>, max_length = 256)]
    pub(crate) ticket: Option<String>,
}

impl FromQuery for StreamQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let channels = query.optional("channels").map_or_else(|| vec![Channel::Prices], |List(channels)| channels);
        let symbols = query.optional("symbols").map(|Symbols(symbols)| symbols);
        let conflate = query.optional("conflate").unwrap_or(Conflation::Latest);
        let (id, older) = (query.optional("last_event_id"), query.optional("lastEventID"));
        let (alert, ticket) = (query.optional("alert"), query.optional("ticket"));
        Some(Self { channels, symbols, conflate, last_event_id: id.or(older), alert, ticket })
    }
}

impl FromStr for Conflation {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "latest" => Ok(Self::Latest),
            "none" => Ok(Self::Off),
            _ => Err("must be latest or none"),
        }
    }
}

/// Channels, each once.
struct List(Vec<Channel>);

impl FromStr for List {
    type Err = UnknownChannel;
    fn from_str(text: &str) -> Result<Self, UnknownChannel> {
        channels(text.split(',')).map(Self)
    }
}

/// Symbols, each once.
struct Symbols(Vec<Symbol>);

impl FromStr for Symbols {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        symbols(text.split(',')).map(Self)
    }
}

/// Reads channels; one that stands there twice counts once.
pub(crate) fn channels<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<Channel>, UnknownChannel> {
    let mut channels = Vec::new();
    for word in words {
        let channel = word.trim().parse()?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
        if channels.len() > MOST_CHANNELS {
            return Err(UnknownChannel);
        }
    }
    Ok(channels)
}

/// Reads symbols; one that stands there twice counts once.
pub(crate) fn symbols<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Vec<Symbol>, String> {
    let mut symbols = Vec::new();
    for word in words {
        let symbol = Symbol::from_spelling(word.trim()).map_err(|error| error.to_string())?;
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
        if symbols.len() > MOST_SYMBOLS {
            return Err(format!("must name at most {MOST_SYMBOLS} symbols"));
        }
    }
    Ok(symbols)
}

/// Returns the id that a client asks to resume behind; the header goes before the query.
pub(crate) fn asked(headers: &HeaderMap, query: Option<String>) -> Option<String> {
    let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default().to_owned());
    header.or(query).filter(|id| !id.is_empty())
}

/// Reads the id that a client asks to resume behind. One that cannot be read may be of another version: the client begins anew,
/// and is not refused for ever.
pub(crate) fn resume(asked: Option<&str>) -> Resume {
    match asked {
        None => Resume::Now,
        Some("earliest") => Resume::Earliest,
        Some(id) => id.parse::<Cursor>().map_or(Resume::Unknown, Resume::Behind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_header_goes_before_that_of_the_query() {
        let headers: HeaderMap = [(LAST_EVENT_ID, "a".parse().expect("a header"))].into_iter().collect();
        assert_eq!(asked(&headers, Some("b".into())).as_deref(), Some("a"));
        assert_eq!(asked(&HeaderMap::new(), Some("b".into())).as_deref(), Some("b"));
        assert_eq!(asked(&HeaderMap::new(), Some(String::new())), None);
        assert_eq!(resume(Some("earliest")), Resume::Earliest);
        assert_eq!(resume(Some("of another version")), Resume::Unknown);
    }

    #[test]
    fn channels_and_symbols_are_read_once_each() {
        let read = channels(["prices", " gaps", "prices"]).expect("channels");
        assert_eq!(read, [Channel::Prices, Channel::Gaps]);
        let read = symbols(["BTC-USD", "BTC/USD", "SPY"]).expect("symbols");
        assert_eq!(read.iter().map(Symbol::as_str).collect::<Vec<_>>(), ["BTC-USD", "SPY"]);
        assert!(channels(["prices", ""]).is_err() && symbols(["BTC-USD", ""]).is_err());
        let many: Vec<String> = (0..=MOST_SYMBOLS).map(|number| format!("S{number}")).collect();
        assert!(symbols(many.iter().map(String::as_str)).is_err());
    }
}
