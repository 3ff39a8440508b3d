//! Settings from a file, then the environment, then flags. An error names the first bad setting with its value.

pub mod duration;

use std::path::Path;

use config::{Config, ConfigError, Environment, File, FileFormat};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A setting that is missing, misspelt or out of range. The program then exits with status 64.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

/// The prefix of environment variables, as in `TICKBELL_SECTION__KEY`.
const PREFIX: &str = "TICKBELL";

/// A dotted setting name and its value.
pub type Pair = (&'static str, String);

/// The sources of settings. A later field overrides an earlier one.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// The defaults of this command.
    pub defaults: Vec<Pair>,
    /// The path of a TOML file, which need not exist.
    pub file: Option<&'a Path>,
    /// The values of conventional environment variables, like `NATS_URL`.
    pub conventional: Vec<Pair>,
    /// The values of flags; they override `TICKBELL_…` variables, which override all of the above.
    pub flags: Vec<Pair>,
    /// The settings whose environment variable is a list, separated by commas.
    pub lists: &'static [&'static str],
}

/// Reads all sources into one settings value.
pub fn load<T: DeserializeOwned>(sources: &Sources) -> Result<T, SettingsError> {
    let mut builder = Config::builder();
    for (key, value) in &sources.defaults {
        builder = builder.set_default(*key, value.as_str()).map_err(explain)?;
    }
    if let Some(file) = sources.file {
        builder = builder.add_source(File::from(file).format(FileFormat::Toml).required(false));
    }
    let mut conventional = Config::builder();
    for (key, value) in &sources.conventional {
        conventional = conventional.set_override(*key, value.as_str()).map_err(explain)?;
    }
    builder = builder.add_source(conventional.build().map_err(explain)?).add_source(environment(sources.lists));
    for (key, value) in &sources.flags {
        builder = builder.set_override(*key, value.as_str()).map_err(explain)?;
    }
    let config = builder.build().map_err(explain)?;
    config.clone().try_deserialize().map_err(|error| explain_value(&config, error))
}

fn environment(lists: &[&str]) -> Environment {
    let environment = Environment::with_prefix(PREFIX).prefix_separator("_").separator("__").ignore_empty(true);
    let environment = environment.try_parsing(true).list_separator(",");
    lists.iter().fold(environment, |environment, key| environment.with_list_parse_key(key))
}

fn explain(error: ConfigError) -> SettingsError {
    SettingsError(error.to_string())
}

/// Adds the value to the error where the library names only the key.
fn explain_value(config: &Config, error: ConfigError) -> SettingsError {
    let message = error.to_string();
    let (ConfigError::At { key: Some(key), .. } | ConfigError::Type { key: Some(key), .. }) = &error else {
        return SettingsError(message);
    };
    match config.get_string(key) {
        Ok(value) if !message.contains(&value) => SettingsError(format!("{key} = {value:?}: {message}")),
        _ => SettingsError(message),
    }
}

/// Refuses a value out of its range; the error names the setting as the settings file does.
pub fn require_range<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), SettingsError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(SettingsError(format!("{key} = {value} is out of range: allowed is {least} to {most}")))
    }
}

/// Parses a setting that allows a few words; the error names all of them. For `#[serde(try_from = "String")]`.
pub fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("{text:?} is none of its values: allowed is {}", allowed.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        http: Http,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Http {
        port: u16,
        listen: Option<std::net::SocketAddr>,
    }

    fn read(text: &str, flags: Vec<Pair>) -> Result<Sample, SettingsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tickbell.toml");
        std::fs::write(&file, text).expect("written");
        load(&Sources { file: Some(&file), flags, ..Sources::default() })
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let settings = read("[http]\nport = 1", vec![("http.port", "2".into())]).expect("settings");
        assert_eq!(settings.http.port, 2);
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value() {
        let error = read("[http]\nport = \"many\"", vec![]).expect_err("no port").to_string();
        assert!(error.contains("http.port") && error.contains("many"), "{error}");
        let error = read("[http]\nlisten = \"nowhere\"", vec![]).expect_err("no address").to_string();
        assert!(error.contains("http.listen") && error.contains("nowhere"), "{error}");
        let error = read("[http]\nprot = 1", vec![]).expect_err("no such key").to_string();
        assert!(error.contains("prot") && error.contains("port"), "{error}");
        assert!(require_range("batch", 0, 1, 10).is_err());
        let error = one_of("maybe", &[("on", true), ("off", false)]).expect_err("neither");
        assert_eq!(error, "\"maybe\" is none of its values: allowed is on or off");
    }
}
