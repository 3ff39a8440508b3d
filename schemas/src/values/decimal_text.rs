//! Decimal text, with or without an exponent, as a [`Decimal`]: the nearest one that has room for its digits.

use rust_decimal::Decimal;

/// The largest number of digits that are kept. A [`Decimal`] holds each number of that many.
pub(crate) const MAX_DIGITS: u32 = 28;
/// The most bytes of a number. What a float prints exactly has up to 1,100.
const MAX_BYTES: usize = 2_000;
/// The most bytes of a number whose digits surely fit 64 bits.
const MAX_SHORT_BYTES: usize = 18;
/// The most digits before the point of a number that has to be rounded, so that no power of ten overflows.
const MAX_WHOLE_DIGITS: i64 = 16;

/// Text that is not a number, or not one near zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalTextError {
    NotDecimal,
    TooLarge { is_negative: bool },
}

/// The number that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecimalText {
    /// The nearest number, half to even, with at most [`MAX_DIGITS`] digits and as many places as were asked for.
    pub(crate) value: Decimal,
    /// Whether it is another number than was written.
    pub(crate) was_rounded: bool,
    /// The number of digits before the point.
    pub(crate) whole_digits: i64,
}

impl DecimalText {
    /// Reads a number, and rounds it to `most_places` places, at most 28.
    pub(crate) fn parse(text: &str, most_places: u32) -> Result<Self, DecimalTextError> {
        match parse_plain(text).filter(|value| value.scale() <= most_places) {
            Some(value) => Ok(Self { value, was_rounded: false, whole_digits: 0 }),
            None => Number::parse(text)?.round(most_places.into()),
        }
    }
}

/// Reads what nearly all numbers are: a few digits with a point between them. Nothing of it needs to be rounded.
fn parse_plain(text: &str) -> Option<Decimal> {
    if let Some(Short { mantissa, scale }) = Short::parse(text) {
        return Some(Decimal::new(mantissa, scale));
    }
    let bytes = text.as_bytes();
    let is_framed = bytes.first()?.is_ascii_digit() && bytes.last()?.is_ascii_digit();
    let is_plain = bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    if is_framed && is_plain && bytes.len() <= MAX_DIGITS as usize { Decimal::from_str_exact(text).ok() } else { None }
}

/// A number of a few digits, with at most one point between them: `mantissa` × 10^-`scale`.
pub(crate) struct Short {
    /// The digits of the number, at most 18.
    pub(crate) mantissa: i64,
    /// The number of decimal places, at most 16.
    pub(crate) scale: u32,
}

impl Short {
    /// Reads a number of which nothing needs to be rounded; `None` for every other text.
    #[inline]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_framed = bytes.first()?.is_ascii_digit() && bytes.last()?.is_ascii_digit();
        if !is_framed || bytes.len() > MAX_SHORT_BYTES {
            return None;
        }
        // The scale grows by `step`, which is 0 before the point.
        let (mut mantissa, mut scale, mut step) = (0_i64, 0, 0);
        for byte in bytes {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                mantissa = mantissa * 10 + i64::from(digit);
                scale += step;
            } else if *byte == b'.' && step == 0 {
                step = 1;
            } else {
                return None;
            }
        }
        Some(Self { mantissa, scale })
    }
}

/// A number as its digits: `digits` × 10^-`scale`.
struct Number {
    is_negative: bool,
    /// The digits without leading zeros, 0 to 9 each.
    digits: Vec<u8>,
    scale: i64,
}

impl Number {
    fn parse(text: &str) -> Result<Self, DecimalTextError> {
        if text.len() > MAX_BYTES {
            return Err(DecimalTextError::NotDecimal);
        }
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = whole.bytes().chain(fraction.bytes());
        if (whole.is_empty() && fraction.is_empty()) || !digits.clone().all(|byte| byte.is_ascii_digit()) {
            return Err(DecimalTextError::NotDecimal);
        }
        let digits = digits.by_ref().map(|byte| byte - b'0').skip_while(|digit| *digit == 0).collect();
        Ok(Self { is_negative: text.starts_with('-'), digits, scale: fraction.len() as i64 - exponent })
    }

