//! Section `archive` of the settings.

use std::time::Duration;

use object_archive::target;
use platform::settings::{SettingsError, duration};
use serde::Deserialize;

/// The settings of the archive: where it is, and when the archiver writes to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A folder, or a bucket and a prefix in it, like `s3://bucket/prefix`; empty means that there is no archive. Credentials are those
    /// of the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`) or of the role of the machine.
    pub url: String,
    /// The address of a server that speaks S3, like `https://s3.example.com`; empty means that of AWS.
    pub endpoint: String,
    /// The region of the bucket, like `eu-central-1`; empty means that of the environment.
    pub region: String,
    /// How long after its end a day is written, 1 min to 7 d. What comes later makes a further part.
    #[serde(deserialize_with = "duration::deserialize")]
    pub write_after: Duration,
    /// The time between two looks for what is missing in the archive, 10 s to 1 d.
    #[serde(deserialize_with = "duration::deserialize")]
    pub every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: String::new(),
            endpoint: String::new(),
            region: String::new(),
            write_after: Duration::from_secs(3_600),
            every: Duration::from_secs(600),
        }
    }
}

impl Settings {
    /// Returns an error when a value is out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let day = Duration::from_secs(86_400);
        duration::require_range("archive.write_after", self.write_after, Duration::from_secs(60), 7 * day)?;
        duration::require_range("archive.every", self.every, Duration::from_secs(10), day)
    }

    /// Returns where the archive is.
    pub fn target(&self) -> target::Settings {
        target::Settings { url: self.url.clone(), endpoint: self.endpoint.clone(), region: self.region.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        assert!(Settings::default().validate().is_ok());
        let late = Settings { write_after: Duration::from_secs(8 * 86_400), ..Settings::default() };
        let often = Settings { every: Duration::from_secs(9), ..Settings::default() };
        for (settings, key) in [(late, "archive.write_after"), (often, "archive.every")] {
            assert!(settings.validate().is_err_and(|error| error.to_string().starts_with(key)), "{key}");
        }
    }
}
