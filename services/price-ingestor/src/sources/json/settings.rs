//! Sections `price_ingestor.json.<name>` of the settings: an API of somebody else that answers with JSON, and where in it the
//! price stands.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use events::Venue;
use market_data::{recording::TimeUnit, session_calendar::CalendarText};
use platform::settings::{SettingsError, duration, require_range};
use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

/// Where a source of JSON is: the name of a table of settings, or a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonSource {
    /// The table `price_ingestor.json.<name>`, whose name is also the venue.
    Name(Venue),
    /// This URL, with the settings of the table `price_ingestor.json.url`.
    Url(String),
}

impl JsonSource {
    /// Parses what stands behind `json:`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains("://") {
            return http_url(text).map(|_| Self::Url(text.to_owned()));
        }
        Venue::parse(text).ok().map(Self::Name)
    }

    /// Returns the venue of its ticks.
    pub fn venue(&self) -> Venue {
        match self {
            Self::Name(name) => name.clone(),
            Self::Url(_) => Venue::parse("json").expect("a lower-case word"),
        }
    }
}

impl fmt::Display for JsonSource {
    /// Writes only the host of a URL, which may carry a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "json:{name}"),
            Self::Url(url) => {
                let url = http_url(url);
                write!(f, "json:{}", url.as_ref().and_then(Url::host_str).unwrap_or_default())
            }
        }
    }
}

/// How an API is asked, and where its answer has what. A pointer is a JSON pointer (RFC 6901); an empty one means that the
/// answer does not have the field.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonSettings {
    /// The URL that is asked for. `{name}` stands for the API's name of a symbol, with one request for each; `{names}` for all of them, with
    /// commas between.
    pub url: String,
    /// The symbols and the names that the API gives them, like `BTC-USD=bitcoin,ETH-USD=ethereum`; a symbol without one has its
    /// own name.
    pub symbols: String,
    /// The pointer to the list of prices, where the answer is a list.
    pub items: String,
    /// The pointer in an item of the list to the API's name of the symbol.
    pub item_name: String,
    /// The pointer to the price; `{name}` stands for the API's name.
    pub price: String,
    /// The pointer to the traded size.
    pub size: String,
    /// The pointer to the time of the price; without it, the price is that of the moment.
    pub time: String,
    /// The unit of times since 1970: `s`, `ms`, `us` or `ns`; by default the number of digits tells it.
    #[serde(deserialize_with = "optional")]
    pub time_unit: Option<TimeUnit>,
    /// The pointer to the id of the trade.
    pub id: String,
    /// The time from one round of requests to the next.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// The longest time of one request.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// The most requests in a minute.
    pub requests_per_minute: u32,
    /// The headers whose values are in files, like `x-api-key=/run/secrets/quotes`.
    pub header_files: String,
    /// The exchange whose hours the prices keep, like `nyse`.
    pub calendar: String,
    /// A symbol is stale after this time without a new price while its exchange is open.
    #[serde(deserialize_with = "duration::deserialize")]
    pub stale_after: Duration,
}

impl Default for JsonSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            symbols: String::new(),
            items: String::new(),
            item_name: String::new(),
            price: "/price".to_owned(),
            size: String::new(),
            time: String::new(),
            time_unit: None,
            id: String::new(),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            requests_per_minute: 30,
            header_files: String::new(),
            calendar: String::new(),
            stale_after: Duration::from_secs(300),
        }
    }
}

impl fmt::Debug for JsonSettings {
    /// Leaves the URL out, which may carry a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonSettings")
            .field("symbols", &self.symbols)
            .field("price", &self.price)
            .finish_non_exhaustive()
    }
}

/// Reads text; an empty one is none.
fn optional<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(de::Error::custom) }
}

/// The settings of all APIs, by name.
pub type JsonTables = BTreeMap<String, JsonSettings>;
/// The calendars of the settings, by name.
pub type Calendars = BTreeMap<String, CalendarText>;

impl JsonSettings {
    /// Returns the pointers with the names of their settings.
    pub(super) fn pointers(&self) -> [(&'static str, &str); 6] {
        let Self { items, item_name, price, size, time, id, .. } = self;
        [("items", items), ("item_name", item_name), ("price", price), ("size", size), ("time", time), ("id", id)]
            .map(|(field, pointer)| (field, pointer.as_str()))
    }

    /// Returns an error when a value is out of range; `key` gives the name of a setting.
    pub(super) fn check_ranges(&self, key: &impl Fn(&str) -> String) -> Result<(), SettingsError> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        duration::require_range(&key("interval"), self.interval, second, day)?;
        duration::require_range(&key("timeout"), self.timeout, Duration::from_millis(100), 300 * second)?;
        duration::require_range(&key("stale_after"), self.stale_after, second, 7 * day)?;
        require_range(&key("requests_per_minute"), self.requests_per_minute, 1, 6_000)
    }
}

/// Parses a URL of scheme HTTP or HTTPS.
pub(super) fn http_url(text: &str) -> Option<Url> {
    text.parse().ok().filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
}