    fn round(&self, most_places: i64) -> Result<DecimalText, DecimalTextError> {
        let count = self.digits.len() as i64;
        if count == 0 {
            let value = Decimal::new(0, self.scale.clamp(0, most_places) as u32);
            return Ok(DecimalText { value, was_rounded: false, whole_digits: 0 });
        }
        let whole_digits = (count - self.scale).max(0);
        let too_large = DecimalTextError::TooLarge { is_negative: self.is_negative };
        if whole_digits > MAX_WHOLE_DIGITS {
            return Err(too_large);
        }
        let scale = self.scale.min(most_places).min(i64::from(MAX_DIGITS) - whole_digits);
        // Negative where even the first digit lies behind the place after the last.
        let stored = count - (self.scale - scale);
        let (stored_digits, cut) = self.digits.split_at(usize::try_from(stored).unwrap_or(0));
        let mut mantissa = stored_digits.iter().fold(0_i128, |number, digit| number * 10 + i128::from(*digit));
        if stored >= 0 && is_up(cut, mantissa) {
            mantissa += 1;
        }
        // A negative scale stands for zeros before the point, of which there are few.
        mantissa *= 10_i128.pow(u32::try_from(-scale).unwrap_or(0));
        let signed = if self.is_negative { -mantissa } else { mantissa };
        let value = Decimal::try_from_i128_with_scale(signed, scale.max(0) as u32).map_err(|_| too_large)?;
        Ok(DecimalText { value, was_rounded: cut.iter().any(|digit| *digit != 0), whole_digits })
    }
}

/// Returns whether the digits that are cut round the number before them up, half to even.
fn is_up(cut: &[u8], mantissa: i128) -> bool {
    let Some((first, rest)) = cut.split_first() else { return false };
    match first.cmp(&5) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => rest.iter().any(|digit| *digit != 0) || mantissa % 2 == 1,
    }
}

/// Reads an exponent. One beyond all limits becomes a large one of its sign, which makes the number too large or nothing.
fn parse_exponent(text: &str) -> Result<i64, DecimalTextError> {
    const BEYOND: i64 = 1_000_000;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalTextError::NotDecimal);
    }
    let exponent = digits.parse::<i64>().map_or(BEYOND, |exponent| exponent.min(BEYOND));
    Ok(if text.starts_with('-') { -exponent } else { exponent })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_rounded_half_to_even_at_its_last_place() {
        for (text, value, was_rounded) in [
            ("167.4100", "167.4100", false),
            ("0.00004841587973576128", "0.000048415879735761", true),
            ("0.1000000000000000055511151231257827021181583404541015625", "0.100000000000000006", true),
            ("68000.10000000000000000000000", "68000.100000000000000000", false),
            ("12345678901.123456789012345678", "12345678901.12345678901234568", true),
            ("99999999999.99999999999999999999", "100000000000.00000000000000000", true),
            ("0.0000000000000000015", "0.000000000000000002", true),
            ("0.0000000000000000025", "0.000000000000000002", true),
            ("0.00000000000000000250000001", "0.000000000000000003", true),
            ("0.0000000000000000005", "0.000000000000000000", true),
            ("0.00000000000000000051", "0.000000000000000001", true),
            ("0.00000000000000000009", "0.000000000000000000", true),
            ("4.841587973576128e-05", "0.000048415879735761", true),
            ("1.5E3", "1500", false),
            ("-1.5E+3", "-1500", false),
            ("1e-18", "0.000000000000000001", false),
            ("1e-400", "0.000000000000000000", true),
            (".5", "0.5", false),
            ("5.", "5", false),
            ("007", "7", false),
            ("0e99999999999999999999", "0", false),
        ] {
            let read = DecimalText::parse(text, 18).expect(text);
            assert_eq!((read.value.to_string().as_str(), read.was_rounded), (value, was_rounded), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", ".", "-", "+-1", "1e", "1e1e1", "1.2.3", "1,5", "1_000", "NaN", "inf", "0x10", " 1", "１"] {
            assert_eq!(DecimalText::parse(text, 18).err(), Some(DecimalTextError::NotDecimal), "{text:?}");
        }
        for text in ["1e16", "1e99999999999999999999", "12345678901234567890123456789"] {
            let found = DecimalText::parse(text, 18).err();
            assert_eq!(found, Some(DecimalTextError::TooLarge { is_negative: false }), "{text}");
        }
        assert!(DecimalText::parse(&"1".repeat(MAX_BYTES + 1), 18).is_err());
    }

    proptest! {
        #[test]
        fn a_short_number_is_read_as_the_library_reads_it(mantissa in -10_i64.pow(15)..10_i64.pow(15), scale in 0_u32..18) {
            let text = Decimal::new(mantissa, scale).to_string();
            let read = DecimalText::parse(&text, 18).expect("a number");
            prop_assert_eq!(read.value.to_string(), text);
            prop_assert!(!read.was_rounded);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+]?[0-9]{0,40}[.]?[0-9]{0,40}(e[-+]?[0-9]{0,4})?") {
            if let Ok(read) = DecimalText::parse(&text, 18) {
                prop_assert!(read.value.scale() <= 18);
            }
        }
    }
}
