//! Section `coinnews` of the settings.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use market_data::ReplaySpeed;
use platform::settings::{SettingsError, duration};
use serde::Deserialize;
use thiserror::Error;

/// The settings of the sandbox server.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address and port to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The source of prices: `walk` or `file:PATH`.
    pub source: Source,
    /// The seed of the random walks; the same seed gives the same prices on every server and at any time.
    pub seed: u64,
    /// The time from one price of a random walk to the next, like `30s`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// The speed of a replay, as a factor of the recorded speed like `60x`.
    pub speed: ReplaySpeed,
}

/// The source of prices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Source {
    /// A random walk per coin, which is a function of the seed and the time.
    #[default]
    Walk,
    /// A recording: CSV or NDJSON, gzipped or not.
    File(PathBuf),
}

/// The error for a text that is not a source.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{0:?} is not a source of coinnews: use walk, or file:PATH")]
pub struct SourceError(String);

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            source: Source::default(),
            seed: 1,
            interval: Duration::from_secs(30),
            speed: ReplaySpeed::ONE,
        }
    }
}

impl Settings {
    /// Checks the ranges of all values. The error names the key, the value and the range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        duration::require_range("coinnews.interval", self.interval, second, day)
    }
}

impl FromStr for Source {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.split_once(':') {
            None if text == "walk" => Ok(Self::Walk),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(SourceError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;
    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Walk => f.write_str("walk"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use platform::settings::{Sources, load};

    use super::*;

    fn read(flags: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let settings: Settings = load(&Sources { flags, ..Sources::default() })?;
        settings.validate().map(|()| settings)
    }

    #[test]
    fn settings_read_as_text_from_flags_and_the_environment() {
        let given = [
            ("listen", "0.0.0.0:80"),
            ("source", "file:C:/a.csv.gz"),
            ("seed", "7"),
            ("interval", "3m"),
            ("speed", "60x"),
        ];
        let settings = read(&given).expect("settings");
        assert_eq!(settings.source, Source::File("C:/a.csv.gz".into()));
        assert_eq!((settings.source.to_string().as_str(), settings.seed), ("file:C:/a.csv.gz", 7));
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value_and_what_is_allowed() {
        for (key, value, allowed) in [
            ("source", "simulator", "walk, or file:PATH"),
            ("source", "file:", "walk, or file:PATH"),
            ("interval", "10ms", "1s to 1day"),
            ("interval", "soon", "like 500ms"),
            ("speed", "max", "like 60x"),
            ("listen", "nowhere", "socket address"),
        ] {
            let error = read(&[(key, value)]).expect_err(key).to_string();
            let named = error.contains(key) && error.contains(value);
            assert!(named && error.contains(allowed), "{key} = {value}: {error}");
        }
    }
}
