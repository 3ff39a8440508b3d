//! All settings, one section per part of the program. [`sources`] reads them.

pub(crate) mod sources;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use market_data::MaxAhead;
use platform::settings::{SettingsError, duration};
use serde::Deserialize;

/// The settings of all parts of the program; `tickbell.example.toml` describes each of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) nats: platform::broker::Settings,
    pub(crate) database: store::Settings,
    pub(crate) streams: Streams,
    pub(crate) links: platform::signed_links::Settings,
    pub(crate) telemetry: platform::telemetry::Settings,
    pub(crate) admin: Admin,
    pub(crate) ticks: Ticks,
    pub(crate) price_ingestor: price_ingestor::Settings,
    pub(crate) alert_engine: alert_engine::Settings,
    pub(crate) history: history_writer::Settings,
    pub(crate) archive: archiver::Settings,
    pub(crate) kafka: kafka_bridge::Settings,
    pub(crate) trade_settler: trade_settler::Settings,
    pub(crate) notifier: notifier::Settings,
    pub(crate) smtp: notifier::SmtpSettings,
    pub(crate) gateway: gateway::Settings,
    pub(crate) coinnews: coinnews::Settings,
    pub(crate) client: Client,
}

/// The API that `tickbell orders` and `tickbell accounts show` call.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Client {
    /// The base URL of the API.
    pub(crate) url: String,
    /// An API key, or the token of a session; empty means none.
    pub(crate) api_key: String,
}

impl Default for Client {
    fn default() -> Self {
        Self { url: "http://127.0.0.1:8080".into(), api_key: String::new() }
    }
}

impl fmt::Debug for Client {
    /// Hides the key, because settings may appear in logs and errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.api_key.is_empty() { "none" } else { "…" };
        f.debug_struct("Client").field("url", &self.url).field("api_key", &key).finish()
    }
}

/// The settings of the streams, which say who creates them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Streams {
    /// Whether services create and update the streams; otherwise they only verify them.
    pub(crate) manage: bool,
}

impl Default for Streams {
    fn default() -> Self {
        Self { manage: true }
    }
}

/// The HTTP server for the health and the metrics of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// The address that it listens on; port 0 takes a free port, which the log names.
    pub(crate) listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into() }
    }
}

/// What everybody holds a tick to: the price-ingestor, and those who read the stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ticks {
    /// How far the time of a tick may be ahead, 1 s to 10 min.
    #[serde(deserialize_with = "duration::deserialize")]
    pub(crate) max_ahead: Duration,
}

impl Default for Ticks {
    fn default() -> Self {
        Self { max_ahead: MaxAhead::DEFAULT.duration() }
    }
}

impl Ticks {
    /// Returns an error when a value is out of range.
    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(600));
        duration::require_range("ticks.max_ahead", self.max_ahead, least, most)
    }

    /// Returns the limit that the services apply.
    pub(crate) fn max_ahead(&self) -> MaxAhead {
        MaxAhead::new(self.max_ahead)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use platform::settings::{SettingsError, Sources, load, variables};

    use super::*;

    const EXAMPLE: &str = include_str!("../../../../tickbell.example.toml");

    /// Reads a text the way that a settings file is read.
    fn read(text: &str) -> Settings {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        load(&Sources { file: Some(file.path()), ..Sources::default() }).expect("settings")
    }

    /// Returns the key of a line like `# batch = 5000`, and none for any other comment.
    fn key(line: &str) -> Option<&str> {
        let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(key)
    }

    /// Returns the keys that serde accepts in `section`, which its error about an unknown key lists.
    fn fields(section: &str) -> Vec<String> {
        let bogus = format!("{section}no_such_key").leak();
        let flags = vec![(&*bogus, "?".to_owned())];
        let Err(SettingsError(message)) = load::<Settings>(&Sources { flags, ..Sources::default() }) else {
            panic!("{section} accepts any key");
        };
        let Some((_, expected)) = message.split_once("unknown field `no_such_key`, expected ") else {
            return Vec::new();
        };
        let expected = expected.split(" for key").next().unwrap_or_default();
        expected.split('`').skip(1).step_by(2).map(|name| format!("{section}{name}")).collect()
    }

    fn all_keys(section: &str) -> BTreeSet<String> {
        let within = |key: String| {
            let deeper = all_keys(&format!("{key}."));
            if deeper.is_empty() { BTreeSet::from([key]) } else { deeper }
        };
        fields(section).into_iter().flat_map(within).collect()
    }

    #[test]
    fn how_far_a_tick_may_be_ahead_has_a_range() {
        let error = read("[ticks]\nmax_ahead = \"1h\"").ticks.validate().expect_err("out of range").to_string();
        assert_eq!(error, "ticks.max_ahead = 1h is out of range: allowed is 1s to 10m");
        read("[ticks]\nmax_ahead = \"2s\"").ticks.validate().expect("allowed");
    }

    #[test]
    fn the_example_names_every_setting() {
        let mut section = "";
        let mut named = BTreeSet::new();
        for line in EXAMPLE.lines() {
            if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = header;
            }
            named.extend(key(line).map(|key| format!("{section}.{key}")));
        }
        assert_eq!(named, all_keys(""));
    }

    #[test]
    fn the_example_gives_every_default() {
        let uncommented: Vec<&str> =
            EXAMPLE.lines().map(|line| if key(line).is_some() { &line[2..] } else { line }).collect();
        let mut settings = read(&uncommented.join("\n"));
        // The default depends on the source, which TOML cannot express.
        assert_eq!(settings.price_ingestor.venue.take(), Some(price_ingestor::Source::default().venue()));
        // Its Debug text leaves the URL out, because a password may be in it.
        assert_eq!(settings.smtp.url, "");
        assert_eq!(format!("{settings:#?}"), format!("{:#?}", Settings::default()));
        assert_eq!(
            format!("{:#?}", read(EXAMPLE)),
            format!("{:#?}", Settings::default()),
            "with every setting commented out"
        );
    }

    #[test]
    fn a_shell_with_the_variables_of_compose_has_good_settings() {
        let lines = include_str!("../../../../.env.example").lines();
        let all = lines.filter_map(|line| line.strip_prefix("TICKBELL_")?.split_once('='));
        let all: Vec<_> = all.map(|(name, value)| (format!("TICKBELL_{name}").into(), value.into())).collect();
        assert!(all.len() > 5, "{all:?}");
        let variables = variables(all.into_iter()).expect("settings, and names of ours that are none");
        load::<Settings>(&Sources { variables, ..Sources::default() }).expect("settings");
    }
}
