//! The notifier: firings, order news and account notices become deliveries, and each delivery is attempted until its recipient's
//! server accepts it or never will.
//!
//! `intake` reads events, `routing` decides who is notified, `batching` joins order news of one user, and `notifications` makes
//! the deliveries. `silence` notifies the owners of rules whose market does not tick. `dispatcher` claims deliveries that are due,
//! as many as `slots` has room for, and attempts them, [`retry_policy`] decides what follows from an attempt, and
//! `attempt_recorder` saves the outcome.
//! [`templates`] renders emails, and `channels` sends them.

mod attempt_recorder;
mod batching;
pub mod channels;
mod dispatcher;
mod intake;
mod notifications;
pub mod retry_policy;
mod routing;
mod silence;
mod slots;
pub mod templates;

use std::path::PathBuf;

use lettre::message::Mailbox;
use platform::{
    Broker, Health, ServiceError, Shutdown,
    settings::{SettingsError, require_range},
    signed_links::Links,
    supervise,
};
use serde::Deserialize;
use store::{Store, notifications::outages};
use tokio::sync::Notify;

use crate::{
    channels::email::{
        Mailer,
        smtp::server::{Server, ascii_domain},
    },
    dispatcher::Dispatcher,
};

/// The name of the service: its folder, crate, subcommand, Deployment, durable consumer and `service.name`.
pub const SERVICE: &str = "notifier";
/// The dispatcher's name in health checks and logs.
const DISPATCHER: &str = "notifier-sender";

/// The settings of deliveries.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder for emails as `.eml` files, used while `smtp.url` is empty.
    pub outbox_dir: PathBuf,
    /// The number of deliveries that this process attempts at the same time, 1 to 100.
    pub concurrency: u16,
    /// The time for which a delivery is retried after transient errors, 1 to 168 hours.
    pub retry_for_hours: u32,
    /// The wait after the first attempt, 1 to 3600 seconds; it doubles after each further one, up to an hour.
    pub retry_after_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { outbox_dir: ".tickbell/outbox".into(), concurrency: 8, retry_for_hours: 24, retry_after_seconds: 30 }
    }
}

impl Settings {
    /// Returns an error for the first value out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("notifier.concurrency", self.concurrency, 1, 100)?;
        require_range("notifier.retry_for_hours", self.retry_for_hours, 1, 168)?;
        require_range("notifier.retry_after_seconds", self.retry_after_seconds, 1, 3_600)?;
        if self.outbox_dir.as_os_str().is_empty() {
            return Err(SettingsError("notifier.outbox_dir = \"\" is not a folder: give one for .eml files".into()));
        }
        Ok(())
    }
}

/// The mail server, and the sender of emails.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmtpSettings {
    /// `smtps://user:password@host:465`, `smtp://user:password@host:587?tls=required`, or without TLS
    /// `smtp://127.0.0.1:25`; empty means that emails are written as files.
    pub url: String,
    /// The sender, a mailbox like `Tickbell <alerts@example.com>`; its domain is that of every Message-ID.
    pub from: String,
    /// The time that one attempt may take, from connecting to the server's final reply, 1 to 600 seconds.
    pub timeout_seconds: u64,
    /// The name that this client gives with EHLO; empty means the domain of `from`, or the address of the connection where that
    /// domain has no dot.
    pub helo: String,
    /// A PEM file with certificate authorities that are trusted in addition to the machine's; empty means none.
    pub ca: PathBuf,
    /// Whether the password may be sent over a connection without TLS.
    pub allow_plaintext_auth: bool,
}

impl Default for SmtpSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            from: "Tickbell <tickbell@localhost>".into(),
            timeout_seconds: 30,
            helo: String::new(),
            ca: PathBuf::new(),
            allow_plaintext_auth: false,
        }
    }
}

