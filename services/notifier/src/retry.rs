//! What follows from how an attempt ended: another one after a growing wait, or the end.

use std::time::Duration;

use events::{Outcome, Timestamp};

/// No wait is longer, before its jitter.
const LONGEST: Duration = Duration::from_secs(3_600);
/// What the jitter multiplies a wait by, in thousandths: a server that comes back is not met by everyone at once.
pub const JITTER_PERMILLE: std::ops::RangeInclusive<u32> = 800..=1_200;

/// How an attempt ended and what the other side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Whether there is to be another one.
    pub outcome: Outcome,
    /// The server's words, or what went wrong on the way to it.
    pub detail: String,
}

impl Ending {
    /// An attempt that ended so.
    pub fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: detail.into() }
    }
}

/// When a delivery that keeps failing is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long after the delivery was made.
    pub hours: u32,
}

impl Patience {
    /// The ending as it is recorded: one that would be retried is the last when the time is over.
    pub fn judge(self, ending: Ending, created_at: Timestamp, now: Timestamp) -> Ending {
        let over = now.micros() - created_at.micros() >= i64::from(self.hours) * 3_600_000_000;
        match ending.outcome {
            Outcome::Retrying | Outcome::Unknown if over => {
                Ending::new(Outcome::Failed, format!("gave up after {}: {}", self.words(), ending.detail))
            }
            _ => ending,
        }
    }

    fn words(self) -> String {
        match self.hours {
            1 => "an hour".into(),
            24 => "a day".into(),
            hours => format!("{hours} hours"),
        }
    }
}

/// How long to wait after attempt `attempt`, counted from 1: `first`, doubled after each, at most an hour, times
/// `jitter_permille` thousandths.
pub fn wait(first: Duration, attempt: i32, jitter_permille: u32) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(16);
    (first * 2_u32.pow(doublings)).min(LONGEST) * jitter_permille / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let first = Duration::from_secs(30);
        let seconds: Vec<u64> = (1..=9).map(|attempt| wait(first, attempt, 1_000).as_secs()).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(wait(first, i32::MAX, 1_000), LONGEST);
        assert_eq!((wait(first, 1, 800).as_secs(), wait(first, 1, 1_200).as_secs()), (24, 36));
    }

    #[test]
    fn a_passing_fault_is_retried_for_a_day() {
        let created: Timestamp = "2018-04-05T00:00:00Z".parse().expect("a time");
        let judge = |outcome, now: &str| {
            let now = now.parse().expect("a time");
            Patience { hours: 24 }.judge(Ending::new(outcome, "421 later"), created, now)
        };
        for outcome in [Outcome::Retrying, Outcome::Unknown] {
            assert_eq!(judge(outcome, "2018-04-05T23:59:59.999999Z"), Ending::new(outcome, "421 later"));
            let last = Ending::new(Outcome::Failed, "gave up after a day: 421 later");
            assert_eq!(judge(outcome, "2018-04-06T00:00:00Z"), last);
        }
        for outcome in [Outcome::Sent, Outcome::Failed] {
            assert_eq!(judge(outcome, "2018-04-07T00:00:00Z"), Ending::new(outcome, "421 later"));
        }
    }
}
