//! The retry policy: whether another attempt follows from the result of one, and after which wait.

use std::time::Duration;

use events::{Outcome, Timestamp};

/// The longest wait, before jitter.
const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// The range of the jitter that a wait is multiplied by, in thousandths. It spreads the attempts on a server that comes back.
pub const JITTER_PERMILLE: std::ops::RangeInclusive<u32> = 800..=1_200;

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// The outcome, which decides whether another attempt follows.
    pub outcome: Outcome,
    /// The server's reply, or the error on the way to it.
    pub detail: String,
}

impl AttemptResult {
    /// Makes a result.
    pub fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into() }
    }
}

/// The time after which a delivery is not retried any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDeadline {
    /// The number of hours after the delivery was created.
    pub hours: u32,
}

impl RetryDeadline {
    /// Returns the result to record: one that would be retried is a failure once the deadline has passed.
    pub fn apply(self, result: AttemptResult, created_at: Timestamp, now: Timestamp) -> AttemptResult {
        let has_passed = now.micros() - created_at.micros() >= i64::from(self.hours) * 3_600_000_000;
        match result.outcome {
            Outcome::Retrying | Outcome::Unknown if has_passed => {
                AttemptResult::new(Outcome::Failed, format!("gave up after {}: {}", self.text(), result.detail))
            }
            _ => result,
        }
    }

    fn text(self) -> String {
        match self.hours {
            1 => "an hour".into(),
            24 => "a day".into(),
            hours => format!("{hours} hours"),
        }
    }
}

/// Returns the wait after attempt number `attempt`, counted from 1: `first`, doubled after each attempt up to an hour, times
/// `jitter_permille` thousandths.
pub fn wait(first: Duration, attempt: i32, jitter_permille: u32) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(16);
    (first * 2_u32.pow(doublings)).min(MAX_WAIT) * jitter_permille / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let first = Duration::from_secs(30);
        let seconds: Vec<u64> = (1..=9).map(|attempt| wait(first, attempt, 1_000).as_secs()).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(wait(first, i32::MAX, 1_000), MAX_WAIT);
        assert_eq!((wait(first, 1, 800).as_secs(), wait(first, 1, 1_200).as_secs()), (24, 36));
    }

    #[test]
    fn a_transient_error_is_retried_for_a_day() {
        let created: Timestamp = "2018-04-05T00:00:00Z".parse().expect("a time");
        let apply = |outcome, now: &str| {
            let now = now.parse().expect("a time");
            RetryDeadline { hours: 24 }.apply(AttemptResult::new(outcome, "421 later"), created, now)
        };
        for outcome in [Outcome::Retrying, Outcome::Unknown] {
            assert_eq!(apply(outcome, "2018-04-05T23:59:59.999999Z"), AttemptResult::new(outcome, "421 later"));
            let last = AttemptResult::new(Outcome::Failed, "gave up after a day: 421 later");
            assert_eq!(apply(outcome, "2018-04-06T00:00:00Z"), last);
        }
        for outcome in [Outcome::Sent, Outcome::Failed] {
            assert_eq!(apply(outcome, "2018-04-07T00:00:00Z"), AttemptResult::new(outcome, "421 later"));
        }
    }
}
