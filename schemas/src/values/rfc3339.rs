//! Times as the program itself writes them, `2018-04-05T13:45:00.001900Z`, read and written digit by digit: each tick has one.
//!
//! The calendar is Howard Hinnant's (<https://howardhinnant.github.io/date_algorithms.html>).

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The days from the first of March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;
/// The days of 400 years.
const DAYS_OF_ERA: i64 = 146_097;

/// Reads a time in UTC with six digits behind the second or with none, as microseconds since 1970. Whatever else may be a time is
/// `None`, like one in another zone and a leap second.
pub(super) fn parse_plain(text: &[u8]) -> Option<i64> {
    let micros = match text {
        [_, .., b'Z'] if text.len() == 20 => 0,
        [_, .., b'Z'] if text.len() == 27 && text[19] == b'.' => number(&text[20..26])?,
        _ => return None,
    };
    if [text[4], text[7], text[10], text[13], text[16]] != *b"--T::" {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    let is_date = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(days_since_1970(year, month, day) * DAY + seconds * SECOND + micros)
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

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts years from March, so that the day of a leap year is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_OF_ERA + day_of_era - DAYS_TO_1970
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
            "2018-04-05T13:45:00.001Z",
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
        fn any_text_of_the_form_is_read_as_the_library_reads_it(text in "[0-9]{4}-[0-3][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{6})?Z") {
            if let Some(micros) = parse_plain(text.as_bytes()) {
                prop_assert_eq!(Some(micros), reference(&text));
            } else {
                prop_assert!(reference(&text).is_none() || text.contains(":60"), "{text}");
            }
        }
    }
}
