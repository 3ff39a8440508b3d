//! Sections `price_ingestor.venues.<venue>` of the settings, and what the command line says about all venues.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use events::{Symbol, Timestamp, Venue};
use market_data::MaxAhead;
use platform::settings::{SettingsError, duration, require_range};
use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

use super::{
    adapter::{Adapter, Profile},
    feed::{FeedConfig, Timing},
    venues::{VENUES, venue},
};

/// The most symbols of one venue.
const MAX_SYMBOLS: usize = 10_000;

/// The symbols that are followed, like `BTC-USD,ETH-USD`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowedSymbols(Vec<Symbol>);

impl FollowedSymbols {
    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns them in their order.
    pub(crate) fn as_slice(&self) -> &[Symbol] {
        &self.0
    }
}

impl FromStr for FollowedSymbols {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut symbols = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            // The venue's list says whether there is such a quote.
            let symbol = Symbol::from_spelling(name).map_err(|error| format!("{name:?} {error}"))?;
            if !symbols.contains(&symbol) {
                symbols.push(symbol);
            }
        }
        if symbols.len() > MAX_SYMBOLS {
            return Err(format!("{} symbols are too many: at most {MAX_SYMBOLS} are followed", symbols.len()));
        }
        Ok(Self(symbols))
    }
}

impl<'de> Deserialize<'de> for FollowedSymbols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> de::Visitor<'de> for Names {
            type Value = FollowedSymbols;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("symbols like BTC-USD,ETH-USD")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FollowedSymbols, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<FollowedSymbols, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element::<String>()? {
                    all.push(name);
                }
                self.visit_str(&all.join(","))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// The addresses of one venue on the command line, like `coinbase=ws://127.0.0.1:9001,http://127.0.0.1:9002`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueUrl {
    venue: &'static str,
    ws_url: Url,
    rest_url: Url,
}

impl FromStr for VenueUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} must be like coinbase=ws://127.0.0.1:9001,http://127.0.0.1:9002");
        let (name, urls) = text.split_once('=').ok_or_else(usage)?;
        let (ws, rest) = urls.split_once(',').ok_or_else(usage)?;
        let venue = venue(name).ok_or_else(|| unknown(name))?.profile().venue;
        Ok(Self { venue, ws_url: url(ws, &["ws", "wss"])?, rest_url: url(rest, &["http", "https"])? })
    }
}

impl<'de> Deserialize<'de> for VenueUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How one venue is followed. What is absent is as the venue documents it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VenueSettings {
    /// The symbols of this venue; by default those of `price_ingestor.symbols`.
    pub symbols: FollowedSymbols,
    /// The address of the live messages.
    pub ws_url: Option<String>,
    /// The base address of the REST API.
    pub rest_url: Option<String>,
    /// The most REST requests in a second.
    pub rest_per_second: Option<u32>,
    /// A symbol is stale after this time without a trade, like `5m`.
    #[serde(deserialize_with = "optional_duration")]
    pub stale_after: Option<Duration>,
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

/// The settings of all venues, by name.
pub type VenuesSettings = BTreeMap<String, VenueSettings>;

/// Checks the names and values of venues. The error names the key, the value and what is allowed.
pub(crate) fn validate(venues: &VenuesSettings) -> Result<(), SettingsError> {
    for (name, settings) in venues {
        let key = |field: &str| format!("price_ingestor.venues.{name}.{field}");
        if venue(name).is_none() {
            return Err(SettingsError(format!("price_ingestor.venues.{name}: {}", unknown(name))));
        }
        let named = |field: &str, error: String| SettingsError(format!("{} {error}", key(field)));
        if let Some(text) = &settings.ws_url {
            url(text, &["ws", "wss"]).map_err(|error| named("ws_url", error))?;
        }
        if let Some(text) = &settings.rest_url {
            url(text, &["http", "https"]).map_err(|error| named("rest_url", error))?;
        }
        if let Some(rate) = settings.rest_per_second {
            require_range(&key("rest_per_second"), rate, 1, 100)?;
        }
        if let Some(stale_after) = settings.stale_after {
            let (least, most) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));
            duration::require_range(&key("stale_after"), stale_after, least, most)?;
        }
    }
    Ok(())
}

/// What all feeds of a process have in common.
pub(crate) struct Shared<'settings> {
    pub(crate) symbols: &'settings FollowedSymbols,
    pub(crate) venue_url: Option<&'settings VenueUrl>,
    pub(crate) venues: &'settings VenuesSettings,
    pub(crate) max_ahead: MaxAhead,
    pub(crate) clock: fn() -> Timestamp,
}

