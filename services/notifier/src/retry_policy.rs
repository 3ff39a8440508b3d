//! The retry policy: whether another attempt follows from the result of one, and after which wait.

use std::time::Duration;

use events::{Outcome, Timestamp};

/// The longest wait, before jitter.
const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// The range of the jitter that a wait is multiplied by, in thousandths. It spreads the attempts on a server that comes back.
pub const JITTER_PERMILLE: std::ops::RangeInclusive<u32> = 800..=1_200;

/// The number of attempts that may have delivered an email although nobody knows, after which no further one is made: a
/// recipient gets a mail at most so many times.
const MAX_UNKNOWN_ATTEMPTS: i32 = 5;

/// What has to change before another attempt can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The server must accept this email or its recipient.
    Recipient,
    /// The server must answer, or accept this client: an email that it takes shows that it does.
    Server,
}

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// The outcome, which decides whether another attempt follows.
    pub outcome: Outcome,
    /// The server's reply, or the error on the way to it.
    pub detail: String,
    /// What the next attempt waits for, where there is one.
    pub waits_for: WaitsFor,
}

impl AttemptResult {
    /// Makes a result whose next attempt waits for nothing but its time.
    pub fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into(), waits_for: WaitsFor::Recipient }
    }
}

/// The attempts at a delivery before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// The time at which the delivery was added.
    pub created_at: Timestamp,
    /// The number of attempts whose outcome is unknown: the server's last reply did not arrive, or the process ended before the
    /// outcome was recorded. The claim counts an attempt before it is made, so that these are counted too.
    pub unknown: i32,
}

/// The time after which a delivery is not retried any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDeadline {
    /// The number of hours after the delivery was created.
    pub hours: u32,
}

impl RetryDeadline {
    /// Returns the result of an attempt that must not be made, because earlier ones may have delivered the email too often
    /// already; none for one that may be made.
    pub fn refuse(self, earlier: Earlier, now: Timestamp) -> Option<AttemptResult> {
        let is_late = earlier.unknown > 0 && self.has_passed(earlier, now);
        (is_late || earlier.unknown >= MAX_UNKNOWN_ATTEMPTS).then(|| {
            let detail = format!(
                "gave up: the outcome of {} attempts is not known, and the email may have arrived",
                earlier.unknown
            );
            AttemptResult::new(Outcome::Failed, detail)
        })
    }

    /// Returns the result to record: one that would be retried is a failure once the deadline has passed, and one whose outcome
    /// is unknown also after too many of its kind.
    pub fn apply(self, result: AttemptResult, earlier: Earlier, now: Timestamp) -> AttemptResult {
        let after = match result.outcome {
            Outcome::Retrying | Outcome::Unknown if self.has_passed(earlier, now) => self.text(),
            Outcome::Unknown if earlier.unknown + 1 >= MAX_UNKNOWN_ATTEMPTS => {
                format!("{MAX_UNKNOWN_ATTEMPTS} attempts without a known outcome")
            }
            _ => return result,
        };
        AttemptResult::new(Outcome::Failed, format!("gave up after {after}: {}", result.detail))
    }

    fn has_passed(self, earlier: Earlier, now: Timestamp) -> bool {
        now.micros() - earlier.created_at.micros() >= i64::from(self.hours) * 3_600_000_000
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
        let created_at: Timestamp = "2018-04-05T00:00:00Z".parse().expect("a time");
        let earlier = Earlier { created_at, unknown: 0 };
        let apply = |outcome, now: &str| {
            let now = now.parse().expect("a time");
            RetryDeadline { hours: 24 }.apply(AttemptResult::new(outcome, "421 later"), earlier, now)
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

    #[test]
    fn a_mail_that_may_have_arrived_is_not_sent_without_end() {
        let created_at: Timestamp = "2018-04-05T00:00:00Z".parse().expect("a time");
        let (soon, late) =
            ("2018-04-05T00:00:01Z".parse().expect("a time"), "2018-04-06T00:00:00Z".parse().expect("a time"));
        let deadline = RetryDeadline { hours: 24 };
        for (unknown, now, is_refused) in
            [(0, soon, false), (1, soon, false), (4, soon, false), (5, soon, true), (0, late, false), (1, late, true)]
        {
            let refused = deadline.refuse(Earlier { created_at, unknown }, now);
            assert_eq!(refused.map(|result| result.outcome), is_refused.then_some(Outcome::Failed), "{unknown} {now}");
        }
        for (outcome, unknown, expected) in [
            (Outcome::Unknown, 3, Outcome::Unknown),
            (Outcome::Unknown, 4, Outcome::Failed),
            (Outcome::Retrying, 4, Outcome::Retrying),
            (Outcome::Sent, 9, Outcome::Sent),
        ] {
            let result = deadline.apply(AttemptResult::new(outcome, ""), Earlier { created_at, unknown }, soon);
            assert_eq!(result.outcome, expected, "{outcome:?} {unknown}");
        }
    }
}
