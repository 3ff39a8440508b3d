//! Signed links: a URL carries a subject and a purpose that only this installation can have signed, so that no table of
//! tokens is needed.
//!
//! A token is base64url(subject ‖ HMAC-SHA-256(secret, purpose ‖ 0 ‖ subject) cut to 16 bytes), RFC 2104. The signature has
//! 128 bits, and a token for one purpose is not valid for another. The domain defines the purposes.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use uuid::Uuid;

use crate::settings::SettingsError;

/// The secret that signs links, and the address that they start with.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The secret, at least 16 characters that nobody can guess. All services of an installation share it; changing it
    /// makes links that were sent invalid. `tickbell up` generates one in its data directory.
    pub secret: String,
    /// The public URL of the HTTP API, without a slash at the end.
    pub base_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { secret: String::new(), base_url: "http://127.0.0.1:8080".into() }
    }
}

/// Makes signed links and verifies their tokens.
#[derive(Clone)]
pub struct Links {
    key: Hmac<Sha256>,
    base_url: String,
}

/// The length of a signature in a token, in bytes.
const SIGNATURE_BYTES: usize = 16;

impl Links {
    /// Returns an error for a secret that is too short, and for a base URL that is not an HTTP URL.
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
                "links.base_url = {base_url:?} is not a URL: give the public URL of the gateway, \
                 like https://tickbell.example.com"
            )));
        }
        let key = Hmac::new_from_slice(settings.secret.as_bytes()).expect("HMAC takes a key of any length");
        Ok(Self { key, base_url })
    }

    /// Returns the link for one purpose and one subject; the purpose is its path segment.
    pub fn url(&self, purpose: impl Into<&'static str>, subject: Uuid) -> String {
        let purpose = purpose.into();
        let mut token = subject.as_bytes().to_vec();
        token.extend_from_slice(&self.signature(purpose, subject).finalize().into_bytes()[..SIGNATURE_BYTES]);
        format!("{}/{}/{}", self.base_url, purpose, BASE64_URL_SAFE_NO_PAD.encode(token))
    }

    /// Returns the subject of a token that this installation signed for this purpose, else none.
    pub fn read(&self, purpose: impl Into<&'static str>, token: &str) -> Option<Uuid> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (subject, signature) = bytes.split_at_checked(16)?;
        let subject = Uuid::from_slice(subject).ok()?;
        if signature.len() != SIGNATURE_BYTES {
            return None;
        }
        // This compares in constant time.
        self.signature(purpose.into(), subject).verify_truncated_left(signature).ok()?;
        Some(subject)
    }

    /// Returns a token that carries a content: readable by anybody, and only made by this installation.
    pub fn sign(&self, purpose: &'static str, content: &[u8]) -> String {
        let signature = self.mac(purpose, content).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode([content, &signature[..SIGNATURE_BYTES]].concat())
    }

    /// Returns the content of a token that this installation signed for this purpose, else none.
    pub fn verify(&self, purpose: &'static str, token: &str) -> Option<Vec<u8>> {
        let mut content = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let signature = content.split_off(content.len().checked_sub(SIGNATURE_BYTES)?);
        // This compares in constant time.
        self.mac(purpose, &content).verify_truncated_left(&signature).ok()?;
        Some(content)
    }

    /// Returns the public URL of the HTTP API.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    fn signature(&self, purpose: &str, subject: Uuid) -> Hmac<Sha256> {
        self.mac(purpose, subject.as_bytes())
    }

    fn mac(&self, purpose: &str, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.key.clone();
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(content);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(secret: &str) -> Links {
        Links::new(&Settings { secret: secret.into(), ..Settings::default() }).expect("links")
    }

    #[test]
    fn a_token_is_valid_for_its_subject_its_purpose_and_its_installation() {
        let (ours, theirs) = (links("0123456789abcdef"), links("fedcba9876543210"));
        let subject = Uuid::from_u128(7);
        let url = ours.url("confirm", subject);
        let token = url.rsplit('/').next().expect("a token");
        assert_eq!(ours.read("confirm", token), Some(subject));
        for other in ["unsubscribe", "conf", ""] {
            assert_eq!(ours.read(other, token), None);
        }
        assert_eq!(theirs.read("confirm", token), None);
        for broken in ["", "AAAA", &token[1..], &format!("{token}AAAA"), "é", &token[..22]] {
            assert_eq!(ours.read("confirm", broken), None, "{broken}");
        }
    }

    #[test]
    fn a_signed_content_is_valid_for_its_purpose_and_its_installation() {
        let (ours, theirs) = (links("0123456789abcdef"), links("fedcba9876543210"));
        for content in [&b""[..], b"1", &[0xff; 73]] {
            let token = ours.sign("ticket", content);
            assert_eq!(ours.verify("ticket", &token).as_deref(), Some(content));
            assert_eq!(ours.verify("other", &token), None);
            assert_eq!(theirs.verify("ticket", &token), None);
            for broken in ["", "AAAA", &token[1..], &format!("{token}AAAA"), "é"] {
                assert_eq!(ours.verify("ticket", broken), None, "{broken}");
            }
        }
        assert_eq!(ours.verify("ticket", "AAAAAAAAAAAAAAAAAAAAAA"), None, "a signature without its content");
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        assert!(Links::new(&Settings::default()).is_err());
    }
}
