//! Times as the program itself writes them, `2018-04-05T13:45:00.001900Z`, read and written digit by digit: each tick has one.
//!
//! The calendar is Howard Hinnant's (<https://howardhinnant.github.io/date_algorithms.html>).

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The days from the first of March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;
/// The days of 400 years.
const DAYS_OF_ERA: i64 = 146_097;

/// Reads a time in UTC with at most nine digits behind the second, as microseconds since 1970; finer digits are cut off. Whatever
/// else may be a time is `None`, like one in another zone and a leap second.
pub(super) fn parse_plain(text: &[u8]) -> Option<i64> {
    let (second, rest) = text.split_first_chunk::<19>()?;
    let micros = match rest {
        [b'Z'] => 0,
        [b'.', a, b, c, d, e, f, b'Z'] => number([*a, *b, *c, *d, *e, *f])?,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let mut nanos = [b'0'; 9];
            nanos[..digits.len()].copy_from_slice(digits);
            number(nanos)? / 1_000
        }
        _ => return None,
    };
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1] = *second else {
        return None;
    };
    let (year, month, day) = (number([y0, y1, y2, y3])?, number([m0, m1])?, number([d0, d1])?);
    let (hour, minute, second) = (number([h0, h1])?, number([i0, i1])?, number([s0, s1])?);
    if day == 0 || day > days_of_month(year, month)? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = i64::from((hour * 60 + minute) * 60 + second);
    Some(days_since_1970(year, month, day) * DAY + seconds * SECOND + i64::from(micros))
}

/// Writes microseconds since 1970, of a year up to 9999.
pub(super) fn write(micros: i64) -> [u8; 27] {
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = date(days);
    let seconds = rest / SECOND;
    for (field, number) in [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, seconds / 3_600),
        (14..16, seconds / 60 % 60),
        (17..19, seconds % 60),
        (20..26, rest % SECOND),
    ] {
        let mut rest = number;
        for digit in text[field].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    text
}

/// Reads a number of so many digits, at most nine. They are checked together, which is faster than one by one.
fn number<const DIGITS: usize>(text: [u8; DIGITS]) -> Option<u32> {
    let digits = text.map(|byte| u32::from(byte.wrapping_sub(b'0')));
    let are_digits = digits.iter().fold(true, |all, digit| all & (*digit < 10));
    are_digits.then(|| digits.iter().fold(0, |number, digit| number * 10 + digit))
}

/// Returns the days of a month; `None` where no month has the number.
fn days_of_month(year: u32, month: u32) -> Option<u32> {
    const DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    Some(DAYS.get(month.checked_sub(1)? as usize)? + u32::from(month == 2 && is_leap))
}

/// Counts years from March, so that the day of a leap year is the last one, and from 400 years earlier, so that none is negative.
fn days_since_1970(year: u32, month: u32, day: u32) -> i64 {
    let year = year + 400 - u32::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (i64::from(era) - 1) * DAYS_OF_ERA + i64::from(day_of_era) - DAYS_TO_1970
}

fn date(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + DAYS_TO_1970;
    let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    let year = era * 400 + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, SecondsFormat};
    use proptest::prelude::*;

    use super::*;

    const LAST: i64 = 253_402_300_799_999_999;

    fn reference(text: &str) -> Option<i64> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
    }

    #[test]
    fn what_is_no_plain_time_is_left_to_the_library() {
        for text in [
            "",
            "Z",
            "2018-04-05T13:45:00+00:00",
            "2018-04-05T13:45:00.Z",
            "2018-04-05T13:45:00.0019001234Z",
            "2018-04-05t13:45:00Z",
            "2018-04-05 13:45:00Z",
            "2018-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2018-00-01T00:00:00Z",
            "2018-13-01T00:00:00Z",
            "2018-04-31T00:00:00Z",
            "2018-04-05T24:00:00Z",
            "2018-04-05T13:60:00Z",
            "2016-12-31T23:59:60Z",
            "+018-04-05T13:45:00Z",
            "2018-04-05T13:45:00,001900Z",
            "é018-04-05T13:45:00Z",
        ] {
            assert_eq!(parse_plain(text.as_bytes()), None, "{text}");
        }
        for text in [
            "2000-02-29T00:00:00Z",
            "1970-01-01T00:00:00.000000Z",
            "9999-12-31T23:59:59.999999Z",
            "0000-01-01T00:00:00Z",
            "2018-04-05T13:45:00.1Z",
            "2018-04-05T13:45:00.0012345Z",
            "2018-04-05T13:45:00.999999999Z",
        ] {
            assert_eq!(parse_plain(text.as_bytes()), reference(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_time_is_read_and_written_as_the_library_does(micros in 0..=LAST) {
            let time = DateTime::from_timestamp_micros(micros).expect("a time");
            let text = time.to_rfc3339_opts(SecondsFormat::Micros, true);
            let written = write(micros);
            prop_assert_eq!(std::str::from_utf8(&written), Ok(text.as_str()));
            prop_assert_eq!(parse_plain(text.as_bytes()), Some(micros));
            let text = time.to_rfc3339_opts(SecondsFormat::Secs, true);
            prop_assert_eq!(parse_plain(text.as_bytes()), Some(micros - micros % SECOND));
        }

        #[test]
        fn any_text_of_the_form_is_read_as_the_library_reads_it(text in "[0-9]{4}-[0-3][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?Z") {
            if let Some(micros) = parse_plain(text.as_bytes()) {
                prop_assert_eq!(Some(micros), reference(&text));
            } else {
                prop_assert!(reference(&text).is_none() || text.contains(":60"), "{text}");
            }
        }
    }
}
