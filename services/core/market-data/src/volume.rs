//! Sums of sizes that are exact however many digits they have.

use std::fmt;

use ruint::aliases::U256;
use rust_decimal::Decimal;

/// The most decimal places that a `Decimal` has.
const PLACES: u32 = 28;

/// An exact sum of sizes.
///
/// A `Decimal` has 28 digits and rounds what does not fit, so that a sum of many large and some very small sizes would be wrong
/// without a word. This sum counts units of 10⁻²⁸ in 256 bits, which hold 2⁶⁴ of the largest sizes with the most places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    units: U256,
    /// The most decimal places of a size in the sum. The text has as many.
    places: u32,
}

impl Volume {
    /// The sum of no sizes.
    pub const ZERO: Self = Self { units: U256::ZERO, places: 0 };

    /// Adds two sums.
    pub fn plus(self, other: Self) -> Self {
        Self { units: self.units + other.units, places: self.places.max(other.places) }
    }
}

impl From<Decimal> for Volume {
    /// Makes the sum of one size, which is not negative.
    fn from(size: Decimal) -> Self {
        let places = size.scale();
        Self { units: U256::from(size.mantissa().unsigned_abs()) * power_of_ten(PLACES - places), places }
    }
}

impl fmt::Display for Volume {
    /// Writes the exact decimal text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (places, digits) = (self.places as usize, (self.units / power_of_ten(PLACES - self.places)).to_string());
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        if places == 0 { f.write_str(whole) } else { write!(f, "{whole}.{fraction}") }
    }
}

fn power_of_ten(exponent: u32) -> U256 {
    U256::from(10_u128.pow(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(sizes: &[&str]) -> String {
        let sizes = sizes.iter().map(|size| Volume::from(size.parse::<Decimal>().expect("a size")));
        sizes.fold(Volume::ZERO, Volume::plus).to_string()
    }

    #[test]
    fn a_sum_has_all_digits_and_the_most_places_of_its_parts() {
        for (sizes, expected) in [
            (&[][..], "0"),
            (&["0"], "0"),
            (&["1", "2"], "3"),
            (&["1.50", "0.5"], "2.00"),
            (&["0.000000000001"], "0.000000000001"),
            (&["99999999999999", "0.000000000001"], "99999999999999.000000000001"),
            (
                &["79228162514264337593543950335", "0.0000000000000000000000000001"],
                "79228162514264337593543950335.0000000000000000000000000001",
            ),
            (&["79228162514264337593543950335", "79228162514264337593543950335"], "158456325028528675187087900670"),
        ] {
            assert_eq!(sum(sizes), expected, "{sizes:?}");
        }
    }

    #[test]
    fn as_many_of_the_largest_sizes_as_a_stream_can_hold_do_not_overflow() {
        let largest = Volume::from(Decimal::MAX);
        let doubled = (0..64).fold(largest, |volume, _| volume.plus(volume));
        let expected = U256::from(Decimal::MAX.mantissa().unsigned_abs()) * U256::from(1_u128 << 64);
        assert_eq!(doubled.to_string(), expected.to_string());
    }
}
