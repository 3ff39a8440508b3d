//! Publishes prices as ticks, from exchanges and their tapes, from a simulator, from recordings, or from the coinnews API.
//!
//! A source makes [`events::Tick`]s, and [`publisher`] publishes them. The id of a tick is derived from its cause, so that a tick
//! that is read twice is stored once. To recover, a source starts again from its beginning. Only exchanges need the database,
//! which has what is followed, how far it was published and what was missed; it is written after the ticks are acknowledged, and
//! ticks are published while it is away.

mod dead_letters;
mod gap_relay;
mod progress;
mod publisher;
pub mod sources;

use events::{Tick, Venue};
use futures::future::try_join_all;
use market_data::MaxAhead;
use platform::{Broker, Check, ServiceError, Shutdown, clock, settings::SettingsError};
use serde::{Deserialize, Deserializer, de};
use store::Store;
use tracing::info;

use publisher::Publisher;
pub use publisher::Summary;
use sources::{
    RunMode, coinnews,
    exchange::{
        self,
        feed::FeedConfig,
        settings::{FollowedSymbols, VenueUrl, VenuesSettings},
        source::Servers,
        venues::{ExchangeName, venue},
    },
    json::{
        self, Calendars, JsonSource, JsonTables,
        config::{JsonConfig, validate_calendars, validate_tables},
    },
    readiness::{Readiness, SourceReadiness},
    recording, simulator,
    tape::{self, TapeOptions},
};
pub use sources::{Source, Speed};

/// Section `price_ingestor` of the settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The source of prices: `simulator`, `file:PATH`, `-` for standard input, `tape:PATH`, `coinnews:URL`, or the name of an
    /// exchange.
    pub source: Source,
    /// Several sources, which take the place of `source`.
    pub sources: Vec<Source>,
    /// The symbols that are followed at the exchanges, like `BTC-USD,ETH-USD`.
    pub symbols: FollowedSymbols,
    /// The addresses of a server that stands in for an exchange.
    #[serde(deserialize_with = "optional_venue_url")]
    pub venue_url: Option<VenueUrl>,
    /// How each exchange is followed.
    pub venues: VenuesSettings,
    /// The speed of a recording or a tape: `max`, or a factor of the recorded speed like `60x`.
    pub speed: Speed,
    /// The venue that ticks are published under; by default the name of the source.
    pub venue: Option<Venue>,
    /// Whether to end after one poll or one step of the simulator, as a CronJob does. A recording ends by itself.
    pub once: bool,
    /// Whether to end only when the history-writer has committed what was published.
    pub wait: bool,
    /// How the source `file:PATH` is read.
    pub file: recording::Settings,
    /// The settings of the source `simulator`.
    pub simulator: simulator::Settings,
    /// The APIs that answer with JSON, by name.
    pub json: JsonTables,
    /// The hours of exchanges, by name, beside those that are known.
    pub calendars: Calendars,
    /// The settings of the source `coinnews:URL`.
    pub coinnews: coinnews::Settings,
}

impl Settings {
    /// Returns the venue that the ticks of the first source are published under.
    pub fn venue(&self) -> Venue {
        self.venue_of(&self.sources()[0])
    }

    /// Returns the sources, of which there is at least one.
    pub fn sources(&self) -> Vec<Source> {
        if self.sources.is_empty() { vec![self.source.clone()] } else { self.sources.clone() }
    }

    /// Returns whether one of the sources is an exchange, whose feeds are rows in the database.
    pub fn needs_database(&self) -> bool {
        self.sources().iter().any(|source| matches!(source, Source::Exchange(_)))
    }

    fn venue_of(&self, source: &Source) -> Venue {
        self.venue.clone().unwrap_or_else(|| source.venue())
    }

