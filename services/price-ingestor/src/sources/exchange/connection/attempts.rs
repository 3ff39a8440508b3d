//! When the next attempt to connect may be made: after growing, jittered waits, and no more often than a cap in a minute.

use std::{collections::VecDeque, time::Duration};

use rand::{Rng, RngExt};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The attempts of one venue, of all its connections together.
#[derive(Debug)]
pub(crate) struct Attempts {
    first_wait: Duration,
    longest_wait: Duration,
    per_minute: usize,
    /// How many attempts in a row have failed.
    failures: u32,
    /// The times of the attempts of the last minute, oldest first.
    recent: VecDeque<Instant>,
}

impl Attempts {
    /// Returns a schedule without a past. `per_minute` is at least one.
    pub(crate) fn new(first_wait: Duration, longest_wait: Duration, per_minute: u32) -> Self {
        Self { first_wait, longest_wait, per_minute: per_minute.max(1) as usize, failures: 0, recent: VecDeque::new() }
    }

    /// Counts an attempt and returns when it may begin. The first one after a success begins after a short wait, so that all
    /// clients of a venue do not return at once.
    pub(crate) fn next(&mut self, now: Instant, random: &mut impl Rng) -> Instant {
        let grown = self.first_wait.saturating_mul(1 << self.failures.min(16)).min(self.longest_wait);
        let jittered = grown / 2 + random.random_range(Duration::ZERO..=grown / 2);
        let mut at = now + if self.recent.is_empty() { Duration::ZERO } else { jittered };
        while self.recent.front().is_some_and(|first| *first + MINUTE <= at) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.per_minute
            && let Some(first) = self.recent.pop_front()
        {
            at = at.max(first + MINUTE);
        }
        self.failures = self.failures.saturating_add(1);
        self.recent.push_back(at);
        at
    }

    /// Notes that an attempt has succeeded: the next waits are short again.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_are_short_again_after_a_success() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut random = StdRng::seed_from_u64(1);
        let mut attempts = Attempts::new(first, longest, 1_000);
        let mut now = Instant::now();
        assert_eq!(attempts.next(now, &mut random), now);
        for failures in 1..20_u32 {
            let wait = attempts.next(now, &mut random) - now;
            let grown = (first * (1 << failures.min(10))).min(longest);
            assert!(wait >= grown / 2 && wait <= grown, "{failures}: {wait:?}");
            now += wait;
        }
        attempts.succeeded();
        assert!(attempts.next(now, &mut random) - now <= first);
    }

    #[test]
    fn no_minute_has_more_attempts_than_the_cap() {
        let mut random = StdRng::seed_from_u64(2);
        let mut attempts = Attempts::new(Duration::from_millis(1), Duration::from_millis(1), 5);
        let mut now = Instant::now();
        let mut all = Vec::new();
        for _ in 0..50 {
            now = attempts.next(now, &mut random);
            attempts.succeeded();
            all.push(now);
        }
        assert!(all.windows(6).all(|six| six[5] - six[0] >= MINUTE), "{all:?}");
    }
}
