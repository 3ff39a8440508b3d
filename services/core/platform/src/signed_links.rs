//! Links in mails that need no table: a subject and a purpose, signed.
//!
//! A token is base64url(subject ‖ HMAC-SHA-256(secret, purpose ‖ 0 ‖ subject) cut to 16 bytes), RFC 2104: 128 bits
//! that only this installation can make, and a token for one purpose is none for another.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use uuid::Uuid;

use crate::settings::SettingsError;

/// What signs links, and where they lead.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// At least 16 characters that nobody can guess, the same for every gateway and notifier; changing it makes links
    /// that were sent useless. `tickbell up` makes one in its data directory.
    pub secret: String,
    /// Where people reach the gateway, without a slash at the end.
    pub base_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { secret: String::new(), base_url: "http://127.0.0.1:8080".into() }
    }
}

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Says that the address wants the rule.
    Confirm,
    /// Says that it does not.
    Unsubscribe,
    /// Makes the account that a sign-up asks for.
    Join,
    /// Sets a new password by a reset.
    Reset,
}

impl Purpose {
    /// The path segment, and what is signed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Unsubscribe => "unsubscribe",
            Self::Join => "join",
            Self::Reset => "reset",
        }
    }
}

/// Makes links and reads their tokens.
#[derive(Clone)]
pub struct Links {
    key: Hmac<Sha256>,
    base_url: String,
}

const TAG: usize = 16;

impl Links {
    /// Refuses a secret that is too short and a base URL that is none.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        if settings.secret.len() < 16 {
            let length = settings.secret.len();
            return Err(SettingsError(format!(
                "links.secret has {length} characters: give it at least 16 that nobody can guess, \
                 like the output of `openssl rand -hex 32`"
            )));
        }
        let base_url = settings.base_url.trim_end_matches('/').to_owned();
        if !base_url.starts_with("http://") && !base_url.starts_with("https://") {
            return Err(SettingsError(format!(
                "links.base_url = {base_url:?} is no URL: give where people reach the gateway, \
                 like https://tickbell.example.com"
            )));
        }
        let key = Hmac::new_from_slice(settings.secret.as_bytes()).expect("HMAC takes a key of any length");
        Ok(Self { key, base_url })
    }

    /// The link for one purpose on one subject.
    pub fn url(&self, purpose: Purpose, subject: Uuid) -> String {
        let mut token = subject.as_bytes().to_vec();
        token.extend_from_slice(&self.signature(purpose, subject).finalize().into_bytes()[..TAG]);
        format!("{}/{}/{}", self.base_url, purpose.as_str(), BASE64_URL_SAFE_NO_PAD.encode(token))
    }

    /// The subject of a token that was made here for this purpose.
    pub fn read(&self, purpose: Purpose, token: &str) -> Option<Uuid> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (subject, tag) = bytes.split_at_checked(16)?;
        let subject = Uuid::from_slice(subject).ok()?;
        if tag.len() != TAG {
            return None;
        }
        // Compares in constant time.
        self.signature(purpose, subject).verify_truncated_left(tag).ok()?;
        Some(subject)
    }

    /// Where people reach the gateway.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    fn signature(&self, purpose: Purpose, subject: Uuid) -> Hmac<Sha256> {
        let mut signature = self.key.clone();
        signature.update(purpose.as_str().as_bytes());
        signature.update(&[0]);
        signature.update(subject.as_bytes());
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(secret: &str) -> Links {
        Links::new(&Settings { secret: secret.into(), ..Settings::default() }).expect("links")
    }

    #[test]
    fn a_token_is_good_for_its_subject_its_purpose_and_its_installation() {
        let (ours, theirs) = (links("0123456789abcdef"), links("fedcba9876543210"));
        let subject = Uuid::from_u128(7);
        let url = ours.url(Purpose::Confirm, subject);
        let token = url.rsplit('/').next().expect("a token");
        assert_eq!(ours.read(Purpose::Confirm, token), Some(subject));
        for other in [Purpose::Unsubscribe, Purpose::Join, Purpose::Reset] {
            assert_eq!(ours.read(other, token), None);
        }
        assert_eq!(theirs.read(Purpose::Confirm, token), None);
        for broken in ["", "AAAA", &token[1..], &format!("{token}AAAA"), "é", &token[..22]] {
            assert_eq!(ours.read(Purpose::Confirm, broken), None, "{broken}");
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        assert!(Links::new(&Settings::default()).is_err());
    }
}
