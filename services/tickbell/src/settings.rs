//! All settings, and where they come from: `<data-dir>/env`, `tickbell.toml`, `NATS_URL` and `DATABASE_URL`,
//! `TICKBELL_SECTION__KEY`, flags.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use platform::settings::{Pair, SettingsError, Sources, load};
use serde::Deserialize;

use crate::cli::Common;

/// One section for each part of the house.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) nats: platform::broker::Settings,
    pub(crate) database: store::Settings,
    pub(crate) streams: Streams,
    pub(crate) links: platform::signed_links::Settings,
    pub(crate) telemetry: platform::telemetry::Settings,
    pub(crate) admin: Admin,
    pub(crate) price_ingestor: price_ingestor::Settings,
    pub(crate) alert_engine: alert_engine::Settings,
    pub(crate) history: history_writer::Settings,
    pub(crate) trade_settler: trade_settler::Settings,
    pub(crate) notifier: notifier::Settings,
    pub(crate) smtp: notifier::SmtpSettings,
    pub(crate) gateway: gateway::Settings,
    pub(crate) coinnews: coinnews::Settings,
    pub(crate) client: Client,
}

/// The API that `tickbell orders` and `tickbell accounts show` ask.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Client {
    /// Where it is.
    pub(crate) url: String,
    /// An API key, or the token of a session.
    pub(crate) api_key: String,
}

impl Default for Client {
    fn default() -> Self {
        Self { url: "http://127.0.0.1:8080".into(), api_key: String::new() }
    }
}

impl fmt::Debug for Client {
    /// Without the key: settings are shown in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.api_key.is_empty() { "none" } else { "…" };
        f.debug_struct("Client").field("url", &self.url).field("api_key", &key).finish()
    }
}

/// Who makes the streams.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Streams {
    /// Whether services create and update their streams; where a controller owns them, they only verify.
    pub(crate) manage: bool,
}

impl Default for Streams {
    fn default() -> Self {
        Self { manage: true }
    }
}

/// Health and metrics of a service that has no other address.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// Where; port 0 takes a free one and says which.
    pub(crate) listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into() }
    }
}

impl Settings {
    /// Reads everything; `defaults` is what the command takes for granted, `flags` what it was told.
    pub(crate) fn read(common: &Common, mut defaults: Vec<Pair>, mut flags: Vec<Pair>) -> Result<Self, SettingsError> {
        let data_dir = &common.data_dir;
        defaults.extend(written_by_up(&data_dir.join("env")));
        defaults.push(("notifier.outbox_dir", data_dir.join("outbox").display().to_string()));
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let conventional = [("nats.url", "NATS_URL"), ("database.url", "DATABASE_URL")];
        let conventional = conventional.iter().filter_map(|(key, name)| Some((*key, environment(name)?))).collect();
        flags.extend(common.nats_url.clone().map(|url| ("nats.url", url)));
        flags.extend(common.database_url.clone().map(|url| ("database.url", url)));
        flags.extend(common.log.clone().map(|filter| ("telemetry.log", filter)));
        if let Some(file) = common.config.as_deref()
            && !file.is_file()
        {
            return Err(SettingsError(format!("--config {}: there is no such file", file.display())));
        }
        let file = common.config.as_deref().unwrap_or(Path::new("tickbell.toml"));
        let lists = &["gateway.cors_origins"];
        let settings: Self = load(&Sources { defaults, file: Some(file), conventional, flags, lists })?;
        settings.validate()?;
        Ok(settings)
    }

    fn validate(&self) -> Result<(), SettingsError> {
        self.price_ingestor.validate()?;
        self.alert_engine.validate()?;
        self.history.validate()?;
        self.trade_settler.validate()?;
        self.notifier.validate()?;
        self.smtp.validate()?;
        self.gateway.validate()?;
        self.coinnews.validate()
    }
}

/// Where a running `tickbell up` in the same data directory can be reached. An absent file is none.
fn written_by_up(file: &Path) -> Vec<Pair> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.to_owned())
    };
    let names = [
        ("nats.url", "NATS_URL"),
        ("database.url", "DATABASE_URL"),
        ("nats.monitor_url", "NATS_MONITOR_URL"),
        ("client.url", "HTTP_URL"),
    ];
    names.iter().filter_map(|(key, name)| Some((*key, value(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../tickbell.example.toml");

    /// Reads TOML as a settings file is read.
    fn read(text: &str) -> Settings {
        let file = std::env::temp_dir().join(format!("tickbell-example-{}.toml", std::process::id()));
        std::fs::write(&file, text).expect("written");
        let settings = load(&Sources { file: Some(&file), ..Sources::default() });
        std::fs::remove_file(&file).expect("removed");
        settings.expect("settings")
    }

    /// The key of a line like `# batch = 5000`; other comments say something else.
    fn key(line: &str) -> Option<&str> {
        let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(key)
    }

    /// What serde would take in `section`, as it says itself when it is given something else.
    fn fields(section: &str) -> Vec<String> {
        let bogus = format!("{section}no_such_key").leak();
        let flags = vec![(&*bogus, "?".to_owned())];
        let Err(SettingsError(said)) = load::<Settings>(&Sources { flags, ..Sources::default() }) else {
            panic!("{section} takes any key");
        };
        let Some((_, expected)) = said.split_once("unknown field `no_such_key`, expected ") else { return Vec::new() };
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
        let taken: Vec<&str> =
            EXAMPLE.lines().map(|line| if key(line).is_some() { &line[2..] } else { line }).collect();
        let mut settings = read(&taken.join("\n"));
        // Without one a source has its own, which TOML cannot say.
        assert_eq!(settings.price_ingestor.venue.take(), Some(price_ingestor::Source::default().venue()));
        assert_eq!(settings.smtp.url, ""); // It is not in the text below, where a password could be.
        assert_eq!(format!("{settings:#?}"), format!("{:#?}", Settings::default()));
        assert_eq!(format!("{:#?}", read(EXAMPLE)), format!("{:#?}", Settings::default()), "as it stands");
    }
}
