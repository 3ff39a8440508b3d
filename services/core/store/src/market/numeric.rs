//! Numbers of type `numeric` as the database sends them, written as text digit by digit.

use std::fmt;

use rust_decimal::Decimal;
use sqlx::{Row, ValueRef, postgres::PgRow};

use crate::{Error, pg::row};

/// The bytes in front of the digits: their number, the power of the first one, the sign, and the number of decimal places.
const HEADER: usize = 8;
const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;

/// A number of a row. It has as many digits as the database has, which may be more than a `Decimal` has room for.
#[derive(Debug, Clone, Copy)]
pub struct Numeric<'row> {
    is_negative: bool,
    /// The power of 10,000 of the first digit.
    weight: i16,
    /// The number of decimal places.
    scale: u16,
    digits: Digits<'row>,
}

/// Digits to the base of 10,000, two bytes each.
#[derive(Debug, Clone, Copy)]
enum Digits<'row> {
    /// Those of a row.
    Row(&'row [u8]),
    /// Those of a number that comes from elsewhere.
    Own(WireDigits),
}

impl Digits<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Row(bytes) => bytes,
            Self::Own(digits) => digits.bytes(),
        }
    }
}

/// The digits of a `Decimal` as the wire has them: at most 28 digits and three zeros.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireDigits {
    /// The power of 10,000 of the first digit.
    pub(crate) weight: i16,
    /// The number of decimal places.
    pub(crate) scale: u16,
    bytes: [u8; 18],
    /// Where the first digit begins.
    first: usize,
}

impl WireDigits {
    /// Takes the digits of a number that is not negative.
    pub(crate) fn of(number: Decimal) -> Self {
        let scale = number.scale();
        let groups_behind_point = scale.div_ceil(4);
        let mut rest = number.mantissa().unsigned_abs() * 10_u128.pow(groups_behind_point * 4 - scale);
        let mut weight = -(groups_behind_point as i16) - 1;
        // Trailing groups of zeros are not stored.
        while rest != 0 && rest.is_multiple_of(10_000) {
            rest /= 10_000;
            weight += 1;
        }
        let mut bytes = [0; 18];
        let mut first = bytes.len();
        while rest != 0 {
            first -= 2;
            bytes[first..first + 2].copy_from_slice(&((rest % 10_000) as u16).to_be_bytes());
            rest /= 10_000;
            weight += 1;
        }
        let weight = if first == bytes.len() { 0 } else { weight };
        Self { weight, scale: scale as u16, bytes, first }
    }

    /// Returns the digits, two bytes each.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.first..]
    }
}

impl<'row> Numeric<'row> {
    /// Reads the number of a column, which is not null.
    pub(crate) fn read(row: &'row PgRow, column: usize) -> Result<Self, Error> {
        let number = Self::read_optional(row, column)?;
        Ok(number.ok_or_else(|| row::unreadable(format!("column {column} is null")))?)
    }

    /// Reads the number of a column; none where it is null.
    pub(crate) fn read_optional(row: &'row PgRow, column: usize) -> Result<Option<Self>, Error> {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(None);
        }
        let bytes = value.as_bytes().map_err(row::unreadable)?;
        Ok(Some(Self::try_from(bytes).map_err(row::unreadable)?))
    }

    fn parse(bytes: &'row [u8]) -> Option<Self> {
        let (header, digits) = bytes.split_at_checked(HEADER)?;
        let field = |index: usize| [header[2 * index], header[2 * index + 1]];
        let (count, sign) = (u16::from_be_bytes(field(0)), u16::from_be_bytes(field(2)));
        let is_number = [POSITIVE, NEGATIVE].contains(&sign) && digits.len() == 2 * usize::from(count);
        is_number.then(|| Self {
            is_negative: sign == NEGATIVE,
            weight: i16::from_be_bytes(field(1)),
            scale: u16::from_be_bytes(field(3)),
            digits: Digits::Row(digits),
        })
    }

    /// Returns the number of decimal places, with zeros at the end.
    pub fn places(&self) -> u16 {
        self.scale
    }

    /// Appends the decimal text, with all decimal places that the database has.
    pub fn write_to(&self, text: &mut Vec<u8>) {
        if self.is_negative {
            text.push(b'-');
        }
        if self.weight < 0 {
            text.push(b'0');
        }
        for power in (0..=self.weight).rev() {
            let group = four_digits(self.group(power));
            let zeros = group.iter().take_while(|digit| **digit == b'0').count();
            let leading = if power == self.weight { zeros.min(3) } else { 0 };
            text.extend_from_slice(&group[leading..]);
        }
        let mut places = usize::from(self.scale);
        if places > 0 {
            text.push(b'.');
        }
        for power in (i16::MIN..0).rev() {
            if places == 0 {
                break;
            }
            let count = places.min(4);
            text.extend_from_slice(&four_digits(self.group(power))[..count]);
            places -= count;
        }
    }

    /// Returns the number times a power of ten, for a column of so many decimal places; none where it has more places, or more
    /// than 38 digits.
    pub fn scaled(&self, places: u32) -> Option<i128> {
        let mut sum = 0_i128;
        for (index, digit) in self.digits.bytes().chunks_exact(2).enumerate() {
            let digit = i128::from(u16::from_be_bytes([digit[0], digit[1]]));
            let power = 4 * (i64::from(self.weight) - index as i64) + i64::from(places);
            let unit = 10_i128.checked_pow(u32::try_from(power.unsigned_abs()).ok()?);
            let part = match unit {
                _ if digit == 0 => 0,
                Some(unit) if power >= 0 => digit.checked_mul(unit)?,
                Some(unit) if digit % unit == 0 => digit / unit,
                _ => return None,
            };
            sum = sum.checked_add(part)?;
        }
        let sum = if self.is_negative { -sum } else { sum };
        (sum.unsigned_abs() < 10_u128.pow(38)).then_some(sum)
    }

    /// Returns the digit to the base of 10,000 at a power.
    fn group(&self, power: i16) -> u16 {
        let index = i32::from(self.weight) - i32::from(power);
        let pair = usize::try_from(index).ok().and_then(|index| self.digits.bytes().get(2 * index..2 * index + 2));
        pair.map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

/// The bytes are NaN, infinity or no number.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("it is no finite number in binary format")]
pub struct NoFiniteNumber;

impl<'row> TryFrom<&'row [u8]> for Numeric<'row> {
    type Error = NoFiniteNumber;

    /// Reads the binary format of the wire.
    fn try_from(bytes: &'row [u8]) -> Result<Self, NoFiniteNumber> {
        Self::parse(bytes).ok_or(NoFiniteNumber)
    }
}

