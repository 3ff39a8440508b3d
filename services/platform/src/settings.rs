//! Settings from a file, then the environment, then flags; the first bad one is named with its value.

use std::path::Path;

use config::{Config, Environment, File, FileFormat};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A setting that is missing, misspelt or out of range. The program ends with status 64.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

/// Environment variables are `TICKBELL_SECTION__KEY`.
const PREFIX: &str = "TICKBELL";

/// A dotted key and its value.
pub type Pair = (&'static str, String);

/// Where settings come from, the weakest first.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// What this command takes for granted.
    pub defaults: Vec<Pair>,
    /// A TOML file, which may be absent.
    pub file: Option<&'a Path>,
    /// Conventional variables, like `NATS_URL`.
    pub conventional: Vec<Pair>,
    /// Flags; they win over `TICKBELL_…`, which wins over all of the above.
    pub flags: Vec<Pair>,
    /// Keys whose environment variable is a list, separated by commas.
    pub lists: &'static [&'static str],
}

/// Reads all sources into one value.
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
    builder.build().and_then(Config::try_deserialize).map_err(explain)
}

fn environment(lists: &[&str]) -> Environment {
    let environment = Environment::with_prefix(PREFIX).prefix_separator("_").separator("__").ignore_empty(true);
    let environment = environment.try_parsing(true).list_separator(",");
    lists.iter().fold(environment, |environment, key| environment.with_list_parse_key(key))
}

fn explain(error: config::ConfigError) -> SettingsError {
    SettingsError(error.to_string())
}

/// A check that a value is in its range, said in the words of the settings file.
pub fn within<T: PartialOrd + std::fmt::Display>(key: &str, value: T, least: T, most: T) -> Result<(), SettingsError> {
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(SettingsError(format!("{key} = {value} is out of range: allowed is {least} to {most}")))
    }
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
        let error = read("[http]\nprot = 1", vec![]).expect_err("no such key").to_string();
        assert!(error.contains("prot") && error.contains("port"), "{error}");
        assert!(within("batch", 0, 1, 10).is_err());
    }
}
