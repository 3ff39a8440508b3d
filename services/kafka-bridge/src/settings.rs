//! Section `kafka` of the settings.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use platform::settings::{SettingsError, duration, one_of, require_range};
use serde::Deserialize;

/// The settings of the Kafka bridge.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The brokers to begin with, like `one:9092,two:9092`; empty means that there is no Kafka.
    pub brokers: String,
    /// The beginning of the names of all topics, of letters, digits, dots, dashes and underscores, at most 100.
    pub topic_prefix: String,
    /// Whether a tick is a record of its own, or a page of them.
    pub ticks: TickShape,
    /// Whether the connection is encrypted, and whether the bridge says who it is.
    pub security: Security,
    /// How the bridge proves who it is.
    pub mechanism: Mechanism,
    /// The user of `sasl-tls`.
    pub username: String,
    /// The file with the password of `sasl-tls`; a line feed at its end is no part of it.
    pub password_file: PathBuf,
    /// The file with the certificate authority of the brokers; empty means those of the operating system.
    pub ca: PathBuf,
    /// The number of records after which a transaction takes no further message, 1 to 100000.
    pub transaction_records: usize,
    /// The time after which Kafka aborts a transaction whose bridge is gone, 10 s to 15 min.
    #[serde(deserialize_with = "duration::deserialize")]
    pub transaction_timeout: Duration,
}

/// The records that ticks become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum TickShape {
    /// Each tick is a record.
    #[default]
    Tick,
    /// Each page is a record, as it is in the stream.
    Page,
}

/// The security of the connections to Kafka.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Security {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// Encrypted, and the broker is authenticated.
    Tls,
    /// Encrypted, and both sides are authenticated.
    SaslTls,
}

/// The mechanism of `sasl-tls`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Mechanism {
    /// SCRAM with SHA-512 (RFC 5802).
    #[default]
    ScramSha512,
    /// SCRAM with SHA-256 (RFC 7677).
    ScramSha256,
    /// The password itself, within TLS.
    Plain,
}

impl Security {
    /// Returns the word of the setting.
    fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls => "tls",
            Self::SaslTls => "sasl-tls",
        }
    }
}

impl TryFrom<String> for TickShape {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("tick", Self::Tick), ("page", Self::Page)])
    }
}

impl TryFrom<String> for Security {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[Self::Plaintext, Self::Tls, Self::SaslTls].map(|security| (security.as_str(), security)))
    }
}

