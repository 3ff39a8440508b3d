//! Alerts in, mails out: each alert becomes one delivery per target, tried until it is taken or can never be. So does what
//! happens to an account and to its orders.
//!
//! [`letter`] says what is written, in the words of [`events::display`]; [`retry`] says what follows from how an attempt ended;
//! `telling` says who is told because of an event, `reader` makes deliveries of that, `sender` claims and attempts them, `recorder`
//! records how that ended, `mailer` is the door to SMTP and to files.

pub mod letter;
mod mailer;
mod message;
mod reader;
mod recorder;
pub mod retry;
mod sender;
mod smtp;
mod telling;

use std::path::PathBuf;

use lettre::message::Mailbox;
use platform::{
    Broker, Health, ServiceError, Shutdown,
    settings::{SettingsError, require_range},
    signed_links::Links,
    supervise,
};
use serde::Deserialize;
use store::Store;
use tokio::sync::Notify;

use crate::{mailer::Mailer, sender::Sender, smtp::Server};

/// Folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "notifier";
/// The sender's name among the health checks and in the log.
const SENDER: &str = "notifier-sender";

/// How deliveries are made.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where mails are written as `.eml` files while `smtp.url` is empty.
    pub outbox_dir: PathBuf,
    /// How many deliveries this process attempts at the same time, 1 to 100.
    pub concurrency: u16,
    /// How long after an alert passing faults are retried, 1 to 168 hours.
    pub retry_for_hours: u32,
    /// How long the wait after a first attempt is, doubled after each further one up to an hour, 1 to 3600.
    pub retry_after_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { outbox_dir: ".tickbell/outbox".into(), concurrency: 8, retry_for_hours: 24, retry_after_seconds: 30 }
    }
}

impl Settings {
    /// Refuses values out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("notifier.concurrency", self.concurrency, 1, 100)?;
        require_range("notifier.retry_for_hours", self.retry_for_hours, 1, 168)?;
        require_range("notifier.retry_after_seconds", self.retry_after_seconds, 1, 3_600)?;
        if self.outbox_dir.as_os_str().is_empty() {
            return Err(SettingsError("notifier.outbox_dir = \"\" is no folder: give one for .eml files".into()));
        }
        Ok(())
    }
}

/// The mail server, and whom mails are from.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpSettings {
    /// `smtps://user:password@host:465`, `smtp://user:password@host:587?tls=required`, or without TLS
    /// `smtp://127.0.0.1:25`; empty means that mails are written as files.
    pub url: String,
    /// A mailbox like `Tickbell <alerts@example.com>`; its domain is that of every Message-ID.
    pub from: String,
    /// How long one attempt may take from connecting to the server's last word, 1 to 600 seconds.
    pub timeout_seconds: u64,
}

impl Default for SmtpSettings {
    fn default() -> Self {
        Self { url: String::new(), from: "Tickbell <tickbell@localhost>".into(), timeout_seconds: 30 }
    }
}

impl std::fmt::Debug for SmtpSettings {
    /// Without the URL: it holds the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url: _, from, timeout_seconds } = self;
        f.debug_struct("SmtpSettings")
            .field("from", from)
            .field("timeout_seconds", timeout_seconds)
            .finish_non_exhaustive()
    }
}

impl SmtpSettings {
    /// Refuses a URL or a mailbox that is none, and a time-out out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("smtp.timeout_seconds", self.timeout_seconds, 1, 600)?;
        self.mailbox()?;
        self.server().map(|_| ())
    }

    fn mailbox(&self) -> Result<Mailbox, SettingsError> {
        self.from.parse().map_err(|error| {
            SettingsError(format!(
                "smtp.from = {:?} is no mailbox ({error}): give one like \"Tickbell <alerts@example.com>\"",
                self.from
            ))
        })
    }

    /// Where to send, or none when mails are written as files.
    fn server(&self) -> Result<Option<Server>, SettingsError> {
        if self.url.is_empty() {
            return Ok(None);
        }
        Server::parse(&self.url).map(Some).map_err(|error| SettingsError(format!("smtp.url {error}")))
    }
}

/// Delivers until shutdown, and then what is in flight. One instance reads the alerts; all of them send.
pub async fn run(
    broker: Broker,
    store: Store,
    links: Links,
    health: &Health,
    settings: Settings,
    smtp: SmtpSettings,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let wrong = |error| ServiceError::permanent("settings", error);
    settings.validate().and_then(|()| smtp.validate()).map_err(wrong)?;
    let mailer = Mailer::new(&settings, &smtp).map_err(wrong)?;
    let from = smtp.mailbox().map_err(wrong)?;

    let (reading, sending) = (health.check(SERVICE), health.check(SENDER));
    store::consumer::dead_letters::register_metrics(SERVICE);
    sender::register_metrics();
    let due = Notify::new();
    let stop = shutdown.child_token();
    let sender = Sender::new(store.clone(), mailer, links, from, &settings, stop.clone());
    let ended = tokio::try_join!(
        supervise(SERVICE, &reading, &shutdown, || reader::session(&broker, &store, &reading, &due, &shutdown)),
        supervise(SENDER, &sending, &shutdown, || sender.session(&sending, &due)),
    );
    // Also when one of the two cannot go on: what is in flight is not waited for without end.
    stop.cancel();
    sender.finish().await;
    ended.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good() {
        Settings::default().validate().expect("settings");
        SmtpSettings::default().validate().expect("settings");
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value_and_what_is_allowed() {
        let error = Settings { concurrency: 0, ..Settings::default() }.validate().expect_err("too few").to_string();
        assert_eq!(error, "notifier.concurrency = 0 is out of range: allowed is 1 to 100");
        let from = "nobody".to_owned();
        let error = SmtpSettings { from, ..SmtpSettings::default() }.validate().expect_err("no mailbox").to_string();
        assert!(error.starts_with("smtp.from = \"nobody\" is no mailbox"), "{error}");
    }

    #[test]
    fn the_password_is_neither_in_an_error_nor_in_a_log() {
        for url in ["ftp://ada:hunter2@example.com", "smtp://ada:hunter2@example.com?tls=maybe", "ada:hunter2@:"] {
            let settings = SmtpSettings { url: url.into(), ..SmtpSettings::default() };
            let error = settings.validate().expect_err(url).to_string();
            assert!(error.starts_with("smtp.url ") && error.contains("smtps://"), "{error}");
            assert!(!error.contains("hunter2") && !format!("{settings:?}").contains("hunter2"), "{error}");
        }
    }
}