    /// Checks the ranges of all values. The error names the key, the value and the range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.simulator.validate()?;
        self.coinnews.validate()?;
        exchange::settings::validate(&self.venues)?;
        validate_calendars(&self.calendars)?;
        validate_tables(&self.json, &self.calendars, self.symbols.as_slice())?;
        let sources = self.sources();
        if self.wait && self.venue.is_none() && sources.iter().any(|source| matches!(source, Source::Tape(_))) {
            return Err(SettingsError(
                "price_ingestor.wait = true counts the ticks of one venue, and a tape may have several: name it, like --venue coinbase"
                    .to_owned(),
            ));
        }
        for (at, source) in sources.iter().enumerate() {
            if sources[..at].iter().any(|other| self.venue_of(other) == self.venue_of(source)) {
                let venue = self.venue_of(source);
                return Err(SettingsError(format!(
                    "price_ingestor.sources has two sources whose ticks have the venue {venue}: name each exchange once, and \
                     leave price_ingestor.venue out where there are several"
                )));
            }
            match source {
                Source::Exchange(name) => drop(self.feed_config(*name, MaxAhead::DEFAULT)?),
                Source::Json(source) => drop(self.json_config(source)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn json_config(&self, source: &JsonSource) -> Result<JsonConfig, SettingsError> {
        JsonConfig::new(source, &self.json, &self.calendars, self.symbols.as_slice())
    }

    /// Returns how exchanges are followed whose messages are recorded.
    pub fn feed_configs(&self, names: &[ExchangeName], max_ahead: MaxAhead) -> Result<Vec<FeedConfig>, SettingsError> {
        names.iter().map(|name| self.feed_config(*name, max_ahead)).collect()
    }

    fn feed_config(&self, name: ExchangeName, max_ahead: MaxAhead) -> Result<FeedConfig, SettingsError> {
        let adapter = venue(name.as_str()).ok_or_else(|| SettingsError(format!("{} is no exchange", name.as_str())))?;
        let shared = exchange::settings::Shared {
            symbols: &self.symbols,
            venue_url: self.venue_url.as_ref(),
            venues: &self.venues,
            max_ahead,
            clock: clock::now,
        };
        exchange::settings::feed_config(adapter, self.venue_of(&Source::Exchange(name)), &shared)
    }
}

/// Reads the addresses of a server; an empty text is none.
fn optional_venue_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<VenueUrl>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(de::Error::custom) }
}

/// Publishes the ticks of all sources. Exchanges need the store. Returns when a recording is published and acknowledged, when the one poll or step
/// of `once` is done, or after `shutdown`. A tick whose time is more than `max_ahead` after the clock is refused.
///
/// While the broker is away the source waits. The error is permanent when an operator has to act: a file cannot be
/// read, gives no tick, or ends in the middle of its compressed data (its whole lines are published before). It is transient
/// when the one poll of `once` brought no prices. The caller logs the summary, as the last thing that it does.
pub async fn run(
    broker: Broker,
    store: Option<Store>,
    check: Check,
    settings: Settings,
    max_ahead: MaxAhead,
    shutdown: Shutdown,
) -> Result<Summary, ServiceError> {
    let sources = settings.sources();
    let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
    let readiness = Readiness::new(check, &names);
    let runs = sources.into_iter().zip(names).map(|(source, name)| {
        let publisher = Publisher::new(broker.clone(), settings.venue_of(&source));
        let servers = store.as_ref().map(|store| Servers { broker: &broker, store });
        run_source(publisher, source, readiness.source(name), servers, &settings, max_ahead, &shutdown)
    });
    // The first failure ends the others, so that the process is started again as a whole.
    let runs = try_join_all(runs);
    let summaries = match &store {
        Some(store) if settings.needs_database() => tokio::select! {
            summaries = runs => summaries?,
            never = gap_relay::run(store, &broker) => match never {},
        },
        _ => runs.await?,
    };
    Ok(summaries.into_iter().reduce(Summary::merge).unwrap_or_default())
}

/// Asks the source of the settings for its prices once, and publishes nothing. Only an API can be asked so. The error is transient when the
/// API gives no price.
pub async fn fetch(settings: &Settings, max_ahead: MaxAhead) -> Result<Vec<Tick>, ServiceError> {
    let cannot = |cause: &str| ServiceError::permanent("ask for prices once", cause.to_owned());
    let [source] = &settings.sources()[..] else { return Err(cannot("name one source")) };
    let venue = settings.venue_of(source);
    match source {
        Source::Coinnews(url) => coinnews::fetch(url, &settings.coinnews, venue, max_ahead).await,
        Source::Json(source) => match settings.json_config(source) {
            Ok(config) => json::fetch(config, venue, max_ahead).await,
            Err(error) => Err(ServiceError::permanent("ask for prices once", error)),
        },
        _ => Err(cannot("only an API can be asked: use coinnews:URL, json:NAME or json:URL")),
    }
}

/// Publishes the ticks of one source.
async fn run_source(
    mut publisher: Publisher,
    source: Source,
    readiness: SourceReadiness,
    servers: Option<Servers<'_>>,
    settings: &Settings,
    max_ahead: MaxAhead,
    shutdown: &Shutdown,
) -> Result<Summary, ServiceError> {
    let mode = if settings.once { RunMode::Once } else { RunMode::Continuous };
    info!(%source, venue = %publisher.venue(), "publishing prices");

    let result = match &source {
        Source::Simulator => {
            readiness.ready();
            simulator::run(&mut publisher, &settings.simulator, mode, shutdown).await
        }
        Source::File(_) | Source::StandardInput => {
            readiness.ready();
            let path = if let Source::File(path) = &source { Some(path.clone()) } else { None };
            let options = settings.file.options();
            let job = recording::Job { path, options, venue: publisher.venue().clone(), max_ahead };
            recording::run(&mut publisher, job, settings.speed, shutdown).await
        }
        Source::Tape(path) => {
            readiness.ready();
            let (path, venue) = (path.clone(), settings.venue.clone());
            let options = TapeOptions { path, exchange: venue.clone(), publish_as: venue, max_ahead };
            tape::run(&mut publisher, options, settings.speed, shutdown).await
        }
        Source::Coinnews(url) => {
            coinnews::run(&mut publisher, &readiness, url, &settings.coinnews, max_ahead, mode, shutdown).await
        }
        Source::Json(source) => match settings.json_config(source) {
            Ok(config) => json::run(&mut publisher, &readiness, config, max_ahead, mode, shutdown).await,
            Err(error) => Err(ServiceError::permanent("poll an API", error)),
        },
        Source::Exchange(name) => match (settings.feed_config(*name, max_ahead), servers) {
            (Ok(config), Some(servers)) => {
                exchange::source::run(&mut publisher, &readiness, config, servers, shutdown).await
            }
            (Ok(_), None) => Err(ServiceError::permanent("follow an exchange", "it needs the database")),
            (Err(error), _) => Err(ServiceError::permanent("follow an exchange", error)),
        },
    };

    publisher.finish().await;
    let summary = publisher.summary();
    match result {
        // After a shutdown nothing is lost: ticks that were not acknowledged have the same ids at the next start.
        Err(ServiceError::Transient(..)) if shutdown.is_cancelled() => Ok(summary),
        Err(error) => {
            let Summary { published, refused, rounded, .. } = summary;
            info!(venue = %publisher.venue(), published, refused, rounded, "the source has failed");
            Err(error)
        }
        Ok(()) => Ok(summary),
    }
}

#[cfg(test)]
mod tests {
    use platform::settings::{self, Sources};

