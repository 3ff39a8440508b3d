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

/// Reads `file` (which may be absent), then `TICKBELL_…`, then `overrides` (dotted key and value).
pub fn load<T: DeserializeOwned>(file: &Path, overrides: &[(&str, String)]) -> Result<T, SettingsError> {
    let environment = Environment::with_prefix(PREFIX).prefix_separator("_").separator("__").ignore_empty(true);
    let mut builder =
        Config::builder().add_source(File::from(file).format(FileFormat::Toml).required(false)).add_source(environment);
    for (key, value) in overrides {
        builder = builder.set_override(*key, value.as_str()).map_err(explain)?;
    }
    builder.build().and_then(Config::try_deserialize).map_err(explain)
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

    fn read(text: &str, overrides: &[(&str, String)]) -> Result<Sample, SettingsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tickbell.toml");
        std::fs::write(&file, text).expect("written");
        load(&file, overrides)
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let settings = read("[http]\nport = 1", &[("http.port", "2".into())]).expect("settings");
        assert_eq!(settings.http.port, 2);
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value() {
        let error = read("[http]\nport = \"many\"", &[]).expect_err("no port").to_string();
        assert!(error.contains("http.port") && error.contains("many"), "{error}");
        let error = read("[http]\nprot = 1", &[]).expect_err("no such key").to_string();
        assert!(error.contains("prot") && error.contains("port"), "{error}");
        assert!(within("batch", 0, 1, 10).is_err());
    }
}
