//! Durations in settings, written with their unit: `500ms`, `3m`.

use std::time::Duration;

use humantime::format_duration;
use serde::{Deserialize, Deserializer, de};

use crate::settings::SettingsError;

/// Parses a duration from text, for `#[serde(deserialize_with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| de::Error::custom(format!("{text:?} must be a duration with its unit, like 500ms, 10s or 3m")))
}

/// Refuses a duration out of its range; the error names the setting as the settings file does.
pub fn require_range(key: &str, value: Duration, least: Duration, most: Duration) -> Result<(), SettingsError> {
    if value >= least && value <= most {
        return Ok(());
    }
    let [value, least, most] = [value, least, most].map(format_duration);
    Err(SettingsError(format!("{key} = {value} is out of range: allowed is {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_out_of_range_is_named_with_what_is_allowed() {
        let second = Duration::from_secs(1);
        assert!(require_range("interval", second, second, second).is_ok());
        let error = require_range("interval", Duration::from_millis(5), second, second * 60).expect_err("too short");
        assert_eq!(error.to_string(), "interval = 5ms is out of range: allowed is 1s to 1m");
    }
}