    use super::*;

    fn read(flags: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let settings: Settings = settings::load(&Sources { flags, ..Sources::default() })?;
        settings.validate().map(|()| settings)
    }

    #[test]
    fn settings_read_as_text_from_flags_and_the_environment() {
        let settings = read(&[
            ("source", "coinnews:http://news:8080"),
            ("speed", "0.5x"),
            ("venue", "news"),
            ("once", "true"),
            ("simulator.seed", "7"),
            ("simulator.symbols", "BTC-USD=68000"),
            ("simulator.interval", "1s"),
            ("coinnews.interval", "5m"),
            ("coinnews.history", "never"),
            ("coinnews.symbols.bitcoin", "BTC-EUR"),
            ("file.columns", "time=0,price=4"),
            ("file.symbol", "BTC-USD"),
            ("file.separator", "tab"),
            ("file.no_header", "true"),
        ]);
        let settings = settings.expect("settings");
        assert!(matches!(settings.source, Source::Coinnews(_)) && settings.once && settings.simulator.seed == 7);
        assert_eq!(settings.coinnews.symbols["bitcoin"].as_str(), "BTC-EUR");
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value_and_what_is_allowed() {
        for (key, value, allowed) in [
            ("source", "kafka:x", "file:PATH"),
            ("symbols", "BTC-USD,btc", "must be a symbol like BTC-USD"),
            ("venue_url", "coinbase=ws://127.0.0.1:1", "like coinbase=ws://"),
            ("venues.kraken.rest_per_second", "0", "1 to 100"),
            ("venues.kraken.ws_url", "http://a", "wss://HOST"),
            ("venues.kraken.stale_after", "soon", "like 500ms"),
            ("source", "json:quotes", "needs a table"),
            ("json.quotes.interval", "soon", "like 500ms"),
            ("json.quotes.time_unit", "weeks", "s, ms, us or ns"),
            ("calendars.tokyo.time_zone", "Mars", "America/New_York"),
            ("speed", "60", "like 60x"),
            ("simulator.symbols", "BTC-USD", "BTC-USD=68000"),
            ("simulator.interval", "0s", "1ms to 1h"),
            ("simulator.volatility_bp", "5000", "1 to 1000"),
            ("coinnews.interval", "soon", "like 500ms"),
            ("coinnews.timeout", "1h", "100ms to 5m"),
            ("file.format", "nasdaq", "binance-aggtrades"),
            ("file.columns", "0,1", "time=NAME"),
            ("file.separator", "::", "one character, tab or space"),
            ("file.time_unit", "minutes", "s, ms, us or ns"),
            ("file.time_zone", "CET", "America/New_York"),
            ("file.candles", "open", "use close"),
            ("coinnews.symbols.berkshire", "BRK-B", "a class of share is written BRK.B"),
        ] {
            let error = read(&[(key, value)]).expect_err(key).to_string();
            let named = error.contains(key) && error.contains(value);
            assert!(named && error.contains(allowed), "{key} = {value}: {error}");
        }
    }

    #[test]
    fn a_table_of_an_api_is_checked_also_where_no_source_names_it() {
        for (key, value, said) in [
            // The value may carry a key, and is not repeated.
            ("json.quotes.url", "ftp://user:secret@a", "price_ingestor.json.quotes.url must be an http or https URL"),
            ("json.Quotes.url", "https://a", "price_ingestor.json.Quotes must be a venue like coinbase"),
        ] {
            let error = read(&[(key, value), ("symbols", "BTC-USD")]).expect_err(key).to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
        let by_url = [("json.url.price", "/usd"), ("source", "json:https://a.test/{name}"), ("symbols", "BTC-USD")];
        assert!(read(&by_url).is_ok());
    }

    #[test]
    fn what_is_new_of_a_tape_is_counted_for_one_venue() {
        let tape = [("source", "tape:a"), ("wait", "true")];
        assert!(read(&tape).expect_err("no venue").to_string().contains("--venue coinbase"));
        assert!(read(&[tape[0], tape[1], ("venue", "coinbase")]).is_ok());
    }

    #[test]
    fn the_future_of_run_can_be_spawned() {
        fn spawnable<T: Send>(_: impl FnOnce(Broker, Option<Store>, Check, Settings, MaxAhead, Shutdown) -> T) {}
        spawnable(run);
    }
}
