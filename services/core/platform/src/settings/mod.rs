//! Settings from a file, then the environment, then flags. An error names the first bad setting with its value.

pub mod duration;
mod environment;

use std::path::Path;

use config::{Config, ConfigError, File, FileFormat};
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A setting that is missing, misspelt or out of range. The program then exits with status 64.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

pub use environment::{Variable, variable_name, variables};

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
    /// The settings in `TICKBELL_…` variables; they override all of the above.
    pub variables: Vec<Variable>,
    /// The values of flags; they override everything.
    pub flags: Vec<Pair>,
    /// The settings whose environment variable is a list, separated by commas.
    pub lists: &'static [&'static str],
}

/// Reads all sources into one settings value.
pub fn load<T: DeserializeOwned>(sources: &Sources) -> Result<T, SettingsError> {
    let variables: Vec<&Variable> = sources.variables.iter().collect();
    load_with(sources, &variables).map_err(|error| match culprit::<T>(sources, &variables) {
        Some(variable) => SettingsError(format!("the environment variable {}: {error}", variable.name)),
        None => error,
    })
}

fn load_with<T: DeserializeOwned>(sources: &Sources, variables: &[&Variable]) -> Result<T, SettingsError> {
    let mut builder = Config::builder();
    for (key, value) in &sources.defaults {
        builder = builder.set_default(*key, value.as_str()).map_err(explain)?;
    }
    if let Some(file) = sources.file {
        builder = builder.add_source(File::from(file).format(FileFormat::Toml).required(false));
    }
    // Overrides of one builder are stronger than its sources, so what is weaker than a flag is a source of its own.
    let mut overrides = Config::builder();
    for (key, value) in &sources.conventional {
        overrides = overrides.set_override(*key, value.as_str()).map_err(explain)?;
    }
    for Variable { key, value, .. } in variables {
        overrides = if sources.lists.contains(&key.as_str()) {
            overrides.set_override(key, value.split(',').collect::<Vec<_>>())
        } else {
            overrides.set_override(key, value.as_str())
        }
        .map_err(explain)?;
    }
    builder = builder.add_source(overrides.build().map_err(explain)?);
    for (key, value) in &sources.flags {
        builder = builder.set_override(*key, value.as_str()).map_err(explain)?;
    }
    let config = builder.build().map_err(explain)?;
    config.clone().try_deserialize().map_err(|error| explain_value(&config, error))
}

/// Returns the variable that makes good settings bad. The library says which key is wrong, but not where it comes from.
fn culprit<'a, T: DeserializeOwned>(sources: &Sources, variables: &[&'a Variable]) -> Option<&'a Variable> {
    load_with::<T>(sources, &[]).ok()?;
    variables.iter().find(|variable| load_with::<T>(sources, &[**variable]).is_err()).copied()
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
        secret: String,
        hosts: Vec<String>,
    }

    fn read(text: &str, flags: Vec<Pair>) -> Result<Sample, SettingsError> {
        read_with(text, &[], flags)
    }

    fn read_with(text: &str, variables: &[(&str, &str)], flags: Vec<Pair>) -> Result<Sample, SettingsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tickbell.toml");
        std::fs::write(&file, text).expect("written");
        let variables = super::variables(variables.iter().map(|(name, value)| (name.into(), value.into())))?;
        load(&Sources { file: Some(&file), variables, flags, lists: &["http.hosts"], ..Sources::default() })
    }

    #[test]
    fn a_variable_wins_over_the_file_and_loses_to_a_flag() {
        let port = [("TICKBELL_HTTP__PORT", "2"), ("TICKBELL_HTTP__HOSTS", "a,b")];
        let settings = read_with("[http]\nport = 1\nsecret = \"x\"", &port, vec![]).expect("settings");
        assert_eq!((settings.http.port, settings.http.hosts), (2, vec!["a".to_owned(), "b".to_owned()]));
        let settings = read_with("", &port, vec![("http.port", "3".into())]).expect("settings");
        assert_eq!(settings.http.port, 3);
    }

    #[test]
    fn text_in_a_variable_stays_as_it_is() {
        for text in ["0123", "1e5", "TRUE", "1_000", " x "] {
            let settings = read_with("", &[("TICKBELL_HTTP__SECRET", text)], vec![]).expect("settings");
            assert_eq!(settings.http.secret, text);
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        for (name, value, said) in [
            ("TICKBELL_HTTP__PORT", "many", "many"),
            ("TICKBELL_HTTP__PROT", "1", "prot"),
            ("TICKBELL_HTPT__PORT", "1", "htpt"),
            ("TICKBELL_HTTP__PORT__NUMBER", "1", "http.port"),
        ] {
            let good = ("TICKBELL_HTTP__SECRET", "x");
            let error = read_with("", &[good, (name, value)], vec![]).expect_err(name).to_string();
            assert!(error.starts_with(&format!("the environment variable {name}: ")), "{error}");
            assert!(error.contains(said), "{error}");
        }
        let error = read_with("[http]\nprot = 1", &[("TICKBELL_HTTP__PORT", "1")], vec![]).expect_err("no such key");
        assert!(!error.to_string().contains("variable"), "{error}");
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
