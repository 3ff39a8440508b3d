//! Dead letters of messages that could not be read: published beside the ticks, which never wait for them, and bounded in
//! number, so that a venue that changes its format does not push out the dead letters of the other services.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use events::{DeadLetter, OutboundMessage, RawFrame, Venue};
use platform::{Broker, clock, runtime::error::error_chain};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tracing::warn;

use crate::sources::exchange::feed::BadMessage;

const SERVICE: &str = "price-ingestor";
/// The most dead letters that wait for the broker. What does not fit is counted and logged only.
const MAX_WAITING: usize = 32;
/// The most dead letters of a source at once.
const MAX_BURST: u32 = 20;
/// The time after which one more may follow: at most 9 MB in a day, of a stream of 512 MiB.
const INTERVAL: Duration = Duration::from_secs(60);
/// How many digests are remembered, so that a message that comes again and again is stored once.
const MAX_DIGESTS: usize = 1_024;
/// The most characters of a reason, which may quote the message.
const MAX_REASON: usize = 500;
/// How long a source that ends waits for the broker to store its last dead letters.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes the dead letters of one source.
pub(crate) struct DeadLetters {
    broker: Broker,
    budget: Budget,
    task: Option<(mpsc::Sender<OutboundMessage>, JoinHandle<()>)>,
}

impl DeadLetters {
    /// Returns the dead letters of a source that has none yet.
    pub(crate) fn new(broker: Broker) -> Self {
        metrics::counter!("tickbell_dead_letters_total", "service" => SERVICE).increment(0);
        Self { broker, budget: Budget::new(Instant::now()), task: None }
    }

    /// Publishes a message of a venue as a dead letter, unless it is a repeat or one too many.
    pub(crate) fn add(&mut self, venue: &Venue, bad: &BadMessage) {
        if !self.budget.admit(&bad.digest, Instant::now()) {
            return;
        }
        let frame = RawFrame { venue: venue.clone(), digest: bad.digest.clone(), bytes: bad.bytes as u64 };
        let message =
            DeadLetter::of_frame(SERVICE, frame, &bad.excerpt, one_line(&bad.reason), clock::now()).to_message();
        let broker = &self.broker;
        let (sender, _) = self.task.get_or_insert_with(|| {
            let (sender, messages) = mpsc::channel(MAX_WAITING);
            (sender, tokio::spawn(publish(broker.clone(), messages)))
        });
        // The broker is away, or does not take them: the log has the message.
        if sender.try_send(message).is_ok() {
            metrics::counter!("tickbell_dead_letters_total", "service" => SERVICE).increment(1);
        }
    }

    /// Waits a moment until those that were added are stored.
    pub(crate) async fn finish(&mut self) {
        if let Some((sender, task)) = self.task.take() {
            drop(sender);
            if timeout(FINISH_TIMEOUT, task).await.is_err() {
                warn!("the broker has not stored the last dead letters; the log has them");
            }
        }
    }
}

async fn publish(broker: Broker, mut messages: mpsc::Receiver<OutboundMessage>) {
    while let Some(message) = messages.recv().await {
        if let Err(error) = broker.publish(std::slice::from_ref(&message)).await {
            warn!(subject = message.subject, error = error_chain(&error), "cannot publish a dead letter");
        }
    }
}

/// Which messages become dead letters: each once, a burst of them at once, and then one for each interval.
struct Budget {
    left: u32,
    refilled_at: Instant,
    digests: VecDeque<String>,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { left: MAX_BURST, refilled_at: now, digests: VecDeque::new() }
    }

    fn admit(&mut self, digest: &str, now: Instant) -> bool {
        while self.left < MAX_BURST && now >= self.refilled_at + INTERVAL {
            self.left += 1;
            self.refilled_at += INTERVAL;
        }
        if self.left == 0 || self.digests.iter().any(|known| known == digest) {
            return false;
        }
        if self.left == MAX_BURST {
            self.refilled_at = now;
        }
        self.left -= 1;
        if self.digests.len() == MAX_DIGESTS {
            self.digests.pop_front();
        }
        self.digests.push_back(digest.to_owned());
        true
    }
}

/// Escapes control characters, and cuts what is too long.
fn one_line(text: &str) -> String {
    let escaped = |char: char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
    text.chars().take(MAX_REASON).map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_stored_once_and_a_flood_of_others_within_the_budget() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!(budget.admit("a", start) && !budget.admit("a", start));
        let flood = |budget: &mut Budget, now: Instant, from: u32| {
            (from..from + 1_000).filter(|number| budget.admit(&number.to_string(), now)).count() as u32
        };
        assert_eq!(flood(&mut budget, start, 0), MAX_BURST - 1);
        assert_eq!(flood(&mut budget, start + INTERVAL * 3, 2_000), 3);
        assert_eq!(flood(&mut budget, start + INTERVAL * 10_000, 4_000), MAX_BURST);
        assert!(!budget.admit("4000", start + INTERVAL * 20_000), "it is remembered for long");
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(one_line("a\0\nb"), "a\\u{0}\\nb");
        assert_eq!(one_line(&"x".repeat(10_000)).len(), MAX_REASON);
    }
}
