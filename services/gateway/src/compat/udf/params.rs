//! The parameters that several operations take.

use std::str::FromStr;

use events::{Interval, Symbol, Timestamp};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::{compat::market_data::unknown_symbol, http::problem::Problem};

/// The resolutions that charts may ask for, with the interval of each. The last one is how others spell a day.
const RESOLUTIONS: [(&str, Interval); 7] = [
    ("1", Interval::Minute),
    ("5", Interval::FiveMinutes),
    ("15", Interval::FifteenMinutes),
    ("60", Interval::Hour),
    ("240", Interval::FourHours),
    ("1D", Interval::Day),
    ("D", Interval::Day),
];

/// The resolutions as they are offered.
pub(super) const SUPPORTED_RESOLUTIONS: [&str; 6] = ["1", "5", "15", "60", "240", "1D"];

/// The width of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resolution(pub(super) Interval);

impl FromStr for Resolution {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = RESOLUTIONS.iter().find(|(name, _)| *name == text);
        found.map(|(_, interval)| Self(*interval)).ok_or("must be 1, 5, 15, 60, 240 or 1D")
    }
}

/// The names of resolutions, for the OpenAPI document.
pub(super) struct ResolutionName;

impl PartialSchema for ResolutionName {
    fn schema() -> RefOr<Schema> {
        let names = RESOLUTIONS.map(|(name, _)| name);
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).examples(["60"]).into()
    }
}

impl ToSchema for ResolutionName {}

/// A time in seconds since 1970. Charts ask for times before 1970 and for times that are far ahead, where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Timestamp);

impl FromStr for Seconds {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = whole_number(text).ok_or("must be a whole number of seconds since 1970")?;
        let time = Timestamp::from_micros(seconds.max(0).saturating_mul(1_000_000));
        Ok(Self(time.unwrap_or(Timestamp::LAST)))
    }
}

/// A number of things from 1. A chart may ask for more than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(u16);

impl Count {
    /// Returns the number, and `most` where it is larger.
    pub(super) fn at_most(self, most: u16) -> u16 {
        self.0.min(most)
    }
}

impl FromStr for Count {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let count = whole_number(text).filter(|count| *count > 0).ok_or("must be a whole number from 1")?;
        Ok(Self(u16::try_from(count).unwrap_or(u16::MAX)))
    }
}

/// Reads a whole number of 64 bits, without a plus.
fn whole_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// Reads a symbol as charts send it. Text that is no symbol is not known.
pub(super) fn symbol(text: &str) -> Result<Symbol, Problem> {
    Symbol::from_spelling(text).map_err(|_| unknown_symbol())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_that_is_offered_is_an_interval() {
        for (resolution, interval) in SUPPORTED_RESOLUTIONS.into_iter().zip(Interval::ALL) {
            assert_eq!(resolution.parse(), Ok(Resolution(interval)));
        }
        assert_eq!("D".parse(), Ok(Resolution(Interval::Day)));
        for bad in ["", "2", "1W", "1d", "360"] {
            assert!(bad.parse::<Resolution>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_outside_of_all_that_is_stored_is_cut() {
        for (text, micros) in
            [("1522886400", 1_522_886_400_000_000), ("-5", 0), ("9223372036854775807", Timestamp::LAST.micros())]
        {
            assert_eq!(text.parse::<Seconds>().expect(text).0.micros(), micros);
        }
        for bad in ["", "-", "+1", "1.5", "NaN", "2018-04-05"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_count_that_is_too_large_is_cut() {
        for (text, expected) in [("1", 1), ("100", 100), ("101", 100), ("9223372036854775807", 100)] {
            assert_eq!(text.parse::<Count>().expect(text).at_most(100), expected);
        }
        for bad in ["0", "-1", "", "1.0"] {
            assert!(bad.parse::<Count>().is_err(), "{bad}");
        }
    }
}