impl From<Decimal> for Numeric<'_> {
    /// Takes a number with all its decimal places, as the database would send it.
    fn from(number: Decimal) -> Self {
        let digits = WireDigits::of(number);
        let WireDigits { weight, scale, .. } = digits;
        Self { is_negative: number.is_sign_negative(), weight, scale, digits: Digits::Own(digits) }
    }
}

impl fmt::Display for Numeric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

fn four_digits(group: u16) -> [u8; 4] {
    [group / 1_000, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| b'0' + digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes count, weight, sign, scale and digits as the wire has them.
    fn bytes(parts: &[u16]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.to_be_bytes()).collect()
    }

    #[test]
    fn a_number_is_written_with_all_its_places() {
        let minus = |weight: i16| weight as u16;
        for (parts, text) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[1, 0, 0, 0, 1], "1"),
            (&[2, 0, 0, 2, 167, 4100], "167.41"),
            (&[2, 0, 0, 4, 167, 4100], "167.4100"),
            (&[1, 0, 0, 6, 167], "167.000000"),
            (&[2, 1, 0, 0, 6, 8000], "68000"),
            (&[1, 1, 0, 0, 1], "10000"),
            (&[4, 2, 0, 1, 1, 0, 0, 5000], "100000000.5"),
            (&[1, minus(-1), 0, 4, 123], "0.0123"),
            (&[1, minus(-2), 0, 5, 1000], "0.00001"),
            (&[1, minus(-5), 0, 18, 100], "0.000000000000000001"),
            (&[2, 0, NEGATIVE, 4, 1, 2345], "-1.2345"),
            (&[8, 3, 0, 15, 100, 0, 0, 0, 0, 0, 0, 10], "100000000000000.000000000000001"),
        ] {
            let bytes = bytes(parts);
            assert_eq!(Numeric::try_from(bytes.as_slice()).expect(text).to_string(), text);
        }
    }

    #[test]
    fn a_number_from_elsewhere_is_written_as_the_database_would() {
        for text in [
            "0",
            "0.00",
            "1",
            "167.41",
            "167.4100",
            "68000",
            "10000",
            "100000000.5",
            "0.0123",
            "0.00001",
            "0.000000000000000001",
            "9999999999.999999999999999999",
        ] {
            let number = Numeric::from(text.parse::<Decimal>().expect("a number"));
            assert_eq!(number.to_string(), text);
            assert_eq!(usize::from(number.places()), text.split_once('.').map_or(0, |(_, places)| places.len()));
        }
        assert_eq!(Numeric::from(Decimal::new(16_741, 2)).scaled(18), Some(16_741 * 10_i128.pow(16)));
    }

    #[test]
    fn a_number_is_scaled_exactly_or_not_at_all() {
        let minus = |weight: i16| weight as u16;
        let one = 10_i128.pow(18);
        for (parts, scaled) in [
            (&[0, 0, 0, 2][..], Some(0)),
            (&[1, 0, 0, 0, 1], Some(one)),
            (&[2, 0, 0, 2, 167, 4100], Some(16_741 * one / 100)),
            (&[1, minus(-5), 0, 18, 100], Some(1)),
            (&[1, minus(-5), 0, 19, 10], None),
            (&[2, 0, NEGATIVE, 4, 1, 2345], Some(-12_345 * one / 10_000)),
            (&[1, 4, 0, 0, 9999], Some(9_999 * 10_i128.pow(34))),
            (&[1, 5, 0, 0, 1], None),
            (&[1, 100, 0, 0, 1], None),
        ] {
            let bytes = bytes(parts);
            assert_eq!(Numeric::try_from(bytes.as_slice()).expect("a number").scaled(18), scaled, "{parts:?}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_refused() {
        for parts in [&[][..], &[0, 0, 0xC000, 0], &[0, 0, 0xD000, 0], &[2, 0, 0, 0, 1], &[0, 0, 0, 0, 1]] {
            assert!(Numeric::try_from(bytes(parts).as_slice()).is_err(), "{parts:?}");
        }
    }
}
