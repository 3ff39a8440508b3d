//! When an exchange is open: its hours by its own clock, without holidays. A price that does not change while the exchange is
//! closed is not stale.
//!
//! `exchanges.json` has the calendars that are known, with the holidays that the exchanges have announced. A holiday that no
//! calendar has costs nothing but a feed that counts as stale on that day.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use events::Timestamp;
use jiff::{
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};
use serde::Deserialize;
use thiserror::Error;

const EXCHANGES: &str = include_str!("exchanges.json");
/// How far back open hours are counted: longer than any feed is silent before it counts as stale.
const MAX_DAYS: i64 = 31;
const DAY_MICROS: i64 = 86_400_000_000;
const WEEKDAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A calendar as it is written: lists are separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalendarText {
    /// The time zone of the exchange, like `America/New_York`.
    pub time_zone: String,
    /// The days of the week, like `mon-fri` or `sun,mon`; without them Monday to Friday.
    pub days: String,
    /// The hours of a day, like `09:30-16:00` or `09:00-11:30,12:30-15:30`.
    pub sessions: String,
    /// The dates on which the exchange is closed, like `2026-12-25`.
    pub holidays: String,
    /// The dates on which it closes early, and when, like `2026-11-27=13:00`.
    pub early_closes: String,
}

/// A text of a calendar that is not what it must be.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CalendarError {
    /// The time zone is not known.
    #[error("time_zone = {0:?} is no time zone: use a name like America/New_York or Europe/London")]
    TimeZone(String),
    /// The days are no days of the week.
    #[error("days = {0:?} are no days of the week: use mon-fri, or a list like sun,mon,tue")]
    Days(String),
    /// A session has no beginning, or no end after it.
    #[error("sessions = {0:?} are no hours: use 09:30-16:00, or several like 09:00-11:30,12:30-15:30, in their order")]
    Sessions(String),
    /// A holiday is no date.
    #[error("holidays has {0:?}, which is no date like 2026-12-25")]
    Holiday(String),
    /// An early close is no date and time.
    #[error("early_closes has {0:?}, which must be like 2026-11-27=13:00")]
    EarlyClose(String),
}

/// The opening hours of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionCalendar {
    zone: TimeZone,
    days: Vec<Weekday>,
    sessions: Vec<(Time, Time)>,
    holidays: BTreeSet<Date>,
    early_closes: BTreeMap<Date, Time>,
}

impl SessionCalendar {
    /// Returns the calendars that are known, by the name of the exchange.
    pub fn known() -> BTreeMap<String, CalendarText> {
        serde_json::from_str(EXCHANGES).expect("the file beside this one is such a map, and a test reads it")
    }

    /// Reads a calendar.
    pub fn parse(text: &CalendarText) -> Result<Self, CalendarError> {
        let zone = TimeZone::get(&text.time_zone).map_err(|_| CalendarError::TimeZone(text.time_zone.clone()))?;
        let days = parse_days(&text.days).ok_or_else(|| CalendarError::Days(text.days.clone()))?;
        let sessions = parse_sessions(&text.sessions).ok_or_else(|| CalendarError::Sessions(text.sessions.clone()))?;
        let holiday = |date: &str| date.parse().map_err(|_| CalendarError::Holiday(date.to_owned()));
        let early_close = |item: &str| {
            let parsed = item.split_once('=').and_then(|(date, time)| Some((date.parse().ok()?, parse_time(time)?)));
            parsed.ok_or_else(|| CalendarError::EarlyClose(item.to_owned()))
        };
        let holidays = items(&text.holidays).map(holiday).collect::<Result<_, _>>()?;
        let early_closes = items(&text.early_closes).map(early_close).collect::<Result<_, _>>()?;
        Ok(Self { zone, days, sessions, holidays, early_closes })
    }

