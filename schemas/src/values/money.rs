//! Exact amounts. On the wire they are decimal text; a JSON number is read digit by digit as it is written.
//!
//! A price or a size fits [`PLACES`] decimal places, [`MAX_DIGITS`] digits and [`LIMIT`] units. It is a [`Decimal`] without
//! rounding, and a whole number of 10⁻¹⁸ units that fits an `i128`. A product of it with a percentage may need 256 bits.
//!
//! Events, rules and orders are read strictly: a digit that cannot be stored is an error. Files and price APIs print what
//! their floats hold; their numbers are read as [`Rounded`], which says whether digits were cut.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::decimal_text::{self, DecimalText, DecimalTextError, Short};

/// The largest number of decimal places of a price or a size.
pub const PLACES: u32 = 18;
/// The largest number of decimal places of an amount.
pub const AMOUNT_PLACES: u32 = 12;
/// The largest number of digits of a price or a size.
pub const MAX_DIGITS: u32 = decimal_text::MAX_DIGITS;
/// The exclusive upper bound of a price, a size or an amount, in units.
pub const LIMIT: i64 = 100_000_000_000_000;
/// The number of decimal places of a percentage.
pub const PERCENT_PLACES: u32 = 6;
/// The number of smallest units in one unit of a price or a size.
pub const UNIT: i128 = 10_i128.pow(PLACES);
/// The number of smallest units in one percent.
pub const PERCENT_UNIT: i128 = 10_i128.pow(PERCENT_PLACES);

/// Text or a number that is not an amount.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum AmountError {
    /// The text is not a number.
    #[error("must be a decimal like \"6804.91\"")]
    NotDecimal,
    /// The price is not above zero.
    #[error("must be above 0")]
    NotPositive,
    /// The price is nearer to zero than to the smallest price.
    #[error("must be at least 0.000000000000000001")]
    TooSmall,
    /// The size or amount is negative.
    #[error("must not be negative")]
    Negative,
    /// The value is too large.
    #[error("must be below {LIMIT}")]
    TooLarge,
    /// The value has more digits than can be stored exactly.
    #[error("must have at most {0} decimal places")]
    TooPrecise(u32),
    /// The value has more digits, before and behind the point together, than can be stored exactly.
    #[error("must have at most {MAX_DIGITS} digits")]
    TooManyDigits,
    /// The percentage is out of range.
    #[error("must be from 0.01 to 1000")]
    PercentRange,
}

/// The price of one unit of a symbol: above zero, below [`LIMIT`], at most [`PLACES`] places and [`MAX_DIGITS`] digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(Decimal);

/// The size of an order or a trade: not negative, below [`LIMIT`], at most [`PLACES`] places and [`MAX_DIGITS`] digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(Decimal);

/// An amount of an asset: not negative, below [`LIMIT`], at most [`AMOUNT_PLACES`] places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

/// The change that a rule waits for, in percent: 0.01 to 1000, at most [`PERCENT_PLACES`] places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(Decimal);

impl Price {
    /// Checks a value. The price has the scale of the value (`167.4100` stays `167.4100`).
    pub fn new(value: Decimal) -> Result<Self, AmountError> {
        if value.is_zero() || value.is_sign_negative() {
            return Err(AmountError::NotPositive);
        }
        bounded(value, PLACES).map(Self)
    }

    /// Returns the price as a whole number of 10⁻¹⁸ units, which is below 10³².
    pub fn units(self) -> i128 {
        units(self.0, PLACES)
    }
}

impl Size {
    /// Checks a value.
    pub fn new(value: Decimal) -> Result<Self, AmountError> {
        not_negative(value, PLACES).map(Self)
    }
}

impl Amount {
    /// Checks a value.
    pub fn new(value: Decimal) -> Result<Self, AmountError> {
        not_negative(value, AMOUNT_PLACES).map(Self)
    }
}

