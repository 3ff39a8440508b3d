//! The values that all venues write in one of a few ways: prices, sizes, ids and times. Numbers are read digit by digit.

use std::{borrow::Cow, str::FromStr};

use events::{Price, Size, Timestamp, money::Rounded};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::{DecodeError, TradeId, VenueTrade};

const MICROS: i64 = 1_000_000;

/// The texts that make a trade.
pub(super) struct TradeFields<'frame, 'text> {
    pub(super) product: Cow<'frame, str>,
    pub(super) id: TradeId<'frame>,
    pub(super) price: (&'static str, &'text str),
    pub(super) size: (&'static str, &'text str),
    pub(super) at: Timestamp,
}

impl<'frame> TradeFields<'frame, '_> {
    /// Reads price and size.
    pub(super) fn trade(self) -> Result<VenueTrade<'frame>, DecodeError> {
        let price: Rounded<Price> = amount(self.price)?;
        let size: Rounded<Size> = amount(self.size)?;
        let was_rounded = price.was_rounded || size.was_rounded;
        let Self { product, id, at, .. } = self;
        Ok(VenueTrade { product, id, price: price.value, size: size.value, at, was_rounded })
    }
}

fn amount<T: FromStr<Err = events::money::AmountError>>((field, text): (&'static str, &str)) -> Result<T, DecodeError> {
    text.parse().map_err(|error| DecodeError::value(field, text, error))
}

/// Text in JSON, borrowed unless it has escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'frame>(#[serde(borrow)] pub(super) Cow<'frame, str>);

/// Reads an RFC 3339 time.
pub(super) fn rfc3339(field: &'static str, text: &str) -> Result<Timestamp, DecodeError> {
    if let Some(time) = plain_rfc3339(text) {
        return Ok(time);
    }
    text.parse().map_err(|error| DecodeError::value(field, text, error))
}

/// Reads `2021-04-17T16:43:30.244075Z`, which nearly all times are: in UTC, with at most nine digits behind the point.
fn plain_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let (day, rest) = bytes.split_at_checked(20)?;
    let number = |range: std::ops::Range<usize>| digits(day.get(range)?);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| day[*at] != *mark) {
        return None;
    }
    let fraction = match (day[19], rest) {
        (b'Z', []) => 0,
        (b'.', [fraction @ .., b'Z']) if (1..=9).contains(&fraction.len()) => {
            let cut = &fraction[..fraction.len().min(6)];
            digits(cut)? * 10_i64.pow(6 - cut.len() as u32) + digits(fraction).map(|_| 0)?
        }
        _ => return None,
    };
    let (year, month, date) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let days = days_since_1970(year, month, date)?;
    let is_time = hour < 24 && minute < 60 && second < 60;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    if is_time { Timestamp::from_micros(seconds * MICROS + fraction).ok() } else { None }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + i64::from(digit))
    })
}

/// Returns the days from 1970 to a date of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms"); none for a date that does not exist.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    const LENGTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = LENGTHS.get(usize::try_from(month - 1).ok()?)? + i64::from(month == 2 && is_leap);
    if !(1..=length).contains(&day) {
        return None;
    }
    let years = if month <= 2 { year - 1 } else { year };
    let era = years.div_euclid(400);
    let year_of_era = years.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Reads a time in milliseconds since 1970.
pub(super) fn millis(field: &'static str, millis: i64) -> Result<Timestamp, DecodeError> {
    let time = millis.checked_mul(1_000).and_then(|micros| Timestamp::from_micros(micros).ok());
    time.ok_or_else(|| DecodeError::value(field, &millis.to_string(), "must be milliseconds since 1970"))
}

/// Reads a time since 1970 as a whole number of a unit, in text.
pub(super) fn unix_text(field: &'static str, text: &str, units_per_second: i64) -> Result<Timestamp, DecodeError> {
    let reason = "must be a whole number of units since 1970";
    let number: i64 = text.parse().map_err(|_| DecodeError::value(field, text, reason))?;
    // A division of 128 bits would take as long as the rest of the field.
    let micros = match units_per_second {
        ..=MICROS => number.checked_mul(MICROS / units_per_second),
        _ => Some(number / (units_per_second / MICROS)),
    };
    let time = micros.and_then(|micros| Timestamp::from_micros(micros).ok());
    time.ok_or_else(|| DecodeError::value(field, text, reason))
}

/// Reads a time in seconds since 1970 with digits behind the point; finer ones than microseconds are cut off.
pub(super) fn decimal_seconds(field: &'static str, text: &str) -> Result<Timestamp, DecodeError> {
    let reason = "must be seconds since 1970";
    let read = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let (seconds, cut) = (whole.as_bytes(), &fraction.as_bytes()[..fraction.len().min(6)]);
        if seconds.is_empty()
            || seconds.len() > 12
            || digits(fraction.get(..fraction.len().min(18))?.as_bytes()).is_none()
        {
            return None;
        }
        let micros = digits(cut)? * 10_i64.pow(6 - cut.len() as u32);
        Timestamp::from_micros(digits(seconds)? * MICROS + micros).ok()
    };
    read().ok_or_else(|| DecodeError::value(field, text, reason))
}

