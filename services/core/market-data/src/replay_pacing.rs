//! How fast recorded time is played.

use std::{fmt, str::FromStr, time::Duration};

use events::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use thiserror::Error;

/// Text that is no factor.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("{0:?} is no factor: use 0.001x to 1000000x, like 60x")]
pub struct ReplaySpeedError(String);

/// How many times as fast as it was recorded, in thousandths: 1 to 1,000,000,000.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ReplaySpeed(u32);

const PLACES: u32 = 3;
const LIMIT: u32 = 1_000_000_000;

impl ReplaySpeed {
    /// As fast as it was recorded.
    pub const ONE: Self = Self(1_000);

    /// How long a stretch of recorded time, in microseconds, takes to play.
    pub fn played(self, micros: u64) -> Duration {
        let played = u128::from(micros) * 1_000 / u128::from(self.0);
        Duration::from_micros(u64::try_from(played).unwrap_or(u64::MAX))
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
    let places = PLACES.checked_sub(value.scale())?;
    let thousandths = u32::try_from(value.mantissa().checked_mul(10_i128.pow(places))?).ok()?;
    (1..=LIMIT).contains(&thousandths).then_some(thousandths)
}

impl TryFrom<String> for ReplaySpeed {
    type Error = ReplaySpeedError;
    fn try_from(text: String) -> Result<Self, ReplaySpeedError> {
        text.parse()
    }
}

impl fmt::Display for ReplaySpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", Decimal::new(self.0.into(), PLACES).normalize())
    }
}

impl fmt::Debug for ReplaySpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When recorded prices are due, counted from the first.
#[derive(Debug, Clone, Copy)]
pub struct ReplayClock {
    /// How fast it is played.
    pub factor: ReplaySpeed,
    /// The recorded time that is due at once.
    pub start: Timestamp,
}

impl ReplayClock {
    /// How long after the start the price of a recorded time is due. One from before the start is due at once.
    pub fn due(self, at: Timestamp) -> Duration {
        let micros = at.micros() - self.start.micros();
        self.factor.played(u64::try_from(micros).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(text: &str) -> ReplaySpeed {
        text.parse().expect("a factor")
    }

    #[test]
    fn a_factor_divides_recorded_time() {
        assert_eq!(factor("60x").played(60_000_000), Duration::from_secs(1));
        assert_eq!(factor("0.5x").played(1_000_000), Duration::from_secs(2));
        assert_eq!(factor("0.0010x").played(u64::MAX), Duration::from_micros(u64::MAX));
        for bad in ["", "x", "60", "0x", "-1x", "0.0001x", "1000001x", "1e3x", "max"] {
            assert_eq!(bad.parse::<ReplaySpeed>(), Err(ReplaySpeedError(bad.to_owned())));
        }
    }

    #[test]
    fn a_factor_is_written_as_it_is_read() {
        assert_eq!(factor("1x"), ReplaySpeed::ONE);
        for text in ["60x", "0.5x", "0.001x", "1000000x"] {
            assert_eq!(factor(text).to_string(), text);
        }
    }

    #[test]
    fn prices_are_due_by_their_own_time() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000).expect("a time");
        let pace = ReplayClock { factor: factor("10x"), start: at(5) };
        let due = [5, 8, 1].map(|seconds| pace.due(at(seconds)));
        assert_eq!(due, [Duration::ZERO, Duration::from_millis(300), Duration::ZERO]);
    }
}
