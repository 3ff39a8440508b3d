//! Exact amounts. On the wire they are decimal text; a JSON number is read digit by digit as it is written.
//!
//! Every amount fits [`PLACES`] decimal places and [`LIMIT`] units, so it is also a whole number of 10⁻¹² units in an
//! `i128` with room left: comparisons of `price × percent` products are exact integer arithmetic and cannot overflow.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// The number of decimal places of a price, a size or an amount.
pub const PLACES: u32 = 12;
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
    /// The size or amount is negative.
    #[error("must not be negative")]
    Negative,
    /// The value is too large.
    #[error("must be below {LIMIT}")]
    TooLarge,
    /// The value has more digits than can be stored exactly.
    #[error("must have at most {0} decimal places")]
    TooPrecise(u32),
    /// The percentage is out of range.
    #[error("must be from 0.01 to 1000")]
    PercentRange,
}

/// The price of one unit of a symbol: above zero, below [`LIMIT`], at most [`PLACES`] places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(Decimal);

/// The size of an order or a trade: not negative, below [`LIMIT`], at most [`PLACES`] places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(Decimal);

/// An amount of an asset: not negative, below [`LIMIT`], at most [`PLACES`] places.
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
        bounded(value).map(Self)
    }

    /// Returns the price as a whole number of 10⁻¹² units.
    pub fn units(self) -> i128 {
        units(self.0, PLACES)
    }
}

impl Size {
    /// Checks a value.
    pub fn new(value: Decimal) -> Result<Self, AmountError> {
        not_negative(value).map(Self)
    }
}

impl Amount {
    /// Checks a value.
    pub fn new(value: Decimal) -> Result<Self, AmountError> {
        not_negative(value).map(Self)
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

fn not_negative(value: Decimal) -> Result<Decimal, AmountError> {
    if value.is_sign_negative() && !value.is_zero() {
        return Err(AmountError::Negative);
    }
    bounded(value)
}

fn bounded(value: Decimal) -> Result<Decimal, AmountError> {
    if value >= Decimal::from(LIMIT) {
        return Err(AmountError::TooLarge);
    }
    places(value, PLACES)
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
    value.mantissa() * 10_i128.pow(places - value.scale())
}

/// Reads decimal text exactly, with or without an exponent.
fn decimal(text: &str) -> Result<Decimal, AmountError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b".-+eE".contains(&byte)) {
        return Err(AmountError::NotDecimal); // The library would take 1_000 for 1000.
    }
    let parsed = if text.contains(['e', 'E']) { scientific(text) } else { Decimal::from_str_exact(text) };
    parsed.map_err(|error| match error {
        rust_decimal::Error::Underflow | rust_decimal::Error::ScaleExceedsMaximumPrecision(_) => {
            AmountError::TooPrecise(PLACES)
        }
        rust_decimal::Error::ExceedsMaximumPossibleValue => AmountError::TooLarge,
        _ if text.len() > 28 && text.contains('.') => AmountError::TooPrecise(PLACES),
        _ if text.len() > 28 => AmountError::TooLarge,
        _ => AmountError::NotDecimal,
    })
}

/// `Decimal::from_scientific` rounds a mantissa that is too long, so the mantissa is read exactly and shifted.
fn scientific(text: &str) -> Result<Decimal, rust_decimal::Error> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mut value = Decimal::from_str_exact(mantissa)?;
    let exponent: i32 = exponent.parse().map_err(|_| rust_decimal::Error::ExceedsMaximumPossibleValue)?;
    let scale = i64::from(value.scale()) - i64::from(exponent);
    match u32::try_from(scale) {
        Ok(scale) => value.set_scale(scale)?,
        Err(_) => {
            let zeros = u32::try_from(-scale).ok().and_then(|zeros| 10_i64.checked_pow(zeros));
            value.set_scale(0)?;
            value = zeros
                .and_then(|power| value.checked_mul(Decimal::from(power)))
                .ok_or(rust_decimal::Error::ExceedsMaximumPossibleValue)?;
        }
    }
    Ok(value)
}

/// Text or a JSON number, which `arbitrary_precision` hands over as it was written.
fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    struct Amount;
    impl<'de> de::Visitor<'de> for Amount {
        type Value = Decimal;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a decimal as text or a number")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
            decimal(text).map_err(E::custom)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Decimal, E> {
            Ok(number.into())
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Decimal, E> {
            Ok(number.into())
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Decimal, A::Error> {
            let number = serde_json::Number::deserialize(de::value::MapAccessDeserializer::new(map))
                .map_err(|_| de::Error::invalid_type(de::Unexpected::Map, &self))?;
            self.visit_str(number.as_str())
        }
    }
    deserializer.deserialize_any(Amount)
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
                decimal(text).and_then(Self::new)
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

/// Returns `(price - reference) / reference × 100`, rounded half-even to 4 places.
pub fn change_percent(price: Price, reference: Price) -> Decimal {
    let reference = reference.units();
    let scaled = (price.units() - reference) * 1_000_000;
    let (quotient, remainder) = (scaled.div_euclid(reference), scaled.rem_euclid(reference));
    let rounded = match (remainder * 2).cmp(&reference) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Greater => quotient + 1,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
    };
    // A change that does not fit, like from 1e-12 to 1e14, becomes the largest value that does.
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
            ("\"0.0000000000001\"", "places"),
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
