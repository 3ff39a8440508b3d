//! Calendar months, by which the history is partitioned.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use events::Timestamp;

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    first_day: NaiveDate,
}

impl Month {
    /// Makes a month of a year and a number from 1 to 12; none when there is no such month.
    pub fn new(year: i32, month: u32) -> Option<Self> {
        NaiveDate::from_ymd_opt(year, month, 1).map(|first_day| Self { first_day })
    }

    /// Returns the month that contains a time.
    pub fn of(at: Timestamp) -> Self {
        let date = at.datetime().date_naive();
        Self { first_day: date.with_day(1).unwrap_or(date) }
    }

    /// Returns the month after this one.
    pub fn next(self) -> Self {
        let next = self.first_day.checked_add_months(chrono::Months::new(1));
        Self { first_day: next.unwrap_or(self.first_day) }
    }

    /// Returns the first day of the month.
    pub fn first_day(self) -> NaiveDate {
        self.first_day
    }

    /// Returns the time at which the month begins.
    pub fn start(self) -> DateTime<Utc> {
        self.first_day.and_time(NaiveTime::MIN).and_utc()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first_day.format("%Y-%m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn december_is_followed_by_january() {
        let december = Month::new(2018, 12).expect("a month");
        assert_eq!((december.to_string(), december.next().to_string()), ("2018-12".into(), "2019-01".into()));
        assert_eq!(Month::new(2018, 13), None);
    }

    #[test]
    fn a_month_contains_its_first_and_its_last_microsecond() {
        let january = Month::new(2019, 1).expect("a month");
        let start = Timestamp::from(january.start()).micros();
        let month_at = |micros| Month::of(Timestamp::from_micros(micros).expect("a time"));
        assert_eq!((month_at(start), month_at(start - 1)), (january, Month::new(2018, 12).expect("a month")));
    }
}
