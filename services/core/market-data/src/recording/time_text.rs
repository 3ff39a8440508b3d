//! The times of recordings: numbers since 1970, RFC 3339, and dates with times of day.

use std::str::FromStr;

use chrono::{Datelike, NaiveDate, Weekday};
use events::Timestamp;
use thiserror::Error;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// The unit of a time that is a number since the beginning of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// A number counts seconds, `s` on the command line.
    Seconds,
    /// A number counts milliseconds, `ms`.
    Milliseconds,
    /// A number counts microseconds, `us`.
    Microseconds,
    /// A number counts nanoseconds, `ns`.
    Nanoseconds,
}

/// The time zone of times that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeZone {
    /// A constant distance from UTC, in seconds to the east.
    Offset(i32),
    /// The time of New York, where the American exchanges are, with its daylight saving time.
    NewYork,
}

/// Text that is not a time, with what would be.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum TimeTextError {
    /// The text has none of the known shapes.
    #[error(
        "must be a time like 2018-04-05T00:01:00Z or 2018-04-05 00:01:00, or a number of seconds, milliseconds, microseconds or \
         nanoseconds since 1970"
    )]
    Shape,
    /// The number of digits tells no unit.
    #[error(
        "has {0} digits: times since 1970 have 10 in seconds, 13 in milliseconds, 16 in microseconds and 19 in nanoseconds; name \
         the unit of others with --time-unit"
    )]
    Digits(usize),
    /// The text is a time of day.
    #[error(
        "has no date: name its column with --columns date=NAME, or give the date of all lines with --date 2018-04-05"
    )]
    NoDate,
    /// The text is no date.
    #[error("must be a date like 2018-04-05 or 20180405")]
    Date,
    /// The time is outside 1970 to 9999.
    #[error("must be from 1970 to 9999")]
    Range,
}

/// An option that is not one of its values.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TimeOptionError {
    /// The text is no unit.
    #[error("{0:?} is not a unit of time: use s, ms, us or ns")]
    Unit(String),
    /// The text is no time zone.
    #[error("{0:?} is not a time zone: use UTC, an offset like +05:30, or America/New_York")]
    Zone(String),
}

/// The reader of times, with what a text may leave out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeReader {
    /// The unit of numbers; by default their number of digits tells it, which is unambiguous from 2001 on.
    pub(crate) unit: Option<TimeUnit>,
    /// The time zone of times that name none.
    pub(crate) zone: TimeZone,
    /// The date of times of day without one.
    pub(crate) date: Option<NaiveDate>,
}

/// Reads a time that has a date and, unless it is a number, a zone: RFC 3339, or a number of `unit` since 1970. Without a unit
/// the number of digits tells it.
pub fn read_time(text: &str, unit: Option<TimeUnit>) -> Result<Timestamp, TimeTextError> {
    TimeReader { unit, zone: TimeZone::Offset(0), date: None }.read(None, text)
}

impl TimeReader {
    /// Reads a time, whose date may be a text of its own. Digits beyond microseconds are cut off.
    pub(crate) fn read(&self, date: Option<&str>, time: &str) -> Result<Timestamp, TimeTextError> {
        if let Some(date) = date {
            let date = parse_date(date).ok_or(TimeTextError::Date)?;
            return self.on_date(date, time);
        }
        if let Ok(time) = time.parse::<Timestamp>() {
            return Ok(time);
        }
        if self.unit.is_none()
            && let Some(date) = self.date
        {
            return self.on_date(date, time);
        }
        if is_number(time) {
            return self.since_1970(time);
        }
        let (date, clock) = time.split_once(['T', 't', ' ']).unwrap_or((time, ""));
        match parse_date(date) {
            Some(date) => self.on_date(date, clock),
            None if parse_clock(time).is_some() => Err(TimeTextError::NoDate),
            None => Err(TimeTextError::Shape),
        }
    }

    /// Reads a time of day; an empty text is midnight.
    fn on_date(&self, date: NaiveDate, clock: &str) -> Result<Timestamp, TimeTextError> {
        let (clock, zone) = split_zone(clock.trim()).ok_or(TimeTextError::Shape)?;
        let clock = if clock.is_empty() { Some(0) } else { parse_clock(clock) };
        let local = days_since_1970(date) * 24 * HOUR + clock.ok_or(TimeTextError::Shape)?;
        let offset = zone.unwrap_or(self.zone).offset(date, local);
        Timestamp::from_micros(local - offset).map_err(|_| TimeTextError::Range)
    }

