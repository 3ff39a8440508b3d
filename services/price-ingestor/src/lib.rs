//! Prices from anywhere, published as ticks: a simulator, recorded files, and the coinnews API.
//!
//! A source makes [`events::Tick`]s; [`publisher`] is the one way out. Nothing here keeps a position: a tick's id is
//! derived from its cause, so whatever is read twice is stored once, and recovery is to begin anew.

pub mod coinnews;
mod file;
mod progress;
mod publisher;
pub mod simulator;
pub mod source;

use events::Venue;
use platform::{Broker, Check, ServiceError, Shutdown, settings::SettingsError};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::info;

use publisher::Publisher;
pub use source::{Source, Speed};

/// Which prices are taken, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `simulator`, `file:PATH` or `coinnews:URL`.
    pub source: Source,
    /// How fast a file is published: `max`, or so many times as fast as it was recorded, like `60x`.
    pub speed: Speed,
    /// The venue that ticks are published under; by default the source's own name.
    pub venue: Option<Venue>,
    /// Polls once, or simulates one round, and ends: for a CronJob. A file ends by itself.
    pub once: bool,
    /// For `simulator`.
    pub simulator: simulator::Settings,
    /// For `coinnews:URL`.
    pub coinnews: coinnews::Settings,
}

impl Settings {
    /// Refuses what no type refuses, with the key, the value and what is allowed.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.simulator.validate()?;
        self.coinnews.validate()
    }
}

/// How long a source that never ends by itself goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounds {
    One,
    Endless,
}

/// What a run has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Ticks that the broker has acknowledged.
    pub published: u64,
    /// Lines of the file that are no tick.
    pub bad_lines: u64,
}

/// Publishes the source's ticks; returns when the file is published and acknowledged, one round was all that was asked
/// for, or `shutdown` is.
///
/// A broker that is away is waited for. Fatal is what somebody has to look at: a file that cannot be read, or ends in
/// the middle of its compressed data (after what could be read is published). Passing is a single poll that brought
/// nothing.
pub async fn run(
    broker: Broker,
    check: Check,
    settings: Settings,
    shutdown: Shutdown,
) -> Result<Summary, ServiceError> {
    let venue = settings.venue.clone().unwrap_or_else(|| settings.source.venue());
    let rounds = if settings.once { Rounds::One } else { Rounds::Endless };
    let began = Instant::now();
    let mut publisher = Publisher::new(broker, venue);
    info!(source = %settings.source, venue = %publisher.venue(), "taking prices");

    let ended = match &settings.source {
        Source::Simulator => {
            check.ready();
            simulator::run(&mut publisher, &settings.simulator, rounds, &shutdown).await
        }
        Source::File(path) => {
            check.ready();
            file::run(&mut publisher, path, settings.speed, &shutdown).await
        }
        Source::Coinnews(url) => {
            coinnews::run(&mut publisher, &check, url, &settings.coinnews, rounds, &shutdown).await
        }
    };

    let summary = publisher.summary();
    let seconds = began.elapsed().as_secs();
    let Summary { published, bad_lines } = summary;
    let why = if shutdown.is_cancelled() { "asked to stop" } else { "no more prices" };
    info!(source = %settings.source, venue = %publisher.venue(), published, bad_lines, seconds, "{why}");
    match ended {
        // Asked to stop: what was not acknowledged has the same ids at the next start.
        Err(ServiceError::Transient(..)) if shutdown.is_cancelled() => Ok(summary),
        Err(fault) => Err(fault),
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
        ] {
            let error = read(&[(key, value)]).expect_err(key).to_string();
            let named = error.contains(key) && error.contains(value);
            assert!(named && error.contains(allowed), "{key} = {value}: {error}");
        }
    }

    #[test]
    fn running_can_be_spawned() {
        fn spawnable<T: Send>(_: impl FnOnce(Broker, Check, Settings, Shutdown) -> T) {}
        spawnable(run);
    }
}
