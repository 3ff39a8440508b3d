//! Ticks from the future. The time of a tick is the venue's word, and a wrong one must cost only that tick: a single tick of
//! the year 2099 that counted would make every later tick of its market look late.

use std::time::Duration;

use events::Timestamp;
use humantime::format_duration;
use thiserror::Error;

/// How far the time of a tick may be ahead of the clock of whoever takes it in (`ticks.max_ahead`).
///
/// Before a tick is published, that clock is the time of day. After that it is the time at which the broker stored the tick, so
/// that every consumer decides the same, and a replay of the stream decides it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxAhead(Duration);

/// The time of a tick is too far ahead.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error(
    "its time {at} is {} ahead of the clock; allowed is {} (ticks.max_ahead)",
    format_duration(*ahead),
    format_duration(*allowed)
)]
pub struct FromTheFuture {
    /// The time of the tick.
    pub at: Timestamp,
    /// How far it is ahead, in whole seconds, rounded up.
    pub ahead: Duration,
    /// How far it may be ahead.
    pub allowed: Duration,
}

impl MaxAhead {
    /// The limit where no other is set: more than the clocks of good venues differ.
    pub const DEFAULT: Self = Self(Duration::from_secs(10));

    /// Makes the limit of a setting.
    pub const fn new(allowed: Duration) -> Self {
        Self(allowed)
    }

    /// Returns how far a tick may be ahead.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// Refuses a tick whose time is more than the limit after `now`.
    pub fn check(self, at: Timestamp, now: Timestamp) -> Result<(), FromTheFuture> {
        let ahead = Duration::from_micros(at.micros().saturating_sub(now.micros()).max(0).unsigned_abs());
        if ahead <= self.0 {
            return Ok(());
        }
        let ahead = Duration::from_secs(ahead.as_secs() + u64::from(ahead.subsec_nanos() > 0));
        Err(FromTheFuture { at, ahead, allowed: self.0 })
    }
}

impl Default for MaxAhead {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_tick_is_from_the_future_when_it_is_more_than_the_limit_ahead() {
        let now = at("2024-08-11T00:00:00Z");
        for (time, is_refused) in [
            ("1970-01-01T00:00:00Z", false),
            ("2024-08-10T23:59:59Z", false),
            ("2024-08-11T00:00:10Z", false),
            ("2024-08-11T00:00:10.000001Z", true),
            ("2024-08-11T01:00:00Z", true),
            ("9999-12-31T23:59:59.999999Z", true),
        ] {
            assert_eq!(MaxAhead::DEFAULT.check(at(time), now).is_err(), is_refused, "{time}");
        }
    }

    #[test]
    fn the_refusal_says_the_time_how_far_it_is_ahead_and_what_is_allowed() {
        let refusal = MaxAhead::DEFAULT.check(at("2099-01-01T00:00:00Z"), at("2098-12-31T22:59:59.5Z"));
        assert_eq!(
            refusal.expect_err("from the future").to_string(),
            "its time 2099-01-01T00:00:00.000000Z is 1h 1s ahead of the clock; allowed is 10s (ticks.max_ahead)"
        );
    }
}
