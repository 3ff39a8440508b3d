//! Passwords: what one may be, and how it is hashed. So many at a time, because each takes 19 MiB.

use std::{fmt, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version, password_hash::SaltString,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::problem::{Kind, Problem};

/// Argon2id with 19 MiB, two passes and one lane: OWASP's Password Storage Cheat Sheet.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(3);
/// NIST SP 800-63B §3.1.1.2 asks for at least eight, and for no rules about what they are.
const SHORTEST: usize = 12;
/// Long enough for any sentence.
const LONGEST: usize = 128;

/// A password as somebody typed it. It is never shown, also not to those who debug.
#[derive(Clone)]
pub(crate) struct Password(String);

impl Password {
    /// One from a form.
    pub(crate) fn from_text(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not as text at once: the library's error would repeat what it found instead.
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("must be text")),
        }
    }
}

impl Serialize for Password {
    /// As nothing: [`crate::fields`] only asks for the names of what it knows.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// A password that is good enough for an account.
#[derive(Debug, Clone)]
pub(crate) struct NewPassword(Password);

impl NewPassword {
    /// Refuses one that is too short or too long, in a sentence that does not repeat it.
    pub(crate) fn new(password: Password) -> Result<Self, String> {
        match password.0.chars().count() {
            SHORTEST..=LONGEST => Ok(Self(password)),
            count => Err(format!("must have {SHORTEST} to {LONGEST} characters; this has {count}")),
        }
    }

    /// The same, from a form.
    pub(crate) fn from_text(text: String) -> Result<Self, String> {
        Self::new(Password(text))
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

/// Hashes passwords, so many at a time.
#[derive(Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// What a password is held to where there is no account: it takes as long, and no password fits.
    nobodys: Arc<str>,
}

/// Leave to hash one password.
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// How a password compares with a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right,
    /// Right, and the hash was made with other numbers than those of today.
    RightAndDated,
}

impl Passwords {
    pub(crate) fn new(at_once: usize) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a password that nobody knows")]
        let nobodys = hashed(&Password(uuid::Uuid::new_v4().to_string()));
        Self { turns: Arc::new(Semaphore::new(at_once)), nobodys: nobodys.into() }
    }

    /// Waits for leave to hash; a problem when too many wait.
    pub(crate) async fn turn(&self) -> Result<Turn, Problem> {
        match timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            _ => {
                let detail = "More people are signing in than we can check at once; try again in a moment.";
                Err(Problem::new(Kind::Overloaded, detail))
            }
        }
    }

    /// The hash to keep of a new password, as a PHC string.
    pub(crate) async fn hash(&self, password: NewPassword) -> Result<String, Problem> {
        self.renew(password.0).await
    }

    /// The same for a password whose hash is dated.
    pub(crate) async fn renew(&self, password: Password) -> Result<String, Problem> {
        let turn = self.turn().await?;
        blocking(turn, move || hashed(&password)).await
    }

    /// Holds a password to a hash, or where there is none, to one that nothing fits.
    pub(crate) async fn verify(
        &self,
        turn: Turn,
        password: Password,
        hash: Option<String>,
    ) -> Result<Verdict, Problem> {
        let hash = hash.unwrap_or_else(|| self.nobodys.to_string());
        blocking(turn, move || verdict(&password, &hash)).await
    }
}

/// The turn goes with the work and not with the request, which may be dropped in the middle.
async fn blocking<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(error.to_string()))
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these numbers are within Argon2's");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hashed(password: &Password) -> String {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).expect("16 bytes are a salt");
    let hash = argon2().hash_password(password.0.as_bytes(), &salt);
    hash.expect("Argon2 hashes any bytes up to 4 GiB").to_string()
}

fn verdict(password: &Password, hash: &str) -> Verdict {
    let Ok(hash) = PasswordHash::new(hash) else { return Verdict::Wrong };
    if argon2().verify_password(password.0.as_bytes(), &hash).is_err() {
        return Verdict::Wrong;
    }
    let numbers = Params::try_from(&hash).map(|params| (params.m_cost(), params.t_cost(), params.p_cost()));
    let of_today = hash.algorithm == Algorithm::Argon2id.ident() && numbers == Ok((MEMORY_KIB, PASSES, LANES));
    if of_today { Verdict::Right } else { Verdict::RightAndDated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password(text.to_owned())
    }

    #[test]
    fn a_password_fits_its_own_hash_and_no_other() {
        let hash = hashed(&password("correct horse battery"));
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hashed(&password("correct horse battery")), "each has its own salt");
        assert_eq!(verdict(&password("correct horse battery"), &hash), Verdict::Right);
        for wrong in ["", "correct horse batter", "Correct horse battery", "correct horse battery "] {
            assert_eq!(verdict(&password(wrong), &hash), Verdict::Wrong);
        }
        assert_eq!(verdict(&password(""), "no hash"), Verdict::Wrong);
    }

    #[test]
    fn a_hash_with_other_numbers_is_right_and_dated() {
        let salt = SaltString::encode_b64(b"0123456789abcdef").expect("a salt");
        let older = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).expect("numbers"));
        let hash = older.hash_password(b"correct horse battery", &salt).expect("a hash").to_string();
        assert_eq!(verdict(&password("correct horse battery"), &hash), Verdict::RightAndDated);
        assert_eq!(verdict(&password("another"), &hash), Verdict::Wrong);
    }

    #[test]
    fn a_password_has_twelve_to_a_hundred_and_twenty_eight_characters() {
        for good in ["a".repeat(12), "ü".repeat(128), " leading and trailing ".into()] {
            assert!(NewPassword::from_text(good).is_ok());
        }
        for bad in [String::new(), "a".repeat(11), "ü".repeat(129)] {
            assert!(NewPassword::from_text(bad).is_err());
        }
    }

    #[test]
    fn neither_an_error_nor_a_log_repeats_a_password() {
        for bad in ["\"hunter2\"", "123456789012", "[\"hunter2hunter2\"]", "{\"hunter2\": 1}"] {
            let said = serde_json::from_str::<NewPassword>(bad).expect_err("refused").to_string();
            assert!(!said.contains("hunter2") && !said.contains("12345"), "{said}");
        }
        let kept = NewPassword::from_text("hunter2hunter2".into()).expect("a password");
        assert!(!format!("{kept:?}").contains("hunter2"));
        assert_eq!(serde_json::to_string(&kept).expect("JSON"), "null");
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_waits_too_long_for_a_turn_is_told_to_come_back() {
        let passwords = Passwords::new(1);
        let turn = passwords.turn().await.expect("a turn");
        assert_eq!(passwords.turn().await.err().map(|problem| problem.kind), Some(Kind::Overloaded));
        drop(turn);
        assert!(passwords.turn().await.is_ok());
    }
}
