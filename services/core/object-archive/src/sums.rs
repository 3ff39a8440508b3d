//! Exact sums of numbers with 18 decimal places.

use std::fmt;

/// The decimal places of the archive's numbers.
pub const PLACES: u32 = 18;
const ONE: i128 = 10_i128.pow(PLACES);

/// A sum of numbers that are not negative. It takes more than 10^18 of the largest ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExactSum {
    whole: i128,
    fraction: i128,
}

impl ExactSum {
    /// Adds a number times 10^18.
    pub fn add(&mut self, scaled: i128) {
        let fraction = self.fraction + scaled % ONE;
        self.whole += scaled / ONE + fraction / ONE;
        self.fraction = fraction % ONE;
    }

    /// Adds a number that is written in digits; false where it is none, or has more than 18 decimal places.
    #[must_use]
    pub fn add_text(&mut self, number: &str) -> bool {
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(places) || places.len() > PLACES as usize {
            return false;
        }
        let (Ok(whole), Ok(fraction)) = (whole.parse(), format!("{places:0<18}").parse()) else { return false };
        self.merge(Self { whole, fraction });
        true
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: Self) {
        self.whole += other.whole;
        self.add(other.fraction);
    }
}

/// Without zeros behind the last digit, as the database trims a sum.
impl fmt::Display for ExactSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fraction == 0 {
            return write!(f, "{}", self.whole);
        }
        let places = format!("{:018}", self.fraction);
        write!(f, "{}.{}", self.whole, places.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_exact_beyond_38_digits() {
        let mut sum = ExactSum::default();
        assert_eq!(sum.to_string(), "0");
        sum.add(1);
        assert_eq!(sum.to_string(), "0.000000000000000001");
        sum.add(ONE - 1);
        assert_eq!(sum.to_string(), "1");
        let largest = 10_i128.pow(38) - 1;
        (0..1_000).for_each(|_| sum.add(largest));
        assert_eq!(sum.to_string(), "100000000000000000000000.999999999999999");
        for text in ["", ".5", "-1", "1.0000000000000000001", "1e3"] {
            assert!(!sum.add_text(text), "{text}");
        }
        assert!(sum.add_text("0.5"));
        assert_eq!(sum.to_string(), "100000000000000000000001.499999999999999");
        assert!(sum.add_text("900000000000000000000000000000"));
        assert_eq!(sum.to_string(), "900000100000000000000000000001.499999999999999");
    }
}
