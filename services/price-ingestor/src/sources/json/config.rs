//! An API as its settings describe it, once they are checked: the requests, and where the answers have what.

use std::{fs, time::Duration};

use events::{KnownQuotes, Symbol, Venue};
use market_data::{SessionCalendar, recording::TimeUnit};
use platform::settings::SettingsError;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::settings::{Calendars, JsonSettings, JsonSource, JsonTables, http_url};

/// The name of the table whose settings `json:URL` has.
const URL_TABLE: &str = "url";
/// What stands for the API's name of a symbol in a URL and in pointers, and for all names in a URL.
pub(super) const NAME: &str = "{name}";
const NAMES: &str = "{names}";
/// The most symbols of one API.
const MAX_SYMBOLS: usize = 1_000;
/// The most bytes of a key.
const MAX_KEY_BYTES: u64 = 8 * 1024;

/// What the fields of an answer are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) items: Option<String>,
    pub(super) item_name: String,
    pub(super) price: String,
    pub(super) size: Option<String>,
    pub(super) time: Option<String>,
    pub(super) time_unit: Option<TimeUnit>,
    pub(super) id: Option<String>,
}

/// A symbol and the API's name of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) symbol: Symbol,
    pub(super) name: String,
}

/// An API that is polled.
#[derive(Debug, Clone)]
pub(crate) struct JsonConfig {
    pub(super) requests: Vec<(Url, Vec<Asked>)>,
    pub(super) fields: Fields,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// The shortest time between two requests.
    pub(super) spacing: Duration,
    pub(super) header_files: Vec<(HeaderName, String)>,
    pub(super) calendar: Option<SessionCalendar>,
    pub(super) stale_after: Duration,
}

impl JsonConfig {
    /// Checks the settings of a source. `symbols` are those that it has where its own table names none.
    pub(crate) fn new(
        source: &JsonSource,
        tables: &JsonTables,
        calendars: &Calendars,
        symbols: &[Symbol],
    ) -> Result<Self, SettingsError> {
        let (name, settings) = match source {
            JsonSource::Name(name) => {
                let missing = || {
                    SettingsError(format!(
                        "price_ingestor.json.{name} is missing: the source json:{name} needs a table with at least url and symbols"
                    ))
                };
                (name.as_str(), tables.get(name.as_str()).cloned().ok_or_else(missing)?)
            }
            JsonSource::Url(url) => {
                let table = tables.get(URL_TABLE).cloned().unwrap_or_default();
                (URL_TABLE, JsonSettings { url: url.clone(), ..table })
            }
        };
        let key = |field: &str| format!("price_ingestor.json.{name}.{field}");
        let error = |field: &str, what: String| SettingsError(format!("{} {what}", key(field)));
        settings.check_ranges(&key)?;
        for (field, pointer) in settings.pointers() {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                return Err(error(field, format!("= {pointer:?} must be a JSON pointer, like /data/price")));
            }
        }
        if settings.items.is_empty() != settings.item_name.is_empty() {
            return Err(error(
                "items",
                "and item_name go together: the list, and the name in each of its items".to_owned(),
            ));
        }
        let asked = asked(&settings.symbols, symbols).map_err(|what| error("symbols", what))?;
        let requests = requests(&settings, &asked).map_err(|what| error("url", what))?;
        let spacing = Duration::from_secs(60) / settings.requests_per_minute;
        if spacing * u32::try_from(requests.len()).unwrap_or(u32::MAX) > settings.interval {
            let (count, rate) = (requests.len(), settings.requests_per_minute);
            return Err(error("interval", format!("is too short: {count} requests at {rate} in a minute take longer")));
        }
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let fields = Fields {
            items: some(&settings.items),
            item_name: settings.item_name.clone(),
            price: settings.price.clone(),
            size: some(&settings.size),
            time: some(&settings.time),
            time_unit: settings.time_unit,
            id: some(&settings.id),
        };
        let header_files = header_files(&settings.header_files).map_err(|what| error("header_files", what))?;
        let calendar = calendar(&settings.calendar, calendars).map_err(|what| error("calendar", what))?;
        let JsonSettings { interval, timeout, stale_after, .. } = settings;
        Ok(Self { requests, fields, interval, timeout, spacing, header_files, calendar, stale_after })
    }

    /// Reads the keys. A file that changes is read at the next start.
    pub(super) fn headers(&self) -> Result<HeaderMap, SettingsError> {
        let read = |(name, path): &(HeaderName, String)| {
            let failed = |what: String| SettingsError(format!("the file {path} of the header {name} {what}"));
            let size = fs::metadata(path).map_err(|error| failed(format!("cannot be read: {error}")))?.len();
            if size > MAX_KEY_BYTES {
                return Err(failed(format!("has {size} bytes: a key has at most {MAX_KEY_BYTES}")));
            }
            let text = fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
            let text = text.trim();
            let mut value = HeaderValue::from_str(text).map_err(|_| failed("has no text of one line".to_owned()))?;
            if text.is_empty() {
                return Err(failed("is empty".to_owned()));
            }
            value.set_sensitive(true);
            Ok((name.clone(), value))
        };
        self.header_files.iter().map(read).collect()
    }
}