    fn since_1970(&self, text: &str) -> Result<Timestamp, TimeTextError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let unit = match (self.unit, whole.len()) {
            (Some(unit), _) => unit,
            (None, 10) => TimeUnit::Seconds,
            (None, 13) => TimeUnit::Milliseconds,
            (None, 16) => TimeUnit::Microseconds,
            (None, 19) => TimeUnit::Nanoseconds,
            // 20180405 and 20180405000100.
            (None, 8 | 14) if fraction.is_empty() => {
                let date = parse_date(&whole[..8]).ok_or(TimeTextError::Digits(whole.len()))?;
                return self.on_date(date, &whole[8..]);
            }
            (None, digits) => return Err(TimeTextError::Digits(digits)),
        };
        let whole: i128 = whole.parse().map_err(|_| TimeTextError::Range)?;
        let micros = match unit {
            TimeUnit::Seconds => whole.checked_mul(1_000_000).map(|micros| micros + i128::from(leading(fraction, 6))),
            TimeUnit::Milliseconds => whole.checked_mul(1_000).map(|micros| micros + i128::from(leading(fraction, 3))),
            TimeUnit::Microseconds => Some(whole),
            TimeUnit::Nanoseconds => Some(whole / 1_000),
        };
        let micros = micros.and_then(|micros| i64::try_from(micros).ok()).ok_or(TimeTextError::Range)?;
        Timestamp::from_micros(micros).map_err(|_| TimeTextError::Range)
    }
}