/// Returns what the feed of a venue follows, and how.
pub(crate) fn feed_config(
    adapter: &'static dyn Adapter,
    published_under: Venue,
    shared: &Shared<'_>,
) -> Result<FeedConfig, SettingsError> {
    let profile = adapter.profile();
    let default = VenueSettings::default();
    let settings = shared.venues.get(profile.venue).unwrap_or(&default);
    let symbols = if settings.symbols.is_empty() { shared.symbols } else { &settings.symbols };
    let given = shared.venue_url.filter(|given| given.venue == profile.venue);
    let ws_url = match given {
        Some(given) => given.ws_url.clone(),
        None => url(settings.ws_url.as_deref().unwrap_or(profile.ws_url), &["ws", "wss"]).map_err(SettingsError)?,
    };
    let rest_url = match given {
        Some(given) => given.rest_url.clone(),
        None => {
            url(settings.rest_url.as_deref().unwrap_or(profile.rest_url), &["http", "https"]).map_err(SettingsError)?
        }
    };
    Ok(FeedConfig {
        adapter,
        venue: published_under,
        symbols: symbols.0.clone(),
        ws_url,
        rest_url,
        rest_per_second: settings.rest_per_second.unwrap_or(profile.rest_per_second),
        rest_timeout: Duration::from_secs(20),
        stale_after: settings.stale_after.unwrap_or(Duration::from_secs(300)),
        timing: Timing::of(profile),
        max_ahead: shared.max_ahead,
        clock: shared.clock,
    })
}

impl Timing {
    /// Returns the waits that a venue documents.
    pub fn of(profile: &Profile) -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            silence: profile.silence,
            max_age: profile.max_age,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            connects_per_minute: profile.connects_per_minute,
            send_interval: profile.send_interval,
            settle: Duration::from_millis(500),
            useless_answers: Duration::from_secs(3_600),
            incomplete_answers: Duration::from_secs(60),
        }
    }
}

fn url(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let url = text.parse().ok().filter(|url: &Url| schemes.contains(&url.scheme()) && url.host_str().is_some());
    url.ok_or_else(|| format!("{text:?} is no address: use {0}://HOST or {1}://HOST", schemes[1], schemes[0]))
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = VENUES.iter().map(|adapter| adapter.profile().venue).collect();
    format!("{name:?} is no exchange that is known: use {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared<'settings>(
        symbols: &'settings FollowedSymbols,
        venue_url: Option<&'settings VenueUrl>,
        venues: &'settings VenuesSettings,
    ) -> Shared<'settings> {
        Shared { symbols, venue_url, venues, max_ahead: MaxAhead::DEFAULT, clock: || Timestamp::EPOCH }
    }

    #[test]
    fn a_venue_is_followed_as_it_documents_unless_the_settings_say_otherwise() {
        let adapter = venue("kraken").expect("a venue");
        let symbols = "BTC/USD, ETH-USD,BTC-USD".parse().expect("symbols");
        let mut venues = VenuesSettings::new();
        let published_under = Venue::parse("kraken").expect("a venue");
        let config = feed_config(adapter, published_under.clone(), &shared(&symbols, None, &venues)).expect("a feed");
        assert_eq!(config.symbols.iter().map(Symbol::as_str).collect::<Vec<_>>(), ["BTC-USD", "ETH-USD"]);
        assert_eq!((config.ws_url.as_str(), config.rest_per_second), ("wss://ws.kraken.com/v2", 1));

        let own = VenueSettings {
            symbols: "DOGE-USD".parse().expect("a symbol"),
            rest_url: Some("http://127.0.0.1:1".to_owned()),
            ..VenueSettings::default()
        };
        venues.insert("kraken".to_owned(), own);
        let given: VenueUrl = "kraken=ws://127.0.0.1:9001,http://127.0.0.1:9002".parse().expect("addresses");
        let config = feed_config(adapter, published_under.clone(), &shared(&symbols, Some(&given), &venues));
        let config = config.expect("a feed");
        assert_eq!((config.ws_url.port(), config.rest_url.port()), (Some(9001), Some(9002)));
        assert_eq!(config.symbols.len(), 1);
    }

    #[test]
    fn a_bad_address_or_name_is_named_with_what_is_allowed() {
        for (text, said) in [
            ("coinbase", "like coinbase=ws://"),
            ("coinbase=ws://a", "like coinbase=ws://"),
            ("nyse=ws://a,http://a", "coinbase, coinbaseadvanced, binance"),
            ("coinbase=http://a,http://a", "wss://HOST"),
            ("coinbase=ws://a,ftp://a", "https://HOST"),
        ] {
            let error = text.parse::<VenueUrl>().expect_err(text);
            assert!(error.contains(said), "{error}");
        }
        assert!("BTC-USD,btc".parse::<FollowedSymbols>().is_err_and(|error| error.contains("\"btc\" must be")));
        for (name, settings, said) in [
            ("nyse", VenueSettings::default(), "no exchange that is known"),
            ("okx", VenueSettings { ws_url: Some("okx".into()), ..VenueSettings::default() }, "venues.okx.ws_url"),
            ("okx", VenueSettings { rest_per_second: Some(0), ..VenueSettings::default() }, "allowed is 1 to 100"),
            ("okx", VenueSettings { stale_after: Some(Duration::ZERO), ..VenueSettings::default() }, "1s to 7days"),
        ] {
            let error = validate(&VenuesSettings::from([(name.to_owned(), settings)])).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
