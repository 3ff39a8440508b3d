//! Ticks from the future, which are refused before they are published: one that counted would make every later tick of its
//! market look late.

use std::time::Duration;

use events::Timestamp;
use humantime::format_duration;
use thiserror::Error;

/// The time of a tick is too far ahead of the clock.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("its time {at} is {} ahead of the clock; allowed is {} (ticks.max_ahead)", format_duration(*ahead), format_duration(*allowed))]
pub(crate) struct FromTheFuture {
    at: Timestamp,
    /// How far it is ahead, in whole seconds, rounded up.
    ahead: Duration,
    allowed: Duration,
}

/// Refuses a time that is more than `allowed` after `now`.
pub(crate) fn check(at: Timestamp, now: Timestamp, allowed: Duration) -> Result<(), FromTheFuture> {
    let ahead = Duration::from_micros(u64::try_from(at.micros() - now.micros()).unwrap_or(0));
    if ahead <= allowed {
        return Ok(());
    }
    let ahead = Duration::from_secs(ahead.as_secs() + u64::from(ahead.subsec_nanos() > 0));
    Err(FromTheFuture { at, ahead, allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_ahead_by_as_much_as_is_allowed() {
        let at = |micros: i64| Timestamp::from_micros(micros).expect("a time");
        let allowed = Duration::from_secs(10);
        for ok in [0, 5_000_000, 15_000_000] {
            assert_eq!(check(at(ok), at(5_000_000), allowed), Ok(()));
        }
        let error = check(at(15_000_001), at(5_000_000), allowed).expect_err("too far");
        let expected =
            "its time 1970-01-01T00:00:15.000001Z is 11s ahead of the clock; allowed is 10s (ticks.max_ahead)";
        assert_eq!(error.to_string(), expected);
    }
}