impl Percent {
    /// Checks a value.
    pub fn new(value: Decimal) -> Result<Self, AmountError> {
        if value < Decimal::new(1, 2) || value > Decimal::ONE_THOUSAND {
            return Err(AmountError::PercentRange);
        }
        places(value, PERCENT_PLACES).map(Self)
    }

    /// Returns the percentage as a whole number of 10⁻⁶ percent.
    pub fn units(self) -> i128 {
        units(self.0, PERCENT_PLACES)
    }
}

fn not_negative(value: Decimal, most_places: u32) -> Result<Decimal, AmountError> {
    if value.is_sign_negative() && !value.is_zero() {
        return Err(AmountError::Negative);
    }
    bounded(value, most_places)
}

fn bounded(value: Decimal, most_places: u32) -> Result<Decimal, AmountError> {
    // Nearly all values have so few digits that nothing has to be compared, which would bring both sides to one scale.
    if value.scale() <= most_places && value.mantissa().unsigned_abs() < u128::from(LIMIT.unsigned_abs()) {
        return Ok(value);
    }
    if value >= Decimal::from(LIMIT) {
        return Err(AmountError::TooLarge);
    }
    let value = places(value, most_places)?;
    // A `Decimal` may have 29 digits, of which not all fit every operation.
    if value.mantissa().unsigned_abs() < 10_u128.pow(MAX_DIGITS) {
        return Ok(value);
    }
    let plain = value.normalize();
    if plain.mantissa().unsigned_abs() < 10_u128.pow(MAX_DIGITS) { Ok(plain) } else { Err(AmountError::TooManyDigits) }
}

fn places(value: Decimal, most: u32) -> Result<Decimal, AmountError> {
    if value.scale() <= most {
        return Ok(value);
    }
    // Trailing zeros beyond the last place are cut: 1.0000000000000 is 1.
    let plain = value.normalize();
    if plain.scale() <= most { Ok(plain) } else { Err(AmountError::TooPrecise(most)) }
}

fn units(value: Decimal, places: u32) -> i128 {
    value.mantissa() * POWERS_OF_TEN[(places - value.scale()) as usize]
}

/// The powers of ten up to that of [`PLACES`].
const POWERS_OF_TEN: [i128; PLACES as usize + 1] = {
    let mut powers = [1; PLACES as usize + 1];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
};

impl From<DecimalTextError> for AmountError {
    fn from(error: DecimalTextError) -> Self {
        match error {
            DecimalTextError::NotDecimal => Self::NotDecimal,
            DecimalTextError::TooLarge { is_negative: true } => Self::Negative,
            DecimalTextError::TooLarge { is_negative: false } => Self::TooLarge,
        }
    }
}

/// Reads decimal text, of which no digit may be lost.
fn exact(text: &str) -> Result<Decimal, AmountError> {
    let DecimalText { value, was_rounded, whole_digits } = DecimalText::parse(text, MAX_DIGITS)?;
    match was_rounded {
        false => Ok(value),
        true if whole_digits > i64::from(MAX_DIGITS - PLACES) => Err(AmountError::TooManyDigits),
        true => Err(AmountError::TooPrecise(PLACES)),
    }
}

fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    deserialize_text(deserializer, exact)
}

/// Reads text or a JSON number, which `arbitrary_precision` hands over as it was written.
fn deserialize_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(&str) -> Result<T, AmountError>,
) -> Result<T, D::Error> {
    struct Text<T>(fn(&str) -> Result<T, AmountError>);
    impl<'de, T> de::Visitor<'de> for Text<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a decimal as text or a number")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            let number = serde_json::Number::deserialize(de::value::MapAccessDeserializer::new(map))
                .map_err(|_| de::Error::invalid_type(de::Unexpected::Map, &self))?;
            self.visit_str(number.as_str())
        }
    }
    deserializer.deserialize_any(Text(parse))
}

