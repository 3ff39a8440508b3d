//! Passwords: which are allowed, and how they are hashed. Few are hashed at a time, because each takes 19 MiB.

use std::{fmt, num::NonZero, sync::Arc, thread, time::Duration};

use argon2::{
    Algorithm, Argon2, Params as Argon2Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::SaltString,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use unicode_normalization::UnicodeNormalization;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};

use crate::http::problem::{Problem, ProblemKind};

/// Argon2id with 19 MiB, two passes and one lane: OWASP's Password Storage Cheat Sheet.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// The time that a request waits for a permit to hash.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(3);
/// NIST SP 800-63B §3.1.1.2 asks for at least eight characters and for no rules about them.
const MIN_CHARACTERS: usize = 12;
/// The longest password, in characters; long enough for any sentence.
const MAX_CHARACTERS: usize = 128;

/// A password in Unicode's form NFKC: keyboards and systems write the same characters in different ways, and a person cannot
/// see which (NIST SP 800-63B §3.1.1.2). It is never shown, not even in debug output.
#[derive(Clone)]
pub(crate) struct Password(String);

impl Password {
    /// Takes a password as it was typed.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.nfkc().collect())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not as text at once: the error of the library would repeat the value.
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::from_text(&text)),
            _ => Err(D::Error::custom("must be text")),
        }
    }
}

impl Serialize for Password {
    /// Writes nothing: the reader of bodies only compares the names of fields.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// A password that is long enough for a user.
#[derive(Debug, Clone)]
pub(crate) struct NewPassword(Password);

impl NewPassword {
    /// Rejects a password that is too short or too long, in a sentence that does not repeat it.
    pub(crate) fn new(password: Password) -> Result<Self, String> {
        match password.0.chars().count() {
            MIN_CHARACTERS..=MAX_CHARACTERS => Ok(Self(password)),
            count => Err(format!("must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters; this has {count}")),
        }
    }

    /// Takes a new password from a form.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        Self::new(Password::from_text(text))
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Password::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for NewPassword {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The password hasher; it hashes a bounded number of passwords at a time.
#[derive(Clone)]
pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    /// The hash that a password is compared with where there is no user: it takes as long, and no password matches.
    dummy_hash: Arc<str>,
}

/// The permit to hash one password.
pub(crate) struct HashPermit {
    _permit: OwnedSemaphorePermit,
}

/// How a password compares with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Invalid,
    Valid,
    /// The password is valid, and its hash has other parameters than the current ones.
    ValidNeedsRehash,
}

impl Passwords {
    /// Makes the hasher. More passwords at a time than there are processors would only slow down one another and everybody
    /// else.
    pub(crate) fn new(concurrency: usize) -> Self {
        let concurrency = concurrency.min(thread::available_parallelism().map_or(1, NonZero::get));
        #[expect(clippy::disallowed_methods, reason = "a password that nobody knows")]
        let dummy_hash = hashed(&Password::from_text(&uuid::Uuid::new_v4().to_string()));
        Self { permits: Arc::new(Semaphore::new(concurrency)), dummy_hash: dummy_hash.into() }
    }

    /// Waits for a permit to hash; fails with a problem when too many requests wait.
    pub(crate) async fn acquire_permit(&self) -> Result<HashPermit, Problem> {
        match timeout(PERMIT_TIMEOUT, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(HashPermit { _permit: permit }),
            _ => {
                let detail = "Too many people are signing in at once. Try again in a moment.";
                Err(Problem::new(ProblemKind::Overloaded, detail))
            }
        }
    }

    /// Returns the hash to store of a new password, as a PHC string.
    pub(crate) async fn hash(&self, password: NewPassword) -> Result<String, Problem> {
        self.rehash(password.0).await
    }

    /// Returns a hash with the current parameters of a valid password.
    pub(crate) async fn rehash(&self, password: Password) -> Result<String, Problem> {
        let permit = self.acquire_permit().await?;
        blocking(permit, move || hashed(&password)).await
    }

    /// Compares a password with a hash or, without one, with the dummy hash.
    pub(crate) async fn verify(
        &self,
        permit: HashPermit,
        password: Password,
        hash: Option<String>,
    ) -> Result<Verdict, Problem> {
        let hash = hash.unwrap_or_else(|| self.dummy_hash.to_string());
        blocking(permit, move || verdict(&password, &hash)).await
    }
}

/// The permit stays with the work and not with the request, which may be dropped in the middle.
async fn blocking<T: Send + 'static>(
    permit: HashPermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let work = move || {
        let done = work();
        drop(permit);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(error.to_string()))
}

fn argon2() -> Argon2<'static> {
    let params = Argon2Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these numbers are within Argon2's");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hashed(password: &Password) -> String {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 bytes are a salt");
    let hash = argon2().hash_password(password.0.as_bytes(), &salt);
    hash.expect("Argon2 hashes any bytes up to 4 GiB").to_string()
}