    /// Returns whether the exchange is open.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let micros = at.micros();
        self.date(micros).is_some_and(|date| self.spans(date).any(|(from, to)| (from..to).contains(&micros)))
    }

    /// Returns how long the exchange was open between two times, of at most a month before the later one.
    pub fn open_time(&self, from: Timestamp, to: Timestamp) -> Duration {
        let (from, to) = (from.micros().max(to.micros() - MAX_DAYS * DAY_MICROS), to.micros());
        let (Some(mut date), Some(last)) = (self.date(from), self.date(to)) else { return Duration::ZERO };
        let mut open = 0;
        while date <= last {
            open += self.spans(date).map(|(opens, closes)| (closes.min(to) - opens.max(from)).max(0)).sum::<i64>();
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        Duration::from_micros(open.unsigned_abs())
    }

    fn date(&self, micros: i64) -> Option<Date> {
        Some(self.zone.to_datetime(jiff::Timestamp::from_microsecond(micros).ok()?).date())
    }

    /// Returns the open hours of a date, in microseconds since 1970.
    fn spans(&self, date: Date) -> impl Iterator<Item = (i64, i64)> {
        let is_open = self.days.contains(&date.weekday()) && !self.holidays.contains(&date);
        let sessions = if is_open { self.sessions.as_slice() } else { &[] };
        let early_close = self.early_closes.get(&date).copied();
        sessions.iter().filter_map(move |(opens, closes)| {
            let closes = early_close.map_or(*closes, |early| early.min(*closes));
            let micros = |time| Some(self.zone.to_timestamp(date.to_datetime(time)).ok()?.as_microsecond());
            if *opens < closes { Some((micros(*opens)?, micros(closes)?)) } else { None }
        })
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn parse_days(text: &str) -> Option<Vec<Weekday>> {
    let index = |name: &str| WEEKDAYS.iter().position(|(known, _)| *known == name);
    let mut days = Vec::new();
    for item in items(if text.is_empty() { "mon-fri" } else { text }) {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (first, last) = (index(first)?, index(last)?);
        // `sat-mon` goes over the end of the week.
        let count = (last + WEEKDAYS.len() - first) % WEEKDAYS.len() + 1;
        days.extend((first..first + count).map(|day| WEEKDAYS[day % WEEKDAYS.len()].1));
    }
    (!days.is_empty()).then_some(days)
}

fn parse_sessions(text: &str) -> Option<Vec<(Time, Time)>> {
    let mut sessions: Vec<(Time, Time)> = Vec::new();
    for item in items(text) {
        let (opens, closes) = item.split_once('-')?;
        let (opens, closes) = (parse_time(opens)?, parse_time(closes)?);
        if opens >= closes || sessions.last().is_some_and(|(_, before)| *before > opens) {
            return None;
        }
        sessions.push((opens, closes));
    }
    (!sessions.is_empty()).then_some(sessions)
}

/// Reads a time like `09:30`; `24:00` is the last moment of the day.
fn parse_time(text: &str) -> Option<Time> {
    let (hours, minutes) = text.trim().split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    match (hours.parse().ok()?, minutes.parse().ok()?) {
        (24, 0) => Some(Time::MAX),
        (hours, minutes) => Time::new(hours, minutes, 0, 0).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nyse() -> SessionCalendar {
        SessionCalendar::parse(&SessionCalendar::known()["nyse"]).expect("a calendar")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn the_known_calendars_can_be_read() {
        for (name, text) in SessionCalendar::known() {
            let calendar = SessionCalendar::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let weekend = calendar.holidays.iter().find(|date| !calendar.days.contains(&date.weekday()));
            assert_eq!(weekend, None, "{name}: a holiday at the weekend is a slip of the pen");
            assert!(calendar.early_closes.keys().all(|date| !calendar.holidays.contains(date)), "{name}");
        }
    }

    #[test]
    fn an_exchange_is_open_by_its_own_clock() {
        for (time, is_open) in [
            // Daylight saving time begins on 8 March and ends on 1 November 2026.
            ("2026-03-06T14:29:59Z", false),
            ("2026-03-06T14:30:00Z", true),
            ("2026-03-09T13:30:00Z", true),
            ("2026-03-09T19:59:59Z", true),
            ("2026-03-09T20:00:00Z", false),
            ("2026-11-02T14:29:00Z", false),
            ("2026-11-02T14:30:00Z", true),
            ("2026-11-28T16:00:00Z", false),
            ("2026-11-26T16:00:00Z", false),
            ("2026-11-27T17:59:00Z", true),
            ("2026-11-27T18:00:00Z", false),
        ] {
            assert_eq!(nyse().is_open(at(time)), is_open, "{time}");
        }
    }

    #[test]
    fn only_open_hours_count() {
        for (from, to, minutes) in [
            // Over a weekend, and over Thanksgiving with its short Friday.
            ("2026-11-20T20:59:00Z", "2026-11-23T14:31:00Z", 2),
            ("2026-11-25T20:50:00Z", "2026-11-30T14:35:00Z", 10 + 210 + 5),
            ("2026-11-24T15:00:00Z", "2026-11-24T15:07:00Z", 7),
            ("2026-11-24T15:07:00Z", "2026-11-24T15:00:00Z", 0),
            ("2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z", 0),
        ] {
            assert_eq!(nyse().open_time(at(from), at(to)), Duration::from_secs(minutes * 60), "{from} {to}");
        }
        let month = nyse().open_time(Timestamp::EPOCH, at("2026-03-01T00:00:00Z"));
        assert!(month > Duration::from_secs(3_600 * 100) && month < Duration::from_secs(3_600 * 24 * 31));
        nyse().open_time(Timestamp::EPOCH, Timestamp::LAST);
    }

    #[test]
    fn a_calendar_has_breaks_and_other_weeks() {
        let text = |days: &str, sessions: &str| CalendarText {
            time_zone: "Asia/Tokyo".to_owned(),
            days: days.to_owned(),
            sessions: sessions.to_owned(),
            ..CalendarText::default()
        };
        let tokyo = SessionCalendar::parse(&text("", "09:00-11:30,12:30-15:30")).expect("a calendar");
        let is_open = ["00:00", "02:30", "03:29", "03:30", "06:29", "06:30"]
            .map(|time| tokyo.is_open(at(&format!("2026-11-27T{time}:00Z"))));
        assert_eq!(is_open, [true, false, false, true, true, false]);
        let gulf = SessionCalendar::parse(&text("sun-thu", "00:00-24:00")).expect("a calendar");
        assert_eq!([28, 29].map(|day| gulf.is_open(at(&format!("2026-11-{day}T06:00:00Z")))), [false, true]);
        for (days, sessions) in [
            ("monday", "09:00-10:00"),
            ("", ""),
            ("", "10:00-09:00"),
            ("", "9-10"),
            ("", "09:00-12:00,11:00-13:00"),
            ("", "25:00-26:00"),
        ] {
            assert!(SessionCalendar::parse(&text(days, sessions)).is_err(), "{days} {sessions}");
        }
        let error = SessionCalendar::parse(&CalendarText { time_zone: "Mars".into(), ..text("", "09:00-10:00") });
        assert!(error.expect_err("no zone").to_string().contains("America/New_York"));
        for (holidays, early_closes) in [("2026-02-30", ""), ("", "2026-12-24"), ("", "2026-12-24=25:00")] {
            let text = CalendarText {
                holidays: holidays.to_owned(),
                early_closes: early_closes.to_owned(),
                ..text("", "09:00-10:00")
            };
            assert!(SessionCalendar::parse(&text).is_err(), "{holidays} {early_closes}");
        }
    }
}