macro_rules! amount {
    ($name:ident) => {
        impl $name {
            /// Returns the exact value.
            pub fn decimal(self) -> Decimal {
                self.0
            }
        }
        impl FromStr for $name {
            type Err = AmountError;
            fn from_str(text: &str) -> Result<Self, AmountError> {
                exact(text).and_then(Self::new)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize(deserializer).and_then(|value| Self::new(value).map_err(de::Error::custom))
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$" })
            }
        }
    };
}

amount!(Price);
amount!(Size);
amount!(Amount);
amount!(Percent);

/// A number from outside, and whether it is the number that was written.
///
/// Reading one rounds half to even at the last digit that can be stored: [`PLACES`] places and [`MAX_DIGITS`] digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Rounded<T> {
    /// The nearest value that can be stored.
    pub value: T,
    /// Whether digits other than zero were cut.
    #[serde(skip)]
    pub was_rounded: bool,
}

impl<T: fmt::Display> fmt::Display for Rounded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> From<T> for Rounded<T> {
    fn from(value: T) -> Self {
        Self { value, was_rounded: false }
    }
}

impl Rounded<Price> {
    fn round(text: &str) -> Result<Self, AmountError> {
        let DecimalText { value, was_rounded, .. } = DecimalText::parse(text, PLACES)?;
        if value.is_zero() && was_rounded && !text.starts_with('-') {
            return Err(AmountError::TooSmall);
        }
        Ok(Self { value: Price::new(value)?, was_rounded })
    }
}

impl Rounded<Size> {
    fn round(text: &str) -> Result<Self, AmountError> {
        let DecimalText { value, was_rounded, .. } = DecimalText::parse(text, PLACES)?;
        if text.starts_with('-') && was_rounded {
            return Err(AmountError::Negative);
        }
        Ok(Self { value: Size::new(value)?, was_rounded })
    }
}

/// Reads a number that has so few digits that it is within every bound, except that it may be 0.
#[inline]
fn short(text: &str) -> Option<Decimal> {
    let Short { mantissa, scale } = Short::parse(text).filter(|short| short.mantissa < LIMIT)?;
    Some(Decimal::new(mantissa, scale))
}

impl FromStr for Rounded<Price> {
    type Err = AmountError;
    #[inline]
    fn from_str(text: &str) -> Result<Self, AmountError> {
        if let Some(value) = short(text).filter(|value| !value.is_zero()) {
            return Ok(Self { value: Price(value), was_rounded: false });
        }
        Self::round(text)
    }
}

impl FromStr for Rounded<Size> {
    type Err = AmountError;
    #[inline]
    fn from_str(text: &str) -> Result<Self, AmountError> {
        if let Some(value) = short(text) {
            return Ok(Self { value: Size(value), was_rounded: false });
        }
        Self::round(text)
    }
}

impl<'de, T> Deserialize<'de> for Rounded<T>
where
    Self: FromStr<Err = AmountError>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |text| text.parse())
    }
}