/// Checks all tables, also those that no source names. The error names the key.
pub(crate) fn validate_tables(
    tables: &JsonTables,
    calendars: &Calendars,
    symbols: &[Symbol],
) -> Result<(), SettingsError> {
    for (name, table) in tables {
        if name == URL_TABLE && table.url.is_empty() {
            continue;
        }
        let venue = Venue::parse(name);
        let venue = venue.map_err(|error| SettingsError(format!("price_ingestor.json.{name} {error}")))?;
        JsonConfig::new(&JsonSource::Name(venue), tables, calendars, symbols)?;
    }
    Ok(())
}

/// Checks the calendars. The error names the key.
pub(crate) fn validate_calendars(calendars: &Calendars) -> Result<(), SettingsError> {
    calendars.iter().try_for_each(|(name, text)| {
        let named = |error| SettingsError(format!("price_ingestor.calendars.{name}.{error}"));
        SessionCalendar::parse(text).map(drop).map_err(named)
    })
}

fn calendar(name: &str, calendars: &Calendars) -> Result<Option<SessionCalendar>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    let mut known = SessionCalendar::known();
    known.extend(calendars.clone());
    let Some(text) = known.get(name) else {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        return Err(format!(
            "= {name:?} is no calendar: use {}, or add price_ingestor.calendars.{name}",
            names.join(", ")
        ));
    };
    SessionCalendar::parse(text).map(Some).map_err(|error| error.to_string())
}

fn asked(text: &str, symbols: &[Symbol]) -> Result<Vec<Asked>, String> {
    let mut asked: Vec<Asked> = Vec::new();
    let named = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    for item in named {
        let (symbol, name) = item.split_once('=').unwrap_or((item, item));
        let parsed = Symbol::from_input(symbol.trim(), &KnownQuotes::default());
        let symbol = parsed.map_err(|error| format!("has {symbol:?}, which {error}"))?;
        asked.push(Asked { symbol, name: name.trim().to_owned() });
    }
    if asked.is_empty() {
        let own_name = |symbol: &Symbol| Asked { symbol: symbol.clone(), name: symbol.to_string() };
        asked.extend(symbols.iter().map(own_name));
    }
    for (at, Asked { symbol, name }) in asked.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("gives {symbol} no name"));
        }
        if asked[..at].iter().any(|other| other.symbol == *symbol || other.name == *name) {
            return Err(format!("has {symbol} or {name:?} twice"));
        }
    }
    match asked.len() {
        0 => Err("is empty: name the symbols, like BTC-USD=bitcoin,ETH-USD=ethereum".to_owned()),
        1..=MAX_SYMBOLS => Ok(asked),
        count => Err(format!("has {count} symbols: at most {MAX_SYMBOLS} are polled")),
    }
}

fn requests(settings: &JsonSettings, asked: &[Asked]) -> Result<Vec<(Url, Vec<Asked>)>, String> {
    let url = |text: String| {
        http_url(&text).ok_or("must be an http or https URL, like https://api.example.com/{name}".to_owned())
    };
    let encoded = |name: &str| name.bytes().map(percent_encoded).collect::<String>();
    if settings.url.contains(NAME) {
        let request =
            |asked: &Asked| Ok((url(settings.url.replace(NAME, &encoded(&asked.name)))?, vec![asked.clone()]));
        return asked.iter().map(request).collect();
    }
    if asked.len() > 1 && settings.items.is_empty() && !settings.price.contains(NAME) {
        return Err(format!(
            "asks for {} symbols at once, and price says nothing about which is which: write {NAME} into url or price, or name \
             items and item_name",
            asked.len()
        ));
    }
    let names: Vec<String> = asked.iter().map(|asked| encoded(&asked.name)).collect();
    Ok(vec![(url(settings.url.replace(NAMES, &names.join(",")))?, asked.to_vec())])
}

fn percent_encoded(byte: u8) -> String {
    let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

fn header_files(text: &str) -> Result<Vec<(HeaderName, String)>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let header = |item: &str| {
        let (name, path) = item.split_once('=')?;
        Some((name.trim().parse().ok()?, path.trim().to_owned())).filter(|(_, path)| !path.is_empty())
    };
    items
        .map(|item| header(item).ok_or_else(|| format!("has {item:?}: it must be like x-api-key=/run/secrets/quotes")))
        .collect()
}

#[cfg(test)]
mod tests {
    use market_data::session_calendar::CalendarText;

    use super::*;

    fn settings(url: &str, symbols: &str) -> JsonSettings {
        JsonSettings { url: url.to_owned(), symbols: symbols.to_owned(), ..JsonSettings::default() }
    }

