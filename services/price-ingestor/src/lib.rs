//! Publishes prices as ticks, from a simulator, from recordings, or from the coinnews API.
//!
//! A source makes [`events::Tick`]s, and [`publisher`] publishes them. The service stores no position and has no
//! database: the id of a tick is derived from its cause, so that a tick that is read twice is stored once. To recover,
//! a source starts again from its beginning.

mod progress;
mod publisher;
pub mod sources;

use events::Venue;
use market_data::MaxAhead;
use platform::{Broker, Check, ServiceError, Shutdown, settings::SettingsError};
use serde::Deserialize;
use tracing::info;

use publisher::Publisher;
pub use publisher::Summary;
use sources::{RunMode, coinnews, recording, simulator};
pub use sources::{Source, Speed};

/// Section `price_ingestor` of the settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The source of prices: `simulator`, `file:PATH`, `-` for standard input, or `coinnews:URL`.
    pub source: Source,
    /// The speed of a recording: `max`, or a factor of the recorded speed like `60x`.
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
    /// The settings of the source `coinnews:URL`.
    pub coinnews: coinnews::Settings,
}

impl Settings {
    /// Returns the venue that ticks are published under.
    pub fn venue(&self) -> Venue {
        self.venue.clone().unwrap_or_else(|| self.source.venue())
    }

    /// Checks the ranges of all values. The error names the key, the value and the range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.simulator.validate()?;
        self.coinnews.validate()
    }
}

/// Publishes the ticks of the source. Returns when a recording is published and acknowledged, when the one poll or step
/// of `once` is done, or after `shutdown`. A tick whose time is more than `max_ahead` after the clock is refused.
///
/// While the broker is away the source waits. The error is permanent when an operator has to act: a file cannot be
/// read, gives no tick, or ends in the middle of its compressed data (its whole lines are published before). It is transient
/// when the one poll of `once` brought no prices. The caller logs the summary, as the last thing that it does.
pub async fn run(
    broker: Broker,
    check: Check,
    settings: Settings,
    max_ahead: MaxAhead,
    shutdown: Shutdown,
) -> Result<Summary, ServiceError> {
    let venue = settings.venue();
    let mode = if settings.once { RunMode::Once } else { RunMode::Continuous };
    let mut publisher = Publisher::new(broker, venue);
    info!(source = %settings.source, venue = %publisher.venue(), "publishing prices");

    let result = match &settings.source {
        Source::Simulator => {
            check.ready();
            simulator::run(&mut publisher, &settings.simulator, mode, &shutdown).await
        }
        Source::File(_) | Source::StandardInput => {
            check.ready();
            let path = if let Source::File(path) = &settings.source { Some(path.clone()) } else { None };
            let options = settings.file.options();
            let job = recording::Job { path, options, venue: publisher.venue().clone(), max_ahead };
            recording::run(&mut publisher, job, settings.speed, &shutdown).await
        }
        Source::Coinnews(url) => {
            coinnews::run(&mut publisher, &check, url, &settings.coinnews, max_ahead, mode, &shutdown).await
        }
    };

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
    fn the_future_of_run_can_be_spawned() {
        fn spawnable<T: Send>(_: impl FnOnce(Broker, Check, Settings, MaxAhead, Shutdown) -> T) {}
        spawnable(run);
    }
}
