//! How a mail leaves the house: to a mail server, or into a folder where a newcomer sees it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use events::Outcome;
use lettre::Message;
use platform::settings::SettingsError;
use tokio::{sync::Mutex, task::spawn_blocking, time::timeout};
use uuid::Uuid;

use crate::{Settings, SmtpSettings, retry::Ending, smtp::Smtp};

/// One of the two ways.
pub(crate) enum Mailer {
    /// To a mail server.
    Smtp(Smtp),
    /// As `<delivery id>.eml` in a folder.
    Files {
        /// Made when it is not there.
        folder: PathBuf,
        /// How long writing may take.
        limit: Duration,
        /// One mail after the other: several at a time would only wait for the folder, and keep others from the cores.
        turn: Mutex<()>,
    },
}

impl Mailer {
    /// To the server where one is set, else into the folder.
    pub(crate) fn new(settings: &Settings, smtp: &SmtpSettings) -> Result<Self, SettingsError> {
        let limit = Duration::from_secs(smtp.timeout_seconds);
        Ok(match smtp.server()? {
            Some(server) => Self::Smtp(Smtp::new(server, limit)),
            None => Self::Files { folder: settings.outbox_dir.clone(), limit, turn: Mutex::new(()) },
        })
    }

    /// Where mails go, for the log.
    pub(crate) fn destination(&self) -> String {
        match self {
            Self::Smtp(smtp) => smtp.destination(),
            Self::Files { folder, .. } => folder.display().to_string(),
        }
    }

    /// No attempt takes longer.
    pub(crate) fn limit(&self) -> Duration {
        match self {
            Self::Smtp(smtp) => smtp.limit(),
            Self::Files { limit, .. } => *limit,
        }
    }

    /// One attempt, ended one way or the other within the time-out.
    pub(crate) async fn send(&self, delivery: Uuid, message: &Message) -> Ending {
        match self {
            Self::Smtp(smtp) => smtp.send(message).await,
            Self::Files { folder, limit, turn } => {
                let (place, content) = (folder.clone(), message.formatted());
                let writing = async {
                    let _turn = turn.lock().await;
                    spawn_blocking(move || write(&place, delivery, &content)).await?
                };
                match timeout(*limit, writing).await.unwrap_or_else(|late| Err(late.into())) {
                    Ok(file) => Ending::new(Outcome::Sent, format!("written to {}", file.display())),
                    Err(error) => Ending::new(Outcome::Retrying, format!("write to {}: {error}", folder.display())),
                }
            }
        }
    }
}

/// Written whole or not at all: under a name that no mail program looks at, then renamed. The same delivery again is
/// the same file again.
fn write(folder: &Path, delivery: Uuid, content: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(format!(".{delivery}.{}.tmp", std::process::id()));
    let finished = folder.join(format!("{delivery}.eml"));
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, &finished)?;
    // The name is in the folder, and only the folder's own fsync keeps it there.
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
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("data/outbox");
        let mailer = files(folder.clone());
        for text in ["first", "second"] {
            assert_eq!(mailer.send(Uuid::from_u128(7), &message(text)).await.outcome, Outcome::Sent);
        }
        let names: Vec<_> =
            std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("one").path()).collect();
        assert_eq!(names, [folder.join("00000000-0000-0000-0000-000000000007.eml")]);
        assert!(std::fs::read_to_string(&names[0]).expect("a mail").ends_with("second"));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_tried_again_later() {
        let place = tempfile::NamedTempFile::new().expect("a file");
        let ending = files(place.path().join("outbox")).send(Uuid::from_u128(7), &message("x")).await;
        assert_eq!(ending.outcome, Outcome::Retrying);
        assert!(ending.detail.contains("outbox"), "{}", ending.detail);
    }
}