/// Reads an id that is written as text.
pub(super) fn id_text(field: &'static str, text: &str) -> Result<u64, DecodeError> {
    text.parse().map_err(|_| DecodeError::value(field, text, "must be a whole number"))
}

/// Returns the text of a JSON number, or the content of a JSON text without escapes.
pub(super) fn raw_text<'frame>(field: &'static str, raw: &'frame RawValue) -> Result<&'frame str, DecodeError> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let inner = text.trim_matches('"');
            if inner.contains('\\') {
                Err(DecodeError::value(field, text, "must be a plain number"))
            } else {
                Ok(inner)
            }
        }
        Some(b'0'..=b'9' | b'-') => Ok(text),
        _ => Err(DecodeError::value(field, text, "must be a number")),
    }
}

/// Returns the value of the first key of a JSON object, where the key is `key` and the value a text without escapes. Most
/// venues write the type of a message first, and what is not wanted is recognised without parsing the rest.
pub(super) fn leading_text<'frame>(frame: &'frame str, key: &str) -> Option<&'frame str> {
    let rest = frame.trim_ascii_start().strip_prefix('{')?.trim_ascii_start().strip_prefix('"')?;
    let rest = rest.strip_prefix(key)?.strip_prefix('"')?.trim_ascii_start().strip_prefix(':')?;
    let rest = rest.trim_ascii_start().strip_prefix('"')?;
    let end = rest.as_bytes().iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (rest.as_bytes()[end] == b'"').then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_time_is_what_the_calendar_says() {
        for text in [
            "2021-04-17T16:43:30.244075Z",
            "2000-02-29T23:59:59Z",
            "1970-01-01T00:00:00.1Z",
            "9999-12-31T23:59:59.999999999Z",
            "2024-12-31T00:00:00.000001Z",
            "2026-03-01T12:00:00.123456789Z",
        ] {
            assert_eq!(plain_rfc3339(text), Some(text.parse().expect("a time")), "{text}");
        }
        for day in 0..60_000_i64 {
            let time = Timestamp::from_micros(day * 86_400 * MICROS + 1).expect("a time");
            assert_eq!(plain_rfc3339(&time.to_string()), Some(time));
        }
        for text in ["2021-02-29T00:00:00Z", "2021-04-17T24:00:00Z", "2021-04-17T16:43:30.Z", "2021-04-17", "", "é"] {
            assert!(plain_rfc3339(text).is_none() && rfc3339("time", text).is_err(), "{text}");
        }
        let zoned = rfc3339("time", "2021-04-17T18:43:30.244075+02:00").expect("a time");
        assert_eq!(zoned.to_string(), "2021-04-17T16:43:30.244075Z");
    }

    #[test]
    fn seconds_with_a_fraction_are_cut_to_microseconds() {
        for (text, micros) in [
            ("1688669597.8277369", 1_688_669_597_827_736),
            ("1688669597", 1_688_669_597_000_000),
            ("0.000001", 1),
            ("1688669597.5", 1_688_669_597_500_000),
        ] {
            assert_eq!(decimal_seconds("time", text).expect("a time").micros(), micros, "{text}");
        }
        for bad in ["", ".5", "1e9", "-1", "1.2.3", "99999999999999", "1.x"] {
            assert!(decimal_seconds("time", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_type_of_a_message_is_read_where_it_stands_first() {
        assert_eq!(leading_text(r#"{"type":"match","x":1}"#, "type"), Some("match"));
        assert_eq!(leading_text(" {\n \"type\" : \"a\" }", "type"), Some("a"));
        for other in [r#"{"x":1,"type":"match"}"#, r#"{"type":1}"#, r#"{"type":"a\"b"}"#, r#"{"type":"a"#, "", "[]"] {
            assert_eq!(leading_text(other, "type"), None, "{other}");
        }
    }

    #[test]
    fn a_raw_number_keeps_its_digits() {
        let raw = |text: &'static str| serde_json::from_str::<&RawValue>(text).expect("JSON");
        assert_eq!(raw_text("price", raw("0.10000000000000000001")).expect("a number"), "0.10000000000000000001");
        assert_eq!(raw_text("price", raw("\"5.1\"")).expect("a number"), "5.1");
        for bad in ["null", "[]", "true", r#""5\u0030""#] {
            assert!(raw_text("price", raw(bad)).is_err(), "{bad}");
        }
    }
}