impl TryFrom<String> for Mechanism {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let words =
            [("scram-sha-512", Self::ScramSha512), ("scram-sha-256", Self::ScramSha256), ("plain", Self::Plain)];
        one_of(&text, &words)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            topic_prefix: "tickbell.".into(),
            ticks: TickShape::default(),
            security: Security::default(),
            mechanism: Mechanism::default(),
            username: String::new(),
            password_file: PathBuf::new(),
            ca: PathBuf::new(),
            transaction_records: 5_000,
            transaction_timeout: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// Returns an error when a value is out of range, and when a part of an identity is missing or would not be used.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let (least, most) = (Duration::from_secs(10), Duration::from_secs(900));
        require_range("kafka.transaction_records", self.transaction_records, 1, 100_000)?;
        duration::require_range("kafka.transaction_timeout", self.transaction_timeout, least, most)?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.topic_prefix.len() > 100 || !self.topic_prefix.bytes().all(is_allowed) {
            let error = "allowed are up to 100 letters, digits, dots, dashes and underscores";
            return Err(SettingsError(format!("kafka.topic_prefix = {:?}: {error}", self.topic_prefix)));
        }
        let is_authenticated = self.security == Security::SaslTls;
        if is_authenticated && self.username.is_empty() {
            return Err(SettingsError("kafka.username is empty: kafka.security = \"sasl-tls\" needs it".into()));
        }
        if is_authenticated && self.password_file.as_os_str().is_empty() {
            let error = "kafka.password_file is empty: kafka.security = \"sasl-tls\" needs the file with the password";
            return Err(SettingsError(error.into()));
        }
        self.require_used()
    }

    /// Refuses what the connection would not use: whoever has set it believes that it does.
    fn require_used(&self) -> Result<(), SettingsError> {
        let Self { security, username, password_file, ca, .. } = self;
        let is_set = |path: &Path| !path.as_os_str().is_empty();
        let (seen, allowed) = if *security != Security::SaslTls && !username.is_empty() {
            (format!("kafka.username = {username:?}"), "\"sasl-tls\"")
        } else if *security != Security::SaslTls && is_set(password_file) {
            (format!("kafka.password_file = {password_file:?}"), "\"sasl-tls\"")
        } else if *security == Security::Plaintext && is_set(ca) {
            (format!("kafka.ca = {ca:?}"), "\"tls\" or \"sasl-tls\"")
        } else {
            return Ok(());
        };
        let security = security.as_str();
        let error =
            format!("{seen} is not used with kafka.security = \"{security}\": it is allowed with {allowed} only");
        Err(SettingsError(error))
    }

    /// Returns an error where there is no Kafka.
    pub fn require(&self) -> Result<(), SettingsError> {
        if self.brokers.is_empty() {
            return Err(SettingsError("kafka.brokers is empty: name a broker, like kafka.example.com:9092".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_not_allowed_is_named() {
        let good = Settings::default();
        assert!(good.validate().is_ok() && good.require().is_err());
        let secure = Settings { security: Security::SaslTls, ..good.clone() };
        for (settings, key) in [
            (Settings { transaction_records: 0, ..good.clone() }, "kafka.transaction_records"),
            (Settings { transaction_timeout: Duration::from_secs(9), ..good.clone() }, "kafka.transaction_timeout"),
            (Settings { topic_prefix: "a/".into(), ..good.clone() }, "kafka.topic_prefix"),
            (Settings { topic_prefix: "a".repeat(101), ..good }, "kafka.topic_prefix"),
            (secure.clone(), "kafka.username"),
            (Settings { username: "bridge".into(), ..secure }, "kafka.password_file"),
        ] {
            assert!(settings.validate().is_err_and(|error| error.to_string().starts_with(key)), "{key}");
        }
    }

    #[test]
    fn what_the_connection_would_not_use_is_refused() {
        let (username, password_file, ca) = ("bridge".to_owned(), PathBuf::from("/password"), PathBuf::from("/ca.pem"));
        let whole = Settings { username, password_file, ca, ..Settings::default() };
        let error = |settings: Settings| settings.validate().map_err(|error| error.to_string());
        let with = |security| Settings { security, ..whole.clone() };
        let nobody = |security| Settings { username: String::new(), password_file: PathBuf::new(), ..with(security) };
        for (settings, expected) in [
            (
                with(Security::Plaintext),
                "kafka.username = \"bridge\" is not used with kafka.security = \"plaintext\": it is allowed with \"sasl-tls\" only",
            ),
            (
                with(Security::Tls),
                "kafka.username = \"bridge\" is not used with kafka.security = \"tls\": it is allowed with \"sasl-tls\" only",
            ),
            (
                Settings { username: String::new(), ..with(Security::Tls) },
                "kafka.password_file = \"/password\" is not used with kafka.security = \"tls\": it is allowed with \"sasl-tls\" only",
            ),
            (
                nobody(Security::Plaintext),
                "kafka.ca = \"/ca.pem\" is not used with kafka.security = \"plaintext\": it is allowed with \"tls\" or \"sasl-tls\" only",
            ),
        ] {
            assert_eq!(error(settings), Err(expected.to_owned()));
        }
        assert_eq!([error(with(Security::SaslTls)), error(nobody(Security::Tls))], [Ok(()), Ok(())]);
    }

    #[test]
    fn a_word_that_is_none_is_refused_with_those_that_are() {
        let error = Security::try_from("ssl".to_owned()).expect_err("no such word");
        assert_eq!(error, "\"ssl\" is none of its values: allowed is plaintext or tls or sasl-tls");
        assert_eq!(TickShape::try_from("page".to_owned()), Ok(TickShape::Page));
        assert_eq!(Mechanism::try_from("plain".to_owned()), Ok(Mechanism::Plain));
    }
}
