//! Mails as a mail program parses them, and a mail server that accepts them.

pub(crate) mod odd_server;
pub(crate) mod server;

use std::path::Path;

use mail_parser::{HeaderValue, MessageParser};

/// A mail that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The address of the recipient.
    pub to: String,
    /// The subject in plain text.
    pub subject: String,
    /// The Message-ID, the same on every attempt.
    pub message_id: String,
    /// The plain text part.
    pub text: String,
    /// The HTML part, decoded.
    pub html: String,
    /// Everything, as it was sent.
    pub raw: String,
}

impl Mail {
    /// Parses one mail.
    ///
    /// # Panics
    /// When it lacks what every mail of ours has.
    pub fn parse(bytes: &[u8]) -> Self {
        let mail = MessageParser::default().parse(bytes).expect("a mail");
        let to = mail.to().and_then(|to| to.first()).and_then(|to| to.address()).expect("a recipient");
        assert!(mail.date().is_some(), "a mail has a date");
        Self {
            to: to.to_owned(),
            subject: mail.subject().expect("a subject").to_owned(),
            message_id: mail.message_id().expect("a Message-ID").to_owned(),
            text: mail.body_text(0).expect("a text").replace("\r\n", "\n"),
            html: mail.body_html(0).expect("a page").into_owned(),
            raw: String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// A header as it stands, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let mail = MessageParser::default().parse(self.raw.as_bytes())?;
        match mail.header_raw(name) {
            Some(raw) => Some(raw.split_whitespace().collect::<Vec<_>>().join(" ")),
            None => mail.header(name).filter(|value| **value != HeaderValue::Empty).map(|value| format!("{value:?}")),
        }
    }

    /// The firing that an alert reports: the id of the rule and the number.
    pub fn firing(&self) -> (String, i64) {
        let rule = self.header("X-Tickbell-Rule").expect("a rule");
        let (_, rest) = self.text.split_once("firing number ").expect("a number");
        let number = rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
        (rule, number)
    }

    /// The link that unsubscribes from these mails.
    pub fn unsubscribe_link(&self) -> String {
        let header = self.header("List-Unsubscribe").expect("a List-Unsubscribe header");
        header.trim_start_matches('<').trim_end_matches('>').to_owned()
    }

    /// Returns the first link in the text whose path begins with `path`.
    pub fn link(&self, path: &str) -> String {
        let found = self.text.split_whitespace().find(|word| word.starts_with("http") && word.contains(path));
        found.unwrap_or_else(|| panic!("no link to {path} in {}", self.text)).to_owned()
    }
}

/// All mails in a folder, by Message-ID; what is half written has another ending.
pub(crate) fn in_folder(folder: &Path) -> Vec<Mail> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let whole = files.filter(|file| file.extension().is_some_and(|ending| ending == "eml"));
    let mut mails: Vec<Mail> = whole.map(|file| Mail::parse(&std::fs::read(file).expect("a file"))).collect();
    mails.sort_by(|one, other| one.message_id.cmp(&other.message_id));
    mails
}
