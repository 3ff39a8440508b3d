//! The sources of prices, and how the command line and the settings name them.
//!
//! Each source is a module with a function `run`, which publishes until its prices end or the process is asked to stop.

pub mod coinnews;
pub mod exchange;
pub mod json;
pub(crate) mod readiness;
pub mod recording;
pub mod simulator;
pub mod tape;

use std::{fmt, path::PathBuf, str::FromStr};

use events::{Tick, Venue};
use market_data::ReplaySpeed;
use reqwest::Url;
use serde::Deserialize;
use thiserror::Error;

use exchange::venues::{ExchangeName, VENUES};
use json::JsonSource;

/// The error for a text that is not a source or a speed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// The text names none of the sources.
    #[error(
        "{0:?} is not a source: use simulator, file:PATH, - for standard input, tape:PATH, json:NAME or json:URL, \
         coinnews:URL like coinnews:http://localhost:8080, or an exchange: {names}", names = exchange_names()
    )]
    Source(String),
    /// The text is neither `max` nor a factor.
    #[error("{0:?} is not a speed: use max, or a factor from 0.001x to 1000000x like 60x")]
    Speed(String),
}

/// The source of prices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Source {
    /// A seeded random walk.
    #[default]
    Simulator,
    /// A recording: CSV or NDJSON, gzipped, zipped or neither.
    File(PathBuf),
    /// The same on standard input.
    StandardInput,
    /// A tape of an exchange, or a folder of its files.
    Tape(PathBuf),
    /// The coinnews API at this base URL, without `/api/data`.
    Coinnews(Url),
    /// An API that answers with JSON.
    Json(JsonSource),
    /// The live trades of the exchange with this name.
    Exchange(ExchangeName),
}

/// The speed at which a recording is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Speed {
    /// As fast as the broker acknowledges.
    #[default]
    Max,
    /// Paced by the times of the ticks, at a factor of the recorded speed.
    Paced(ReplaySpeed),
}

/// Whether a source that never ends by itself goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunMode {
    /// End after one poll or one step.
    Once,
    /// Go on until shutdown.
    Continuous,
}

impl Source {
    /// Returns the venue that the ticks of the source are published under, unless the settings name another.
    pub fn venue(&self) -> Venue {
        let name = match self {
            Self::Json(source) => return source.venue(),
            Self::Simulator => "simulator",
            Self::File(_) | Self::StandardInput => "file",
            Self::Tape(_) => "tape",
            Self::Coinnews(_) => "coinnews",
            Self::Exchange(name) => name.as_str(),
        };
        Venue::parse(name).expect("each of the names above is a lower-case word")
    }
}

impl FromStr for Source {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let error = || SourceError::Source(text.to_owned());
        match text.split_once(':') {
            None if text == "simulator" => Ok(Self::Simulator),
            None if text == "-" => Ok(Self::StandardInput),
            None => ExchangeName::parse(text).map(Self::Exchange).ok_or_else(error),
            Some(("file", "-")) => Ok(Self::StandardInput),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("tape", path)) if !path.is_empty() => Ok(Self::Tape(path.into())),
            Some(("coinnews", url)) => http_url(url).map(Self::Coinnews).ok_or_else(error),
            Some(("json", text)) => JsonSource::parse(text).map(Self::Json).ok_or_else(error),
            _ => Err(error()),
        }
    }
}

/// Returns the names of the exchanges, for an error.
fn exchange_names() -> String {
    VENUES.map(|adapter| adapter.profile().venue).join(", ")
}

/// Parses a URL of scheme HTTP or HTTPS. A URL of another scheme would fail at every poll.
fn http_url(text: &str) -> Option<Url> {
    text.parse().ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https"))
}

impl FromStr for Speed {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        text.parse().map(Self::Paced).map_err(|_| SourceError::Speed(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulator => f.write_str("simulator"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::StandardInput => f.write_str("file:-"),
            Self::Tape(path) => write!(f, "tape:{}", path.display()),
            Self::Exchange(name) => f.write_str(name.as_str()),
            Self::Json(source) => source.fmt(f),
            // Only the host: a URL may carry a password, and this text goes to the log.
            Self::Coinnews(url) => write!(f, "coinnews:{}", url.host_str().unwrap_or_default()),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;
    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl TryFrom<String> for Speed {
    type Error = SourceError;
    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

/// Adds the id that is derived from the tick: none is the second of equal ones.
fn with_derived_id(tick: Tick) -> (Tick, String) {
    let id = tick.derived_trade_id();
    (tick, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_parses_from_its_text_and_hides_the_password_of_a_url() {
        assert_eq!("simulator".parse(), Ok(Source::Simulator));
        assert_eq!(["-", "file:-"].map(str::parse), [Ok(Source::StandardInput), Ok(Source::StandardInput)]);
        assert_eq!("file:C:/a:b.csv.gz".parse(), Ok(Source::File("C:/a:b.csv.gz".into())));
        let coinnews: Source = "coinnews:http://user:secret@news:8080/v2".parse().expect("a source");
        assert_eq!((coinnews.to_string().as_str(), coinnews.venue().as_str()), ("coinnews:news", "coinnews"));
        let quotes: Source = "json:quotes".parse().expect("a source");
        assert_eq!((quotes.to_string().as_str(), quotes.venue().as_str()), ("json:quotes", "quotes"));
        let tape: Source = "tape:a/b".parse().expect("a source");
        assert_eq!((tape.to_string().as_str(), tape.venue().as_str()), ("tape:a/b", "tape"));
        let kraken: Source = "kraken".parse().expect("a source");
        assert_eq!((kraken.to_string().as_str(), kraken.venue().as_str()), ("kraken", "kraken"));
        for bad in [
            "",
            "simulator:",
            "file:",
            "file",
            "tape:",
            "tape",
            "json:",
            "json:ftp://a",
            "json:A b",
            "coinnews:",
            "coinnews:ftp://news",
            "kafka:x",
        ] {
            assert_eq!(bad.parse::<Source>(), Err(SourceError::Source(bad.to_owned())));
        }
    }

    #[test]
    fn a_speed_is_max_or_a_factor() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("1x".parse(), Ok(Speed::Paced(ReplaySpeed::ONE)));
        for bad in ["", "60", "0x", "fast"] {
            assert_eq!(bad.parse::<Speed>(), Err(SourceError::Speed(bad.to_owned())));
        }
    }
}
