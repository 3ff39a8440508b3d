//! Timestamps, periods and candle intervals of the event's own time. Nothing here reads a clock.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::rfc3339;

/// Text that is not a timestamp, period or interval.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TimeError {
    /// The text is not an RFC 3339 time from 1970 to 9999.
    #[error("must be an RFC 3339 time from 1970 to 9999, like 2018-04-05T00:01:00Z")]
    Timestamp,
    /// The text is not a whole number with a unit.
    #[error("must be a whole number with a unit, like 30s, 5m, 4h or 7d")]
    Period,
    /// The text is not a candle interval.
    #[error("must be one of 1m, 5m, 15m, 1h, 4h, 1d")]
    Interval,
}

const MICROS: i64 = 1_000_000;
/// The last microsecond of the year 9999, which is the last that RFC 3339 can write.
const LAST: i64 = 253_402_300_799_999_999;

/// A time in microseconds since 1970 in UTC, written in RFC 3339. Finer digits are cut off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The start of 1970.
    pub const EPOCH: Self = Self(0);
    /// The last microsecond of 9999.
    pub const LAST: Self = Self(LAST);

    /// Makes a timestamp from microseconds since 1970.
    pub fn from_micros(micros: i64) -> Result<Self, TimeError> {
        if (0..=LAST).contains(&micros) { Ok(Self(micros)) } else { Err(TimeError::Timestamp) }
    }

    /// Returns the microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Returns the time as a `chrono` type.
    pub fn datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// Returns `self + period`, at most the end of 9999.
    pub fn after(self, period: Period) -> Self {
        Self((self.0 + period.micros()).min(LAST))
    }

    /// Returns `self - period`, floored to a multiple of `grain`; `None` before 1970.
    pub fn before(self, period: Period, grain: Period) -> Option<Self> {
        let then = self.0 - period.micros();
        (then >= 0).then(|| Self(then - then % grain.micros()))
    }

    /// Returns the RFC 3339 text of the time, which is ASCII.
    pub fn to_text(self) -> [u8; 27] {
        rfc3339::write(self.0)
    }

    /// Returns the start of the UTC interval that contains the time.
    pub fn floor(self, interval: Interval) -> Self {
        Self(self.0 - self.0 % interval.span().micros())
    }
}

impl From<DateTime<Utc>> for Timestamp {
    /// Converts a time. One outside 1970 to 9999, which neither clock nor database holds, becomes the nearest end.
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros().clamp(0, LAST))
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        if let Some(micros) = rfc3339::parse_plain(text.as_bytes()) {
            return Self::from_micros(micros);
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::Timestamp)?;
        Self::from_micros(time.timestamp_micros())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_text();
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// A whole number of seconds, written with one unit: `30s`, `5m`, `4h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(u32);

impl Period {
    /// A period of no length.
    pub const ZERO: Self = Self(0);
    /// A period of one second.
    pub const SECOND: Self = Self(1);
    /// A period of one minute.
    pub const MINUTE: Self = Self(60);
    /// A period of one hour.
    pub const HOUR: Self = Self(3_600);
    /// A period of one day.
    pub const DAY: Self = Self(86_400);

    /// Makes a period from seconds.
    pub const fn seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Returns the length in seconds.
    pub const fn as_seconds(self) -> u32 {
        self.0
    }

    /// Returns the length in microseconds.
    pub const fn micros(self) -> i64 {
        self.0 as i64 * MICROS
    }
}

const UNITS: [(&str, u32); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

impl FromStr for Period {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let (number, seconds) = UNITS
            .iter()
            .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
            .ok_or(TimeError::Period)?;
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let number: u32 =
            if digits { number.parse().map_err(|_| TimeError::Period)? } else { return Err(TimeError::Period) };
        number.checked_mul(*seconds).map(Self).ok_or(TimeError::Period)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, seconds) =
            UNITS.iter().find(|(_, seconds)| self.0 != 0 && self.0.is_multiple_of(*seconds)).unwrap_or(&("s", 1));
        write!(f, "{}{unit}", self.0 / seconds)
    }
}

/// The length of a candle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interval {
    /// One minute, `1m` in JSON.
    Minute,
    /// Five minutes, `5m` in JSON.
    FiveMinutes,
    /// Fifteen minutes, `15m` in JSON.
    FifteenMinutes,
    /// One hour, `1h` in JSON.
    Hour,
    /// Four hours, `4h` in JSON.
    FourHours,
    /// One day in UTC, `1d` in JSON.
    Day,
}

impl Interval {
    /// All intervals, shortest first.
    pub const ALL: [Self; 6] =
        [Self::Minute, Self::FiveMinutes, Self::FifteenMinutes, Self::Hour, Self::FourHours, Self::Day];

    /// Returns the length of one candle.
    pub const fn span(self) -> Period {
        match self {
            Self::Minute => Period(60),
            Self::FiveMinutes => Period(300),
            Self::FifteenMinutes => Period(900),
            Self::Hour => Period::HOUR,
            Self::FourHours => Period(14_400),
            Self::Day => Period::DAY,
        }
    }
}

impl FromStr for Interval {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::ALL.into_iter().find(|interval| interval.to_string() == text).ok_or(TimeError::Interval)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.span().fmt(f)
    }
}

macro_rules! text {
    ($name:ident, $expecting:literal, $schema:tt) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text!(Timestamp, "an RFC 3339 time", { "type": "string", "format": "date-time" });
text!(Period, "a period like 30s, 5m, 4h or 7d", { "type": "string", "pattern": "^(([0-9]{1,9}|[1-3][0-9]{9})s|([0-9]{1,7}|[1-6][0-9]{7})m|([0-9]{1,6}|1[01][0-8][0-9]{4})h|([0-9]{1,4}|[1-4][0-8][0-9]{3})d)$" });
text!(Interval, "one of 1m, 5m, 15m, 1h, 4h, 1d", { "type": "string", "enum": ["1m", "5m", "15m", "1h", "4h", "1d"] });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_microseconds() {
        let time: Timestamp = "2023-06-01T09:45:46.4501+03:30".parse().expect("a time");
        assert_eq!(time.to_string(), "2023-06-01T06:15:46.450100Z");
        for bad in ["", "2023-06-01", "2023-06-01T09:45:46", "1969-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "now"] {
            assert_eq!(bad.parse::<Timestamp>(), Err(TimeError::Timestamp), "{bad}");
        }
    }

    #[test]
    fn periods_are_written_with_their_largest_whole_unit() {
        for (text, shown) in [("30s", "30s"), ("60s", "1m"), ("90m", "90m"), ("24h", "1d"), ("0s", "0s"), ("0d", "0s")]
        {
            assert_eq!(text.parse::<Period>().map(|span| span.to_string()), Ok(shown.to_owned()));
        }
        for bad in ["", "s", "5", "5 m", "-5m", "+5m", "1.5h", "5M", "99999999999s", "4294967295d"] {
            assert_eq!(bad.parse::<Period>(), Err(TimeError::Period), "{bad}");
        }
    }

    #[test]
    fn a_window_ends_on_the_grain_before_it() {
        let at: Timestamp = "2018-04-05T01:02:03.9Z".parse().expect("a time");
        let then = at.before(Period::seconds(30), Period::SECOND).expect("after 1970");
        assert_eq!(then.to_string(), "2018-04-05T01:01:33.000000Z");
        assert_eq!(Timestamp::EPOCH.before(Period::SECOND, Period::SECOND), None);
        assert_eq!(at.floor(Interval::FourHours).to_string(), "2018-04-05T00:00:00.000000Z");
    }
}