impl std::fmt::Debug for SmtpSettings {
    /// Omits the URL, because it contains the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url: _, from, timeout_seconds, helo, ca, allow_plaintext_auth } = self;
        f.debug_struct("SmtpSettings")
            .field("from", from)
            .field("timeout_seconds", timeout_seconds)
            .field("helo", helo)
            .field("ca", ca)
            .field("allow_plaintext_auth", allow_plaintext_auth)
            .finish_non_exhaustive()
    }
}

impl SmtpSettings {
    /// Returns an error for a URL or mailbox that is not valid, and for a time-out out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        require_range("smtp.timeout_seconds", self.timeout_seconds, 1, 600)?;
        self.mailbox()?;
        self.server().map(|_| ())
    }

    fn mailbox(&self) -> Result<Mailbox, SettingsError> {
        let bad = |problem: String| SettingsError(format!("smtp.from = {:?} {problem}", self.from));
        let mailbox: Mailbox = self.from.parse().map_err(|error| {
            bad(format!("is not a mailbox ({error}): give one like \"Tickbell <alerts@example.com>\""))
        })?;
        // RFC 6531: only servers with SMTPUTF8 take such a sender, for every mail.
        if let Some(ascii) = ascii_domain(mailbox.email.domain()) {
            return Err(bad(format!("has a domain that many mail servers do not know: write it as {ascii}")));
        }
        if !mailbox.email.user().is_ascii() {
            return Err(bad(
                "has letters before the @ that many mail servers do not know: use ASCII letters there".into()
            ));
        }
        Ok(mailbox)
    }

    /// Returns the mail server, or none where emails are written as files.
    fn server(&self) -> Result<Option<Server>, SettingsError> {
        if self.url.is_empty() {
            return Ok(None);
        }
        let mailbox = self.mailbox()?;
        let server = Server::parse(&self.url, &self.helo, mailbox.email.domain(), &self.ca, self.allow_plaintext_auth);
        server.map(Some).map_err(|error| SettingsError(error.to_string()))
    }
}

/// Runs until shutdown, and then finishes the attempts in flight. One instance, the leader, reads events; all instances send.
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

    let (intake_check, dispatcher_check) = (health.check(SERVICE), health.check(DISPATCHER));
    // A notifier without a mail server does all that it can, and another one could do no more.
    let mail_check = health.optional_check(outages::CHECK);
    store::consumer::dead_letters::register_metrics(SERVICE);
    notifications::register_metrics();
    dispatcher::register_metrics();
    let due = Notify::new();
    let stop = shutdown.child_token();
    let dispatcher = Dispatcher::new(store.clone(), mailer, links, from, &settings, stop.clone());
    let result = tokio::select! {
        ended = async { tokio::try_join!(
            supervise(SERVICE, &intake_check, &shutdown, || intake::run(&broker, &store, &intake_check, &dispatcher, &due, &shutdown)),
            supervise(DISPATCHER, &dispatcher_check, &shutdown, || dispatcher.run(&dispatcher_check, &due)),
        ) } => ended,
        never = outages::watch(&store, &mail_check) => match never {},
    };
    // This also bounds the wait for attempts in flight when one of the two has failed.
    stop.cancel();
    dispatcher.finish().await;
    result.map(|_| ())
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
        assert!(error.starts_with("smtp.from = \"nobody\" is not a mailbox"), "{error}");
    }

    #[test]
    fn a_sender_whom_many_servers_refuse_is_named_with_what_they_know() {
        for (from, hint) in [
            ("Tickbell <alerts@b\u{fc}cher.example>", "xn--bcher-kva.example"),
            ("alerts@\u{4f8b}\u{3048}.jp", "xn--r8jz45g.jp"),
            ("b\u{fc}cher@example.com", "ASCII"),
        ] {
            let settings = SmtpSettings { from: from.into(), ..SmtpSettings::default() };
            let error = settings.validate().expect_err(from).to_string();
            assert!(error.starts_with("smtp.from = ") && error.contains(hint), "{error}");
        }
        let from = "B\u{fc}cher <alerts@xn--bcher-kva.example>".to_owned();
        SmtpSettings { from, ..SmtpSettings::default() }.validate().expect("a name may have any letters");
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
