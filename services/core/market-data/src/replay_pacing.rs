//! The speed of a replay, and when each recorded tick is due.

use std::{fmt, str::FromStr, time::Duration};

use events::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use thiserror::Error;

/// The error for a text that is not a replay speed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{0:?} is not a speed: use a factor from 0.001x to 1000000x, like 60x")]
pub struct ReplaySpeedError(String);

/// The factor by which a replay is faster than the recorded time, in thousandths, 1 to 1,000,000,000.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ReplaySpeed(u32);

const DECIMAL_PLACES: u32 = 3;
const MAX_THOUSANDTHS: u32 = 1_000_000_000;

impl ReplaySpeed {
    /// The recorded speed itself.
    pub const ONE: Self = Self(1_000);

    /// Returns how long the replay of a span of recorded time takes; `recorded_micros` is that span in microseconds.
    pub fn replay_duration(self, recorded_micros: u64) -> Duration {
        let micros = u128::from(recorded_micros) * 1_000 / u128::from(self.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl FromStr for ReplaySpeed {
    type Err = ReplaySpeedError;
    fn from_str(text: &str) -> Result<Self, ReplaySpeedError> {
        text.strip_suffix('x').and_then(thousandths).map(Self).ok_or_else(|| ReplaySpeedError(text.to_owned()))
    }
}

fn thousandths(text: &str) -> Option<u32> {
    let value = Decimal::from_str_exact(text).ok()?.normalize();
    let places = DECIMAL_PLACES.checked_sub(value.scale())?;
    let thousandths = u32::try_from(value.mantissa().checked_mul(10_i128.pow(places))?).ok()?;
    (1..=MAX_THOUSANDTHS).contains(&thousandths).then_some(thousandths)
}

impl TryFrom<String> for ReplaySpeed {
    type Error = ReplaySpeedError;
    fn try_from(text: String) -> Result<Self, ReplaySpeedError> {
        text.parse()
    }
}

impl fmt::Display for ReplaySpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", Decimal::new(self.0.into(), DECIMAL_PLACES).normalize())
    }
}

impl fmt::Debug for ReplaySpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The schedule of a replay: how long after its start each recorded tick is due.
#[derive(Debug, Clone, Copy)]
pub struct ReplayClock {
    /// The speed of the replay.
    pub speed: ReplaySpeed,
    /// The recorded time that the replay starts at.
    pub start: Timestamp,
}

impl ReplayClock {
    /// Returns how long after the start of the replay a tick of recorded time `at` is due. A tick from before the start
    /// is due at once.
    pub fn delay_until(self, at: Timestamp) -> Duration {
        let micros = at.micros() - self.start.micros();
        self.speed.replay_duration(u64::try_from(micros).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(text: &str) -> ReplaySpeed {
        text.parse().expect("a speed")
    }

    #[test]
    fn a_speed_divides_recorded_time() {
        assert_eq!(speed("60x").replay_duration(60_000_000), Duration::from_secs(1));
        assert_eq!(speed("0.5x").replay_duration(1_000_000), Duration::from_secs(2));
        assert_eq!(speed("0.0010x").replay_duration(u64::MAX), Duration::from_micros(u64::MAX));
        for bad in ["", "x", "60", "0x", "-1x", "0.0001x", "1000001x", "1e3x", "max"] {
            assert_eq!(bad.parse::<ReplaySpeed>(), Err(ReplaySpeedError(bad.to_owned())));
        }
    }

    #[test]
    fn a_speed_is_written_as_it_is_read() {
        assert_eq!(speed("1x"), ReplaySpeed::ONE);
        for text in ["60x", "0.5x", "0.001x", "1000000x"] {
            assert_eq!(speed(text).to_string(), text);
        }
    }

    #[test]
    fn ticks_are_due_by_their_own_time() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000).expect("a time");
        let clock = ReplayClock { speed: speed("10x"), start: at(5) };
        let delays = [5, 8, 1].map(|seconds| clock.delay_until(at(seconds)));
        assert_eq!(delays, [Duration::ZERO, Duration::from_millis(300), Duration::ZERO]);
    }
}