/// Returns `(price - reference) / reference × 100`, rounded half-even to 4 places.
pub fn change_percent(price: Price, reference: Price) -> Decimal {
    let reference = reference.units();
    // Below 10³² × 10⁶, which an `i128` holds.
    let scaled = (price.units() - reference) * 1_000_000;
    let (quotient, remainder) = (scaled.div_euclid(reference), scaled.rem_euclid(reference));
    let rounded = match (remainder * 2).cmp(&reference) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
    };
    // A change that does not fit, like from 1e-18 to 1e14, becomes the largest value that does.
    Decimal::try_from_i128_with_scale(rounded, 4).unwrap_or(Decimal::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().expect("a price")
    }

    #[test]
    fn a_price_keeps_the_digits_it_was_written_with() {
        assert_eq!(price("167.4100").to_string(), "167.4100");
        assert_eq!(price("167.4100"), price("167.41"));
        assert_eq!(serde_json::from_str::<Price>("6804.910").expect("a number").to_string(), "6804.910");
        assert_eq!(serde_json::from_str::<Price>("1e-8").expect("a number").to_string(), "0.00000001");
        assert_eq!(serde_json::from_str::<Price>("1.5E3").expect("a number").to_string(), "1500");
        assert_eq!(serde_json::from_str::<Price>("499").expect("a number").to_string(), "499");
    }

    #[test]
    fn what_is_no_price_is_refused_with_what_would_be() {
        for (bad, why) in [
            ("\"\"", "decimal"),
            ("\"abc\"", "decimal"),
            ("\"0\"", "above 0"),
            ("\"-1\"", "above 0"),
            ("0", "above 0"),
            ("-0.5", "above 0"),
            ("\"NaN\"", "decimal"),
            ("\"1_0\"", "decimal"),
            ("1e400", "below"),
            ("1e-400", "places"),
            ("\"100000000000000\"", "below"),
            ("\"0.0000000000000000001\"", "18 decimal places"),
            ("\"12345678901.123456789012345678\"", "28 digits"),
            ("\"1e\"", "decimal"),
            ("\"1e1e1\"", "decimal"),
            ("\"1.2.3\"", "decimal"),
            ("\".\"", "decimal"),
            ("\"+-1\"", "decimal"),
            ("true", "decimal"),
            ("{}", "decimal"),
            ("\"123456789012345678901234567890\"", "below"),
            ("\"1.23456789012345678901234567890123\"", "places"),
        ] {
            let error = serde_json::from_str::<Price>(bad).expect_err(bad).to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn what_floats_print_is_rounded_where_it_comes_in_and_nowhere_else() {
        let text = "0.00004841587973576128";
        let read: Rounded<Price> = serde_json::from_str(text).expect("a price");
        assert_eq!((read.value.to_string().as_str(), read.was_rounded), ("0.000048415879735761", true));
        assert_eq!(text.parse(), Ok(read));
        assert_eq!(text.parse::<Price>(), Err(AmountError::TooPrecise(18)));
        assert_eq!("0.10".parse(), Ok(Rounded::from(price("0.10"))));
        // Rounded up, these have one digit more than before.
        let carried: Rounded<Price> = "99999999999.99999999999999999999".parse().expect("a price");
        assert_eq!(carried.value.to_string(), "100000000000");
        for (text, why) in [
            ("1e-30", "at least 0.000000000000000001"),
            ("0", "above 0"),
            ("-0.0000000000000000000000001", "above 0"),
            ("-1", "above 0"),
            ("1e14", "below"),
            ("99999999999999.99999999999999999", "below"),
            ("1,5", "decimal"),
        ] {
            let error = text.parse::<Rounded<Price>>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!("1e-30".parse::<Rounded<Size>>().is_ok_and(|size| size.value.decimal().is_zero() && size.was_rounded));
        assert_eq!("-1e-30".parse::<Rounded<Size>>(), Err(AmountError::Negative));
    }

    #[test]
    fn a_percentage_has_a_range() {
        assert!("0.01".parse::<Percent>().is_ok() && "1000".parse::<Percent>().is_ok());
        for bad in ["0", "0.009", "1000.000001", "-5"] {
            assert_eq!(bad.parse::<Percent>(), Err(AmountError::PercentRange), "{bad}");
        }
    }

    #[test]
    fn change_is_rounded_half_to_even() {
        for (now, then, change) in [
            ("98", "104", "-5.7692"),
            ("110.25", "98", "12.5000"),
            ("110.25", "104", "6.0096"),
            ("6721", "6654.04", "1.0063"),
            ("1.0000005", "1", "0.0000"),
            ("1.0000015", "1", "0.0002"),
            ("0.9999995", "1", "0.0000"),
            ("0.9999985", "1", "-0.0002"),
        ] {
            assert_eq!(change_percent(price(now), price(then)).to_string(), change, "{now} from {then}");
        }
    }
}
