//! Section `gateway` of the settings.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use platform::settings::{SettingsError, one_of, require_range};
use serde::Deserialize;

use crate::live::settings::Settings as StreamSettings;

/// The settings of the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether an address must be confirmed by mail before its alert is active or its user created.
    pub confirmation: Confirmation,
    /// The number of days that a session lasts, 1 to 365.
    pub session_days: u16,
    /// The number of passwords that are hashed at a time, 1 to 64, and at most one per processor; each takes 19 MiB and one
    /// processor. Sixteen times as many requests may wait for that.
    pub passwords_at_once: usize,
    /// Whether the first firing of an alert may place an order.
    pub orders_from_alerts: OrdersFromAlerts,
    /// The number of proxies in front of the gateway, 0 to 10: the client's address is the one that the first of them has
    /// appended to `X-Forwarded-For`. With 0 it is the peer's, whatever the header says.
    pub trusted_proxies: usize,
    /// The origins of the web pages that may call the API, like `https://tickbell.example.com`; `*` allows any.
    pub cors_origins: Vec<String>,
    /// The largest body of a request in bytes, 1024 to 1048576.
    pub max_body_bytes: usize,
    /// The time that a request may take in seconds, 1 to 300.
    pub request_timeout_seconds: u64,
    /// The number of requests that are served at a time, 1 to 100000; more are rejected with status 503. Orders and requests
    /// with a password do not count.
    pub max_in_flight: usize,
    /// The number of orders, cancellations and deposits that are served at a time, 1 to 100000; more are rejected with status
    /// 503. Those that wait for the settler do not count.
    pub max_orders_in_flight: usize,
    /// The number of requests that wait for the settler at a time (`Prefer: wait`), 1 to 100000; more are answered at once.
    pub max_order_waits: usize,
    /// The memory in bytes for pages of candles that have closed, 0 to 4294967296; with 0 each page is read from the database.
    pub candle_memory_bytes: usize,
    /// The time in seconds, 0 to 300, during which the gateway is not ready and still serves requests after it was asked to
    /// stop: as long as a load balancer needs to notice.
    pub lame_duck_seconds: u64,
    /// The time in seconds, 0 to 300, that requests in flight get after that.
    pub drain_seconds: u64,
    /// The settings of live streams.
    pub stream: StreamSettings,
}

/// Whether an address must be confirmed by mail before its alert is active or its user created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Confirmation {
    /// The address is confirmed, because anybody can type the address of somebody else.
    #[default]
    Required,
    /// The address is not confirmed; for a machine of your own.
    Off,
}

impl TryFrom<String> for Confirmation {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("required", Self::Required), ("off", Self::Off)])
    }
}

/// Whether the first firing of an alert may place an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum OrdersFromAlerts {
    /// Alerts place no orders.
    #[default]
    Off,
    /// The alert of a signed-in user may place an order.
    On,
}

impl TryFrom<String> for OrdersFromAlerts {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("off", Self::Off), ("on", Self::On)])
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            confirmation: Confirmation::default(),
            session_days: 30,
            passwords_at_once: 4,
            orders_from_alerts: OrdersFromAlerts::default(),
            trusted_proxies: 0,
            cors_origins: Vec::new(),
            max_body_bytes: 64 * 1024,
            request_timeout_seconds: 10,
            max_in_flight: 512,
            max_orders_in_flight: 128,
            max_order_waits: 1_024,
            candle_memory_bytes: 32 * 1024 * 1024,
            lame_duck_seconds: 0,
            drain_seconds: 5,
            stream: StreamSettings::default(),
        }
    }
}

impl Settings {
    /// Names the first setting that is out of range, its value and what is allowed.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("gateway.session_days", self.session_days, 1, 365)?;
        require_range("gateway.passwords_at_once", self.passwords_at_once, 1, 64)?;
        require_range("gateway.trusted_proxies", self.trusted_proxies, 0, 10)?;
        require_range("gateway.max_body_bytes", self.max_body_bytes, 1_024, 1_048_576)?;
        require_range("gateway.request_timeout_seconds", self.request_timeout_seconds, 1, 300)?;
        require_range("gateway.max_in_flight", self.max_in_flight, 1, 100_000)?;
        require_range("gateway.max_orders_in_flight", self.max_orders_in_flight, 1, 100_000)?;
        require_range("gateway.max_order_waits", self.max_order_waits, 1, 100_000)?;
        require_range("gateway.candle_memory_bytes", self.candle_memory_bytes, 0, 4_294_967_296)?;
        require_range("gateway.lame_duck_seconds", self.lame_duck_seconds, 0, 300)?;
        require_range("gateway.drain_seconds", self.drain_seconds, 0, 300)?;
        self.stream.validate()?;
        match self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            None => Ok(()),
            Some(bad) => Err(SettingsError(format!(
                "gateway.cors_origins holds {bad:?}: allowed is * or an origin without a path, \
                 like https://tickbell.example.com"
            ))),
        }
    }
}

impl Settings {
    /// Returns how long requests are served after the gateway was asked to stop.
    pub fn longest_drain(&self) -> Duration {
        Duration::from_secs(self.lame_duck_seconds + self.drain_seconds)
    }
}

/// `scheme://host[:port]` as browsers send it (RFC 6454 §6.2), or `*`.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        assert!(Settings::default().validate().is_ok());
        let check = |settings: Settings, key: &str| {
            let error = settings.validate().expect_err(key).to_string();
            assert!(error.contains(key), "{error}");
        };
        check(Settings { max_in_flight: 0, ..Settings::default() }, "gateway.max_in_flight = 0");
        check(
            Settings { max_orders_in_flight: 100_001, ..Settings::default() },
            "gateway.max_orders_in_flight = 100001",
        );
        check(Settings { max_order_waits: 0, ..Settings::default() }, "gateway.max_order_waits = 0");
        check(Settings { trusted_proxies: 11, ..Settings::default() }, "gateway.trusted_proxies = 11");
        check(
            Settings { candle_memory_bytes: 4_294_967_297, ..Settings::default() },
            "gateway.candle_memory_bytes = 4294967297",
        );
        check(Settings { max_body_bytes: 1, ..Settings::default() }, "gateway.max_body_bytes = 1");
        for bad in ["example.com", "https://", "https://example.com/", "https://exa mple.com"] {
            check(Settings { cors_origins: vec![bad.into()], ..Settings::default() }, bad);
        }
        assert!(
            Settings { cors_origins: vec!["http://localhost:5173".into()], ..Settings::default() }.validate().is_ok()
        );
    }
}