fn verdict(password: &Password, hash: &str) -> Verdict {
    let Ok(hash) = PasswordHash::new(hash) else { return Verdict::Invalid };
    if argon2().verify_password(password.0.as_bytes(), &hash).is_err() {
        return Verdict::Invalid;
    }
    let parameters = Argon2Params::try_from(&hash).map(|params| (params.m_cost(), params.t_cost(), params.p_cost()));
    let is_current = hash.algorithm == Algorithm::Argon2id.ident() && parameters == Ok((MEMORY_KIB, PASSES, LANES));
    if is_current { Verdict::Valid } else { Verdict::ValidNeedsRehash }
}

impl PartialSchema for Password {
    fn schema() -> RefOr<Schema> {
        password_schema("A password.").into()
    }
}

impl ToSchema for Password {}

impl PartialSchema for NewPassword {
    fn schema() -> RefOr<Schema> {
        password_schema("A new password of any characters; a sentence is good.")
            .min_length(Some(MIN_CHARACTERS))
            .max_length(Some(MAX_CHARACTERS))
            .into()
    }
}

impl ToSchema for NewPassword {}

fn password_schema(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        .description(Some(description))
        .examples([serde_json::json!("correct horse battery staple")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::from_text(text)
    }

    #[test]
    fn a_password_matches_its_own_hash_and_no_other() {
        let hash = hashed(&password("correct horse battery"));
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hashed(&password("correct horse battery")), "each has its own salt");
        assert_eq!(verdict(&password("correct horse battery"), &hash), Verdict::Valid);
        for wrong in ["", "correct horse batter", "Correct horse battery", "correct horse battery "] {
            assert_eq!(verdict(&password(wrong), &hash), Verdict::Invalid);
        }
        assert_eq!(verdict(&password(""), "no hash"), Verdict::Invalid);
    }

    #[test]
    fn a_password_is_the_same_however_a_system_writes_its_characters() {
        for (chosen, typed) in [
            ("Café-Münze-12", "Cafe\u{301}-Mu\u{308}nze-12"),
            ("Cafe\u{301}-Mu\u{308}nze-12", "Café-Münze-12"),
            ("ﬁsh and chips", "fish and chips"),
            ("non\u{a0}breaking space", "non breaking space"),
            ("１２３４５６７８９０１２", "123456789012"),
            ("Å Å is twice the same", "\u{212b} A\u{30a} is twice the same"),
            ("한국어 비밀번호입니다", "\u{1112}\u{1161}\u{11ab}국어 비밀번호입니다"),
        ] {
            let read = |text: &str| serde_json::from_value::<Password>(text.into()).expect("text");
            assert_eq!(verdict(&read(typed), &hashed(&read(chosen))), Verdict::Valid, "{chosen}");
            assert_eq!(read(typed).0, Password::from_text(chosen).0, "{chosen}");
        }
        let hash = hashed(&password("Café-Münze-12"));
        for other in ["Cafe-Munze-12", "café-münze-12", "Café-Münze-1²3"] {
            assert_eq!(verdict(&password(other), &hash), Verdict::Invalid, "{other}");
        }
    }

    #[test]
    fn a_hash_with_other_parameters_is_valid_and_needs_a_rehash() {
        let salt = SaltString::encode_b64(b"0123456789abcdef").expect("a salt");
        let older =
            Argon2::new(Algorithm::Argon2id, Version::V0x13, Argon2Params::new(64, 1, 1, None).expect("numbers"));
        let hash = older.hash_password(b"correct horse battery", &salt).expect("a hash").to_string();
        assert_eq!(verdict(&password("correct horse battery"), &hash), Verdict::ValidNeedsRehash);
        assert_eq!(verdict(&password("another"), &hash), Verdict::Invalid);
    }

    #[test]
    fn a_password_has_twelve_to_a_hundred_and_twenty_eight_characters() {
        // The second is 256 characters as some systems type it; a ligature of two letters counts as two.
        for good in ["a".repeat(12), "u\u{308}".repeat(128), " leading and trailing ".into(), "ﬀ".repeat(6)] {
            assert!(NewPassword::from_text(&good).is_ok());
        }
        for bad in [String::new(), "a".repeat(11), "ü".repeat(129), "u\u{308}".repeat(11), "ﬀ".repeat(65)] {
            assert!(NewPassword::from_text(&bad).is_err());
        }
    }

    #[test]
    fn neither_an_error_nor_a_log_repeats_a_password() {
        for bad in ["\"hunter2\"", "123456789012", "[\"hunter2hunter2\"]", "{\"hunter2\": 1}"] {
            let message = serde_json::from_str::<NewPassword>(bad).expect_err("rejected").to_string();
            assert!(!message.contains("hunter2") && !message.contains("12345"), "{message}");
        }
        let password = NewPassword::from_text("hunter2hunter2").expect("a password");
        assert!(!format!("{password:?}").contains("hunter2"));
        assert_eq!(serde_json::to_string(&password).expect("JSON"), "null");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_too_long_for_a_permit_is_rejected() {
        let passwords = Passwords::new(1);
        let permit = passwords.acquire_permit().await.expect("a turn");
        assert_eq!(passwords.acquire_permit().await.err().map(|problem| problem.kind), Some(ProblemKind::Overloaded));
        drop(permit);
        assert!(passwords.acquire_permit().await.is_ok());
    }
}
