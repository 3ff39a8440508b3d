//! Where prices come from and how fast a recording is played, as they are written on the command line.

use std::{fmt, path::PathBuf, str::FromStr};

use events::Venue;
use market_data::ReplaySpeed;
use reqwest::Url;
use serde::Deserialize;
use thiserror::Error;

/// Text that is no source or speed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// None of the sources.
    #[error("{0:?} is no source: use simulator, file:PATH, or coinnews:URL like coinnews:http://localhost:8080")]
    Source(String),
    /// Not a factor.
    #[error("{0:?} is no speed: use max, or a factor from 0.001x to 1000000x like 60x")]
    Speed(String),
}

/// Where prices come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Source {
    /// A seeded random walk.
    #[default]
    Simulator,
    /// A recording: CSV or NDJSON, gzipped or not.
    File(PathBuf),
    /// The coinnews API at this base URL, without `/api/data`.
    Coinnews(Url),
}

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Speed {
    /// As fast as the broker acknowledges.
    #[default]
    Max,
    /// By the ticks' own time.
    Times(ReplaySpeed),
}

impl Source {
    /// The venue that its ticks are published under unless a setting says another.
    pub fn venue(&self) -> Venue {
        let name = match self {
            Self::Simulator => "simulator",
            Self::File(_) => "file",
            Self::Coinnews(_) => "coinnews",
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
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("coinnews", url)) => web(url).map(Self::Coinnews).ok_or_else(error),
            _ => Err(error()),
        }
    }
}

/// Only the web: another scheme would fail at each poll.
fn web(text: &str) -> Option<Url> {
    text.parse().ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https"))
}

impl FromStr for Speed {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        text.parse().map(Self::Times).map_err(|_| SourceError::Speed(text.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulator => f.write_str("simulator"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            // The host alone: a URL may carry a password, and this goes to the log.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_as_they_are_written_on_the_command_line() {
        assert_eq!("simulator".parse(), Ok(Source::Simulator));
        assert_eq!("file:C:/a:b.csv.gz".parse(), Ok(Source::File("C:/a:b.csv.gz".into())));
        let coinnews: Source = "coinnews:http://user:secret@news:8080/v2".parse().expect("a source");
        assert_eq!((coinnews.to_string().as_str(), coinnews.venue().as_str()), ("coinnews:news", "coinnews"));
        for bad in ["", "simulator:", "file:", "file", "coinnews:", "coinnews:ftp://news", "kafka:x"] {
            assert_eq!(bad.parse::<Source>(), Err(SourceError::Source(bad.to_owned())));
        }
    }

    #[test]
    fn a_speed_is_max_or_a_factor() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("1x".parse(), Ok(Speed::Times(ReplaySpeed::ONE)));
        for bad in ["", "60", "0x", "fast"] {
            assert_eq!(bad.parse::<Speed>(), Err(SourceError::Speed(bad.to_owned())));
        }
    }
}
