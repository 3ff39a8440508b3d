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
        sum.add(ONE / 2);
        assert_eq!(sum.to_string(), "100000000000000000000001.499999999999999");
    }
}
