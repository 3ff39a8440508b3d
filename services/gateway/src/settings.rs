//! Section `gateway` of the settings.

use std::net::{Ipv4Addr, SocketAddr};

use platform::settings::{SettingsError, one_of, require_range};
use serde::Deserialize;

/// How the API is served, and its bounds.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether an address must say yes by mail before its rule is active or its account made.
    pub confirmation: Confirmation,
    /// How many days a session lasts, 1 to 365.
    pub session_days: u16,
    /// How many passwords are hashed at a time, 1 to 64; each takes 19 MiB and a processor.
    pub passwords_at_once: usize,
    /// Whether the first firing of an alert may place an order.
    pub orders_from_alerts: OrdersFromAlerts,
    /// How many proxies stand before it, 0 to 10: the client's address is the one that the first of them has added to
    /// `X-Forwarded-For`. With 0 it is the peer's, whatever the header says.
    pub trusted_proxies: usize,
    /// Which web pages may call the API, like `https://tickbell.example.com`; `*` is any, none is none.
    pub cors_origins: Vec<String>,
    /// The largest body that is read, 1024 to 1048576.
    pub max_body_bytes: usize,
    /// How long a request may take, 1 to 300.
    pub request_timeout_seconds: u64,
    /// How many requests are answered at a time, 1 to 100000; more are told to come back.
    pub max_in_flight: usize,
    /// How long it is not ready and still answers after shutdown is asked for, 0 to 300: as long as a load balancer
    /// needs to learn of it.
    pub lame_duck_seconds: u64,
    /// How long requests in flight may go on after that, 0 to 300.
    pub drain_seconds: u64,
}

/// Whether an address must say yes by mail before its rule is active or its account made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Confirmation {
    /// Anybody may type anybody's address, so it is asked.
    #[default]
    Required,
    /// For one's own machine.
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
    /// Nobody trades without having asked for it right then.
    #[default]
    Off,
    /// Whoever is signed in may ask for it beforehand.
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
            lame_duck_seconds: 0,
            drain_seconds: 5,
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
        require_range("gateway.lame_duck_seconds", self.lame_duck_seconds, 0, 300)?;
        require_range("gateway.drain_seconds", self.drain_seconds, 0, 300)?;
        match self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            None => Ok(()),
            Some(bad) => Err(SettingsError(format!(
                "gateway.cors_origins holds {bad:?}: allowed is * or an origin without a path, \
                 like https://tickbell.example.com"
            ))),
        }
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
        check(Settings { trusted_proxies: 11, ..Settings::default() }, "gateway.trusted_proxies = 11");
        check(Settings { max_body_bytes: 1, ..Settings::default() }, "gateway.max_body_bytes = 1");
        for bad in ["example.com", "https://", "https://example.com/", "https://exa mple.com"] {
            check(Settings { cors_origins: vec![bad.into()], ..Settings::default() }, bad);
        }
        assert!(
            Settings { cors_origins: vec!["http://localhost:5173".into()], ..Settings::default() }.validate().is_ok()
        );
    }
}