    fn config(settings: JsonSettings) -> Result<JsonConfig, String> {
        let tables = JsonTables::from([("quotes".to_owned(), settings)]);
        let source = JsonSource::parse("quotes").expect("a source");
        JsonConfig::new(&source, &tables, &Calendars::new(), &[]).map_err(|error| error.to_string())
    }

    fn urls(config: &JsonConfig) -> Vec<&str> {
        config.requests.iter().map(|(url, _)| url.as_str()).collect()
    }

    #[test]
    fn one_request_asks_for_one_symbol_or_for_all() {
        let each = config(settings("https://a.test/q?s={name}", "AAPL, BRK.B=BRK-B, BTC-USD=a/b&c")).expect("settings");
        assert_eq!(
            urls(&each),
            ["https://a.test/q?s=AAPL", "https://a.test/q?s=BRK-B", "https://a.test/q?s=a%2Fb%26c"]
        );
        let all = JsonSettings {
            price: "/{name}/usd".to_owned(),
            ..settings("https://a.test/?ids={names}", "BTC-USD=bitcoin,ETH-USD=ethereum")
        };
        let all = config(all).expect("settings");
        assert_eq!((urls(&all), all.requests[0].1.len()), (vec!["https://a.test/?ids=bitcoin,ethereum"], 2));
        let source = JsonSource::parse("http://user:secret@a.test/{name}").expect("a source");
        assert_eq!((source.to_string().as_str(), source.venue().as_str()), ("json:a.test", "json"));
        let symbols = [Symbol::parse("SPY").expect("a symbol")];
        let by_url = JsonConfig::new(&source, &JsonTables::new(), &Calendars::new(), &symbols).expect("settings");
        assert_eq!(urls(&by_url), ["http://user:secret@a.test/SPY"]);
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_is_allowed() {
        let good = || settings("https://a.test/{name}", "AAPL");
        for (settings, said) in [
            (settings("ftp://a.test", "AAPL"), "json.quotes.url must be an http or https URL"),
            (settings("https://a.test", ""), "json.quotes.symbols is empty"),
            (settings("https://a.test", "AAPL,MSFT"), "asks for 2 symbols at once"),
            (settings("https://a.test/{name}", "BRK-B"), "BRK.B"),
            (settings("https://a.test/{name}", "AAPL,SPY=AAPL"), "twice"),
            (settings("https://a.test/{name}", "AAPL="), "gives AAPL no name"),
            (
                JsonSettings { price: "price".to_owned(), ..good() },
                "json.quotes.price = \"price\" must be a JSON pointer",
            ),
            (JsonSettings { items: "/data".to_owned(), ..good() }, "go together"),
            (
                JsonSettings { calendar: "nasdaq2".to_owned(), ..good() },
                "use lse, nyse, xetra, or add price_ingestor.calendars.nasdaq2",
            ),
            (JsonSettings { header_files: "x-key".to_owned(), ..good() }, "x-api-key=/run/secrets/quotes"),
            (JsonSettings { header_files: "x key=/a".to_owned(), ..good() }, "x-api-key=/run/secrets/quotes"),
            (
                JsonSettings { interval: Duration::from_millis(1), ..good() },
                "json.quotes.interval = 1ms is out of range",
            ),
            (JsonSettings { requests_per_minute: 0, ..good() }, "allowed is 1 to 6000"),
            (
                JsonSettings { interval: Duration::from_secs(1), requests_per_minute: 6, ..good() },
                "interval is too short",
            ),
            (JsonSettings { stale_after: Duration::ZERO, ..good() }, "stale_after = 0s"),
        ] {
            let error = config(settings).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        let error =
            JsonConfig::new(&JsonSource::parse("other").expect("a source"), &JsonTables::new(), &Calendars::new(), &[]);
        assert!(error.expect_err("no table").to_string().starts_with("price_ingestor.json.other is missing"));
        let calendars = Calendars::from([("tokyo".to_owned(), CalendarText::default())]);
        let error = validate_calendars(&calendars).expect_err("no zone").to_string();
        assert!(error.starts_with("price_ingestor.calendars.tokyo.time_zone = \"\" is no time zone"), "{error}");
    }

    #[test]
    fn a_key_is_read_from_its_file_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let with_key = || {
            let header_files = format!("x-api-key={}", path.display());
            config(JsonSettings { header_files, ..settings("https://a.test/{name}", "AAPL") }).expect("settings")
        };
        assert!(
            with_key().headers().expect_err("no file").to_string().contains("of the header x-api-key cannot be read")
        );
        fs::write(&path, "secret\n").expect("written");
        let headers = with_key().headers().expect("headers");
        assert_eq!(headers["x-api-key"], "secret");
        assert!(!format!("{headers:?}").contains("secret"));
        for bad in ["", "a\nb"] {
            fs::write(&path, bad).expect("written");
            assert!(with_key().headers().is_err(), "{bad:?}");
        }
    }
}
