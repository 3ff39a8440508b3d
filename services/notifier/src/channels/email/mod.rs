//! Email: sent to a mail server, or written into a folder where no server is set.

pub(crate) mod mime;
pub mod smtp;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use events::Outcome;
use lettre::Message;
use platform::settings::SettingsError;
use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};
use uuid::Uuid;

use self::smtp::Smtp;
use crate::{
    Settings, SmtpSettings,
    retry_policy::{AttemptResult, WaitsFor},
};

/// The destination of emails.
pub(crate) enum Mailer {
    /// Recipient a mail server.
    Smtp(Smtp),
    /// A folder, where each email is a file `<delivery id>.eml`.
    Files {
        /// The folder, which is created where it is missing.
        folder: PathBuf,
        /// The time that writing may take.
        limit: Duration,
        /// Serialises writes: several at a time would only wait for the folder, and occupy threads.
        write_lock: Mutex<()>,
    },
}

impl Mailer {
    /// Recipient the server where one is set, else into the folder.
    pub(crate) fn new(settings: &Settings, smtp: &SmtpSettings) -> Result<Self, SettingsError> {
        let limit = Duration::from_secs(smtp.timeout_seconds);
        Ok(match smtp.server()? {
            Some(server) => Self::Smtp(Smtp::new(server, limit)),
            None => Self::Files { folder: settings.outbox_dir.clone(), limit, write_lock: Mutex::new(()) },
        })
    }

    /// Returns the destination, for logs.
    pub(crate) fn destination(&self) -> String {
        match self {
            Self::Smtp(smtp) => smtp.destination(),
            Self::Files { folder, .. } => folder.display().to_string(),
        }
    }

    /// Returns the longest time that an attempt takes.
    pub(crate) fn limit(&self) -> Duration {
        match self {
            Self::Smtp(smtp) => smtp.limit(),
            Self::Files { limit, .. } => *limit,
        }
    }

    /// Makes one attempt, which ends within the time-out.
    pub(crate) async fn send(&self, delivery: Uuid, message: &Message) -> AttemptResult {
        match self {
            Self::Smtp(smtp) => smtp.send(message).await,
            Self::Files { folder, limit, write_lock } => {
                let (target, content) = (folder.clone(), message.formatted());
                let writing = async {
                    let _guard = write_lock.lock().await;
                    spawn_blocking(move || write(&target, delivery, &content)).await?
                };
                match timeout(*limit, writing).await.unwrap_or_else(|elapsed| Err(elapsed.into())) {
                    Ok(file) => AttemptResult::new(Outcome::Sent, format!("written to {}", file.display())),
                    Err(error) => AttemptResult {
                        outcome: Outcome::Retrying,
                        detail: format!("write to {}: {error}", folder.display()),
                        waits_for: WaitsFor::Server,
                    },
                }
            }
        }
    }
}

/// Writes a file completely or not at all: under a name that mail programs ignore, then renamed. Writing the same delivery
/// again replaces its file. Only the owner may read it, because emails hold links that set passwords.
fn write(folder: &Path, delivery: Uuid, content: &[u8]) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!(".{delivery}.{}.tmp", std::process::id()));
    let finished = folder.join(format!("{delivery}.eml"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    // The mode above is for a new file, and not for one that a process with the same id has left.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, &finished)?;
    // The file's name is part of the folder, so only an fsync of the folder makes it durable.
    File::open(folder)?.sync_all()?;
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: PathBuf) -> Mailer {
        let settings = Settings { outbox_dir: folder, ..Settings::default() };
        Mailer::new(&settings, &SmtpSettings::default()).expect("a mailer")
    }

    fn message(text: &str) -> Message {
        let mailbox: lettre::message::Mailbox = "ada@example.com".parse().expect("a mailbox");
        Message::builder().from(mailbox.clone()).to(mailbox).body(text.to_owned()).expect("a message")
    }

    #[tokio::test]
    async fn the_same_delivery_twice_is_one_file() {
        let directory = tempfile::tempdir().expect("a folder");
        let folder = directory.path().join("data/outbox");
        let mailer = files(folder.clone());
        for text in ["first", "second"] {
            assert_eq!(mailer.send(Uuid::from_u128(7), &message(text)).await.outcome, Outcome::Sent);
        }
        let names: Vec<_> =
            std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("one").path()).collect();
        assert_eq!(names, [folder.join("00000000-0000-0000-0000-000000000007.eml")]);
        assert!(std::fs::read_to_string(&names[0]).expect("a mail").ends_with("second"));
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&names[0])), (0o700, 0o600), "only the owner reads links that set passwords");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_tried_again_later() {
        let directory = tempfile::NamedTempFile::new().expect("a file");
        let result = files(directory.path().join("outbox")).send(Uuid::from_u128(7), &message("x")).await;
        assert_eq!(result.outcome, Outcome::Retrying);
        assert!(result.detail.contains("outbox"), "{}", result.detail);
    }
}
