//! Section `gateway.stream` of the settings.

use std::time::Duration;

use platform::settings::{SettingsError, require_range};
use serde::Deserialize;

/// The settings of live streams.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The number of streams that are open at a time, 1 to 100000; more are rejected with status 503.
    pub max_clients: usize,
    /// The number of streams of one user or, without one, of one network (a /24 of IPv4 or a /64 of IPv6) that are open at a
    /// time, 1 to 100000; more are rejected with status 429.
    pub max_clients_each: usize,
    /// The bytes that may wait for one client, 16384 to 67108864. A client that does not take them in time is cut, and resumes
    /// where it was.
    pub queue_bytes: usize,
    /// The time in seconds, 1 to 300, after which a client is cut that takes nothing.
    pub write_timeout_seconds: u64,
    /// The number of clients that get what they have missed at a time, 1 to 10000; others wait.
    pub replays_at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_clients: 10_000,
            max_clients_each: 200,
            queue_bytes: 1024 * 1024,
            write_timeout_seconds: 10,
            replays_at_once: 32,
        }
    }
}

impl Settings {
    /// Names the first setting that is out of range, its value and what is allowed.
    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        require_range("gateway.stream.max_clients", self.max_clients, 1, 100_000)?;
        require_range("gateway.stream.max_clients_each", self.max_clients_each, 1, 100_000)?;
        require_range("gateway.stream.queue_bytes", self.queue_bytes, 16_384, 67_108_864)?;
        require_range("gateway.stream.write_timeout_seconds", self.write_timeout_seconds, 1, 300)?;
        require_range("gateway.stream.replays_at_once", self.replays_at_once, 1, 10_000)
    }

    /// Returns the time after which a client is cut that takes nothing.
    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_secs(self.write_timeout_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        assert!(Settings::default().validate().is_ok());
        for (settings, key) in [
            (Settings { max_clients: 0, ..Settings::default() }, "gateway.stream.max_clients = 0"),
            (Settings { max_clients_each: 100_001, ..Settings::default() }, "gateway.stream.max_clients_each = 100001"),
            (Settings { queue_bytes: 1, ..Settings::default() }, "gateway.stream.queue_bytes = 1"),
            (
                Settings { write_timeout_seconds: 301, ..Settings::default() },
                "gateway.stream.write_timeout_seconds = 301",
            ),
            (Settings { replays_at_once: 0, ..Settings::default() }, "gateway.stream.replays_at_once = 0"),
        ] {
            let error = settings.validate().expect_err(key).to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
