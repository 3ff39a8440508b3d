//! Bearer tokens: how they are drawn, read from a request and stored as hashes.

use axum::http::{HeaderMap, header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::{Period, Timestamp};
use sha2::{Digest, Sha256};
use store::rules::TokenHash;

/// The prefix of a session's token, so that secret scanners find one that leaks.
pub(crate) const SESSION_PREFIX: &str = "tbs_";
/// The prefix of an API key.
pub(crate) const KEY_PREFIX: &str = "tbk_";

/// Reads the bearer token of a request (RFC 6750 §2.1); the scheme's case does not matter (RFC 9110 §11.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Returns what is stored of a token. A token has 256 random bits, so a hash without salt gives nothing away.
pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// Draws a token with 256 random bits behind a prefix.
pub(crate) fn new_token(prefix: &str) -> String {
    format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// Whether a token has the prefix of a session or an API key; it need not be valid.
pub(crate) fn is_user_token(token: &str) -> bool {
    token.starts_with(SESSION_PREFIX) || token.starts_with(KEY_PREFIX)
}

/// Returns the time at which something that lasts `days` days ends.
pub(crate) fn expires_in_days(now: Timestamp, days: u16) -> Timestamp {
    now.after(Period::seconds(u32::from(days) * Period::DAY.as_seconds()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_behind_the_word_bearer() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("", None),
        ] {
            let headers = [(header::AUTHORIZATION, value.parse().expect("a header"))].into_iter().collect();
            assert_eq!(bearer(&headers), token, "{value}");
        }
    }

    #[test]
    fn a_token_is_never_drawn_twice_and_shows_its_kind() {
        let (one, other) = (new_token(SESSION_PREFIX), new_token(SESSION_PREFIX));
        assert_ne!(one, other);
        assert_eq!((one.len(), one.starts_with("tbs_")), (47, true));
    }
}