/// Reads a date like 2018-04-05, 2018/04/05 or 20180405.
pub(crate) fn parse_date(text: &str) -> Option<NaiveDate> {
    let digits: String = match text.len() {
        8 => text.to_owned(),
        10 if text.is_ascii() && matches!((&text[4..5], &text[7..8]), ("-", "-") | ("/", "/")) => {
            [&text[..4], &text[5..7], &text[8..]].concat()
        }
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |range| digits.get(range).and_then(|part: &str| part.parse::<u32>().ok());
    NaiveDate::from_ymd_opt(number(0..4)? as i32, number(4..6)?, number(6..8)?)
}

/// Reads a time of day, like 9:30, 09:30:00.5 or 093000500, in microseconds.
fn parse_clock(text: &str) -> Option<i64> {
    let (hours, minutes, seconds, fraction) = if text.contains(':') {
        let mut parts = text.splitn(3, ':');
        let (hours, minutes) = (parts.next()?, parts.next()?);
        let (seconds, fraction) = parts.next().map_or(("0", ""), |rest| rest.split_once('.').unwrap_or((rest, "")));
        (hours, minutes, seconds, fraction)
    } else {
        let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
        // Exchanges write hours, minutes, seconds and thousandths or billionths without anything between them.
        if !matches!((clock.len(), fraction), (6, _) | (9 | 12 | 15, "")) || !is_digits(clock) {
            return None;
        }
        (&clock[..2], &clock[2..4], &clock[4..6], if fraction.is_empty() { &clock[6..] } else { fraction })
    };
    let part = |text: &str, below: i64| {
        let number = if is_digits(text) && (1..=2).contains(&text.len()) { text.parse::<i64>().ok() } else { None };
        number.filter(|number| *number < below)
    };
    if !fraction.is_empty() && !is_digits(fraction) {
        return None;
    }
    let seconds = part(hours, 24)? * 3_600 + part(minutes, 60)? * 60 + part(seconds, 60)?;
    Some(seconds * SECOND + leading(fraction, 6))
}

/// Splits the zone off a time of day: `Z`, `UTC`, `+05:30`, `-0500` or `+01`. Returns `None` when it is none of them.
fn split_zone(text: &str) -> Option<(&str, Option<TimeZone>)> {
    let utc = ["Z", "z", "UTC", "GMT"].iter().find_map(|name| text.strip_suffix(name));
    if let Some(clock) = utc {
        return Some((clock.trim_end(), Some(TimeZone::Offset(0))));
    }
    match text.find(['+', '-']) {
        None => Some((text, None)),
        Some(at) => Some((text[..at].trim_end(), Some(TimeZone::Offset(parse_offset(&text[at..])?)))),
    }
}

fn parse_offset(text: &str) -> Option<i32> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.get(1..)?.replacen(':', "", 1);
    if !is_digits(&digits) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

impl TimeZone {
    /// Returns the distance from UTC, in microseconds to the east, at a local time.
    fn offset(self, date: NaiveDate, local_micros: i64) -> i64 {
        match self {
            Self::Offset(seconds) => i64::from(seconds) * SECOND,
            Self::NewYork if is_daylight_saving(date, local_micros) => -4 * HOUR,
            Self::NewYork => -5 * HOUR,
        }
    }
}

/// Returns whether New York has daylight saving time, by the Energy Policy Act of 2005 and, before 2007, the Uniform Time Act
/// with its amendment of 1986. The hour that occurs twice counts as the first.
fn is_daylight_saving(date: NaiveDate, local_micros: i64) -> bool {
    let year = date.year();
    let sunday = |month, nth| NaiveDate::from_weekday_of_month_opt(year, month, Weekday::Sun, nth);
    let last_sunday = |month| sunday(month, 5).or_else(|| sunday(month, 4));
    let (begins, ends) = match year {
        2007.. => (sunday(3, 2), sunday(11, 1)),
        1987..=2006 => (sunday(4, 1), last_sunday(10)),
        _ => (last_sunday(4), last_sunday(10)),
    };
    let at_two = |date: Option<NaiveDate>| date.map_or(0, |date| days_since_1970(date) * 24 * HOUR + 2 * HOUR);
    (at_two(begins)..at_two(ends)).contains(&local_micros)
}

fn days_since_1970(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// Returns the first `places` digits of a fraction as a number.
fn leading(fraction: &str, places: usize) -> i64 {
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(places);
    digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether the text is digits with at most one point between them.
fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    !whole.is_empty() && is_digits(whole) && is_digits(fraction)
}

impl FromStr for TimeUnit {
    type Err = TimeOptionError;
    fn from_str(text: &str) -> Result<Self, TimeOptionError> {
        match text {
            "s" => Ok(Self::Seconds),
            "ms" => Ok(Self::Milliseconds),
            "us" | "µs" => Ok(Self::Microseconds),
            "ns" => Ok(Self::Nanoseconds),
            _ => Err(TimeOptionError::Unit(text.to_owned())),
        }
    }
}

impl FromStr for TimeZone {
    type Err = TimeOptionError;
    fn from_str(text: &str) -> Result<Self, TimeOptionError> {
        let offset = || text.starts_with(['+', '-']).then(|| parse_offset(text)).flatten();
        match text {
            "UTC" => Ok(Self::Offset(0)),
            "America/New_York" => Ok(Self::NewYork),
            _ => offset().map(Self::Offset).ok_or_else(|| TimeOptionError::Zone(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(unit: &str, zone: &str, date: &str) -> TimeReader {
        let zone = zone.parse().expect("a zone");
        TimeReader { unit: unit.parse().ok(), zone, date: parse_date(date) }
    }

    fn read(reader: TimeReader, text: &str) -> Result<String, TimeTextError> {
        reader.read(None, text).map(|time| time.to_string())
    }

    #[test]
    fn a_time_is_read_in_the_shapes_that_vendors_write() {
        for (text, time) in [
            ("2013-10-07T04:00:00.4640009Z", "2013-10-07T04:00:00.464000Z"),
            ("2013-10-07T06:00:00+02:00", "2013-10-07T04:00:00.000000Z"),
            ("2013-10-07 04:00:00", "2013-10-07T04:00:00.000000Z"),
            ("2013-10-07 04:00:00.5 UTC", "2013-10-07T04:00:00.500000Z"),
            ("2013-10-07 04:00:00-0500", "2013-10-07T09:00:00.000000Z"),
            ("2013-10-07 04:00:00.123456+00", "2013-10-07T04:00:00.123456Z"),
            ("2013/10/07 4:00", "2013-10-07T04:00:00.000000Z"),
            ("2013-10-07T04:00:00", "2013-10-07T04:00:00.000000Z"),
            ("2013-10-07", "2013-10-07T00:00:00.000000Z"),
            ("20131007", "2013-10-07T00:00:00.000000Z"),
            ("20131007 040000", "2013-10-07T04:00:00.000000Z"),
            ("20131007040000", "2013-10-07T04:00:00.000000Z"),
            ("1735689600", "2025-01-01T00:00:00.000000Z"),
            ("1735689600.1234567", "2025-01-01T00:00:00.123456Z"),
            ("1735689600000", "2025-01-01T00:00:00.000000Z"),
            ("1735689600000.5", "2025-01-01T00:00:00.000500Z"),
            ("1735689600010866", "2025-01-01T00:00:00.010866Z"),
            ("1735689600010866999", "2025-01-01T00:00:00.010866Z"),
        ] {
            assert_eq!(read(reader("", "UTC", ""), text).as_deref(), Ok(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_option_that_helps() {
        for (text, why) in [
            ("", TimeTextError::Shape),
            ("soon", TimeTextError::Shape),
            ("2013-13-07", TimeTextError::Shape),
            ("07/10/2013 04:00", TimeTextError::Shape),
            ("2013-10-07 24:00:00", TimeTextError::Shape),
            ("2013-10-07 04:00:00+99", TimeTextError::Shape),
            ("2013-10-07 ０４:00", TimeTextError::Shape),
            ("09:30:00", TimeTextError::NoDate),
            ("12345", TimeTextError::Digits(5)),
            ("99999999999999999999", TimeTextError::Digits(20)),
            ("1969-12-31", TimeTextError::Range),
        ] {
            assert_eq!(read(reader("", "UTC", ""), text), Err(why), "{text}");
        }
        assert_eq!(
            read(reader("s", "UTC", ""), "999999999999999999999999999999999999999999"),
            Err(TimeTextError::Range)
        );
        for option in ["m", "", "seconds"] {
            assert!(option.parse::<TimeUnit>().is_err(), "{option}");
        }
        for option in ["", "CET", "5", "+5:30", "+25:00", "-99"] {
            assert!(option.parse::<TimeZone>().is_err(), "{option}");
        }
    }

    #[test]
    fn a_named_unit_wins_over_the_digits() {
        assert_eq!(read(reader("ms", "UTC", ""), "999999999999").as_deref(), Ok("2001-09-09T01:46:39.999000Z"));
        assert_eq!(read(reader("s", "UTC", ""), "20131007").as_deref(), Ok("1970-08-21T23:56:47.000000Z"));
        assert_eq!(read(reader("µs", "UTC", ""), "1").as_deref(), Ok("1970-01-01T00:00:00.000001Z"));
    }

    #[test]
    fn new_york_is_four_or_five_hours_behind() {
        let zone = reader("", "America/New_York", "");
        for (text, time) in [
            ("2013-10-07 09:30:00", "2013-10-07T13:30:00.000000Z"),
            ("2013-12-07 09:30:00", "2013-12-07T14:30:00.000000Z"),
            ("2013-03-10 01:59:59", "2013-03-10T06:59:59.000000Z"),
            ("2013-03-10 03:00:00", "2013-03-10T07:00:00.000000Z"),
            ("2013-11-03 01:30:00", "2013-11-03T05:30:00.000000Z"),
            ("2013-11-03 02:00:00", "2013-11-03T07:00:00.000000Z"),
            ("2006-10-29 03:00:00", "2006-10-29T08:00:00.000000Z"),
            ("2006-04-03 03:00:00", "2006-04-03T07:00:00.000000Z"),
            ("2013-10-07T09:30:00Z", "2013-10-07T09:30:00.000000Z"),
        ] {
            assert_eq!(read(zone, text).as_deref(), Ok(time), "{text}");
        }
        assert_eq!(read(reader("", "+05:30", ""), "2013-10-07 05:30:00").as_deref(), Ok("2013-10-07T00:00:00.000000Z"));
    }

    #[test]
    fn a_date_may_be_a_column_or_an_option_of_its_own() {
        let two =
            |date: &str, time: &str| reader("", "America/New_York", "").read(Some(date), time).map(|at| at.to_string());
        assert_eq!(two("20131007", "9:30:00.123456789").as_deref(), Ok("2013-10-07T13:30:00.123456Z"));
        assert_eq!(two("2013-10-07", "093000123456789").as_deref(), Ok("2013-10-07T13:30:00.123456Z"));
        assert_eq!(two("2013-10-07", "").as_deref(), Ok("2013-10-07T04:00:00.000000Z"));
        assert_eq!(two("today", "9:30:00"), Err(TimeTextError::Date));
        assert_eq!(two("2013-10-07", "34200"), Err(TimeTextError::Shape));
        assert_eq!(read(reader("", "UTC", "2013-10-07"), "093000").as_deref(), Ok("2013-10-07T09:30:00.000000Z"));
    }
}
