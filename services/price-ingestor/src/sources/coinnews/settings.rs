//! Section `price_ingestor.coinnews` of the settings.

use std::{collections::BTreeMap, time::Duration};

use events::{KnownQuotes, Symbol};
use platform::settings::{SettingsError, duration, one_of};
use serde::Deserialize;

/// How the coinnews API is polled.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The time from one poll to the next, like `3m`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// The longest time that one request may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// Whether past prices are published.
    pub history: HistoryPolicy,
    /// The symbols of coins that have no known ticker or should have another symbol, like `bitcoin = "BTC-EUR"`.
    pub symbols: BTreeMap<String, Symbol>,
}

/// Whether past prices are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum HistoryPolicy {
    /// At the first poll of a coin by this process.
    FirstPoll,
    /// Never: only current prices are published.
    Never,
}

impl TryFrom<String> for HistoryPolicy {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("first-poll", Self::FirstPoll), ("never", Self::Never)])
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(180),
            timeout: Duration::from_secs(10),
            history: HistoryPolicy::FirstPoll,
            symbols: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Checks the ranges of all values. The error names the key, the value and the range.
    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        duration::require_range("price_ingestor.coinnews.interval", self.interval, second, day)?;
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(300));
        duration::require_range("price_ingestor.coinnews.timeout", self.timeout, shortest, longest)?;
        let mut coins = BTreeMap::new();
        for (coin, symbol) in &self.symbols {
            let key = format!("price_ingestor.coinnews.symbols.{coin}");
            symbol
                .check_quote(&KnownQuotes::default())
                .map_err(|why| SettingsError(format!("{key} = \"{symbol}\" {why}")))?;
            if let Some(other) = coins.insert(symbol, coin) {
                return Err(SettingsError(format!(
                    "price_ingestor.coinnews.symbols gives {symbol} to {other:?} and to {coin:?}: each symbol is one coin's"
                )));
            }
        }
        Ok(())
    }
}
