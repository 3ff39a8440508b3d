//! Messages that do not parse: counted, and some of them passed on in short.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// The most bytes of a message that are passed on.
const MAX_EXCERPT_BYTES: usize = 4 * 1024;
/// The shortest time between two messages that are passed on; those between are only counted.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// A message that does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadMessage {
    /// The identity of the message: its SHA-256 in hexadecimal digits, so that the same message is stored once.
    pub digest: String,
    /// The beginning of the message.
    pub excerpt: Vec<u8>,
    /// The length of the whole message in bytes.
    pub bytes: usize,
    /// Why it does not parse.
    pub reason: String,
}

impl BadMessage {
    /// Returns the message in short. Text is cut between two characters.
    pub(crate) fn new(message: &[u8], reason: String) -> Self {
        let digest = Sha256::digest(message).iter().map(|byte| format!("{byte:02x}")).collect();
        let end = match std::str::from_utf8(message) {
            Ok(text) => text.floor_char_boundary(MAX_EXCERPT_BYTES),
            Err(_) => message.len().min(MAX_EXCERPT_BYTES),
        };
        Self { digest, excerpt: message[..end].to_vec(), bytes: message.len(), reason }
    }
}

/// Decides which bad messages of a connection are passed on.
#[derive(Debug, Default)]
pub(crate) struct BadMessages {
    last: Option<Instant>,
}

impl BadMessages {
    /// Returns the message in short, unless another one was passed on a moment ago.
    pub(crate) fn take(&mut self, message: &[u8], reason: String, now: Instant) -> Option<BadMessage> {
        if self.last.is_some_and(|last| now < last + MIN_INTERVAL) {
            return None;
        }
        self.last = Some(now);
        Some(BadMessage::new(message, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_messages_passes_on_one_a_second_in_short() {
        let (mut messages, start) = (BadMessages::default(), Instant::now());
        let long = [0xff_u8; 100_000];
        let first = messages.take(&long, "no JSON".to_owned(), start).expect("the first");
        assert_eq!((first.excerpt.len(), first.bytes, first.digest.len()), (MAX_EXCERPT_BYTES, 100_000, 64));
        let text = BadMessage::new("é".repeat(5_000).as_bytes(), String::new());
        assert_eq!(String::from_utf8(text.excerpt).expect("text is cut between characters").len(), MAX_EXCERPT_BYTES);
        let odd = BadMessage::new(format!("x{}", "é".repeat(5_000)).as_bytes(), String::new());
        assert_eq!(
            String::from_utf8(odd.excerpt).expect("text is cut between characters").len(),
            MAX_EXCERPT_BYTES - 1
        );
        let passed =
            (0..5_000).filter(|ms| messages.take(b"x", String::new(), start + Duration::from_millis(*ms)).is_some());
        assert_eq!(passed.count(), 4);
    }
}
