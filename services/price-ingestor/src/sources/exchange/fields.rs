//! The values that all venues write in one of a few ways: prices, sizes, ids and times. Numbers are read digit by digit.

use std::{borrow::Cow, fmt, marker::PhantomData};

use events::{Price, Size, Timestamp, money::Rounded};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::{
    message::{DecodeError, TradeId, VenueTrade},
    plain_json,
};

const MICROS: i64 = 1_000_000;

/// The values that make a trade.
pub(super) struct TradeFields<'frame> {
    pub(super) product: Cow<'frame, str>,
    pub(super) id: TradeId<'frame>,
    pub(super) price: Rounded<Price>,
    pub(super) size: Rounded<Size>,
    pub(super) at: Timestamp,
}

impl<'frame> TradeFields<'frame> {
    /// Returns the trade.
    pub(super) fn trade(self) -> VenueTrade<'frame> {
        let Self { product, id, price, size, at } = self;
        let was_rounded = price.was_rounded || size.was_rounded;
        VenueTrade { product, id, price: price.value, size: size.value, at, was_rounded }
    }
}

/// A value that is written as text.
pub(super) trait TextValue: Sized {
    /// Reads the value.
    fn read(text: &str) -> Option<Self>;

    /// Says what a text must be that is no value.
    fn reason(text: &str) -> String;
}

/// The value of a field whose text is read while the JSON around it is parsed. Text that is no value is no error of the JSON.
#[derive(Debug)]
pub(super) struct Field<T>(Result<T, Box<BadText>>);

/// Text that is no value, and why.
#[derive(Debug)]
struct BadText {
    text: String,
    reason: String,
}

/// A price, rounded to what a tick holds.
pub(super) type PriceField = Field<Rounded<Price>>;
/// A size, rounded to what a tick holds.
pub(super) type SizeField = Field<Rounded<Size>>;
/// A time in RFC 3339.
pub(super) type TimeField = Field<Timestamp>;
/// A time since 1970 in units of which a second has so many.
pub(super) type UnixField<const UNITS_PER_SECOND: i64> = Field<UnixTime<UNITS_PER_SECOND>>;

impl<T: TextValue> Field<T> {
    /// Reads a text.
    pub(super) fn read(text: &str) -> Self {
        match T::read(text) {
            Some(value) => Self(Ok(value)),
            None => Self::bad(text),
        }
    }

    #[cold]
    fn bad(text: &str) -> Self {
        Self(Err(Box::new(BadText { text: text.to_owned(), reason: T::reason(text) })))
    }

    /// Returns the value of the field that has this name at the venue.
    pub(super) fn named(self, field: &'static str) -> Result<T, DecodeError> {
        self.0.map_err(|bad| DecodeError::value(field, &bad.text, bad.reason))
    }

    /// Returns the same; none where the text is empty, which is how some venues write that they say nothing.
    pub(super) fn named_unless_empty(self, field: &'static str) -> Result<Option<T>, DecodeError> {
        match self.0 {
            Err(bad) if bad.text.is_empty() => Ok(None),
            read => Self(read).named(field).map(Some),
        }
    }
}

impl<'de, T: TextValue> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts<T>(PhantomData<T>);
        impl<T: TextValue> Visitor<'_> for Texts<T> {
            type Value = Field<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Field<T>, E> {
                Ok(Field::read(text))
            }
        }
        deserializer.deserialize_str(Texts(PhantomData))
    }
}

impl TextValue for Rounded<Price> {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn reason(text: &str) -> String {
        text.parse::<Self>().err().map_or_else(String::new, |error| error.to_string())
    }
}

impl TextValue for Rounded<Size> {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn reason(text: &str) -> String {
        text.parse::<Self>().err().map_or_else(String::new, |error| error.to_string())
    }
}

/// A time in RFC 3339.
impl TextValue for Timestamp {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn reason(text: &str) -> String {
        text.parse::<Self>().err().map_or_else(String::new, |error| error.to_string())
    }
}

/// A time since 1970 in units of which a second has so many.
#[derive(Debug)]
pub(super) struct UnixTime<const UNITS_PER_SECOND: i64>(pub(super) Timestamp);

impl<const UNITS_PER_SECOND: i64> TextValue for UnixTime<UNITS_PER_SECOND> {
    fn read(text: &str) -> Option<Self> {
        // A division of 128 bits would take as long as the rest of the field.
        let micros = text.parse().ok().and_then(|number: i64| match UNITS_PER_SECOND {
            ..=MICROS => number.checked_mul(MICROS / UNITS_PER_SECOND),
            _ => Some(number / (UNITS_PER_SECOND / MICROS)),
        });
        micros.and_then(|micros| Timestamp::from_micros(micros).ok()).map(Self)
    }

    fn reason(_: &str) -> String {
        "must be a whole number of units since 1970".to_owned()
    }
}

/// A number that consists of digits alone.
impl TextValue for u64 {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn reason(_: &str) -> String {
        "must be a whole number".to_owned()
    }
}

/// The entries of a list, of which nearly all have one: it is not allocated.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) SmallVec<[T; 1]>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries<T>, A::Error> {
                let mut entries = SmallVec::new();
                while let Some(entry) = list.next_element()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// Text in JSON, borrowed unless it has escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'frame>(#[serde(borrow)] pub(super) Cow<'frame, str>);

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + i64::from(digit))
    })
}

/// Reads a time in milliseconds since 1970.
pub(super) fn millis(field: &'static str, millis: i64) -> Result<Timestamp, DecodeError> {
    let time = millis.checked_mul(1_000).and_then(|micros| Timestamp::from_micros(micros).ok());
    time.ok_or_else(|| DecodeError::value(field, &millis.to_string(), "must be milliseconds since 1970"))
}

/// Reads a time in seconds since 1970 with digits behind the point; finer ones than microseconds are cut off.
pub(super) fn decimal_seconds(field: &'static str, text: &str) -> Result<Timestamp, DecodeError> {
    let reason = "must be seconds since 1970";
    let read = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let (seconds, cut) = (whole.as_bytes(), &fraction.as_bytes()[..fraction.len().min(6)]);
        if seconds.is_empty()
            || seconds.len() > 12
            || digits(fraction.get(..fraction.len().min(18))?.as_bytes()).is_none()
        {
            return None;
        }
        let micros = digits(cut)? * 10_i64.pow(6 - cut.len() as u32);
        Timestamp::from_micros(digits(seconds)? * MICROS + micros).ok()
    };
    read().ok_or_else(|| DecodeError::value(field, text, reason))
}

/// A JSON number as it is written, or other JSON in its place.
#[derive(Debug)]
pub(super) struct Number<'frame>(&'frame str);

impl<'frame> Number<'frame> {
    /// Returns the JSON.
    pub(super) fn json(&self) -> &'frame str {
        self.0
    }
}

impl<'de: 'frame, 'frame> Deserialize<'de> for Number<'frame> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl<'de> Visitor<'de> for Digits {
            type Value = Number<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Number<'de>, E> {
                Ok(Number(text))
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Number<'de>, D::Error> {
                <&RawValue>::deserialize(deserializer).map(|raw| Number(raw.get()))
            }
        }
        deserializer.deserialize_newtype_struct(plain_json::NUMBER, Digits)
    }
}

/// Reads a value that is written as a JSON number, or as text without escapes.
pub(super) fn number_value<T: TextValue>(field: &'static str, json: &str) -> Result<T, DecodeError> {
    let text = number_text(field, json)?;
    T::read(text).ok_or_else(|| DecodeError::value(field, text, T::reason(text)))
}

/// Returns the text of a JSON number, or the content of a JSON text without escapes.
pub(super) fn number_text<'frame>(field: &'static str, json: &'frame str) -> Result<&'frame str, DecodeError> {
    match json.as_bytes().first() {
        Some(b'"') => {
            let inner = json.trim_matches('"');
            if inner.contains('\\') {
                Err(DecodeError::value(field, json, "must be a plain number"))
            } else {
                Ok(inner)
            }
        }
        Some(b'0'..=b'9' | b'-') => Ok(json),
        _ => Err(DecodeError::value(field, json, "must be a number")),
    }
}

/// Returns the value of the first key of a JSON object, where the key is `key` and the value a text without escapes. Most
/// venues write the type of a message first, and what is not wanted is recognised without parsing the rest.
pub(super) fn leading_text<'frame>(frame: &'frame str, key: &str) -> Option<&'frame str> {
    let start = |text: &'frame str| text.trim_ascii_start();
    let key_and_rest = match frame.strip_prefix("{\"") {
        Some(rest) => rest,
        None => start(start(frame).strip_prefix('{')?).strip_prefix('"')?,
    };
    let rest = key_and_rest.strip_prefix(key)?;
    let rest = match rest.strip_prefix("\":\"") {
        Some(rest) => rest,
        None => start(start(rest.strip_prefix('"')?).strip_prefix(':')?).strip_prefix('"')?,
    };
    let end = rest.as_bytes().iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    (rest.as_bytes()[end] == b'"').then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_with_a_fraction_are_cut_to_microseconds() {
        for (text, micros) in [
            ("1688669597.8277369", 1_688_669_597_827_736),
            ("1688669597", 1_688_669_597_000_000),
            ("0.000001", 1),
            ("1688669597.5", 1_688_669_597_500_000),
        ] {
            assert_eq!(decimal_seconds("time", text).expect("a time").micros(), micros, "{text}");
        }
        for bad in ["", ".5", "1e9", "-1", "1.2.3", "99999999999999", "1.x"] {
            assert!(decimal_seconds("time", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_type_of_a_message_is_read_where_it_stands_first() {
        assert_eq!(leading_text(r#"{"type":"match","x":1}"#, "type"), Some("match"));
        assert_eq!(leading_text(" {\n \"type\" : \"a\" }", "type"), Some("a"));
        for other in [r#"{"x":1,"type":"match"}"#, r#"{"type":1}"#, r#"{"type":"a\"b"}"#, r#"{"type":"a"#, "", "[]"] {
            assert_eq!(leading_text(other, "type"), None, "{other}");
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        let digits = |json: &'static str| {
            let number: Number = serde_json::from_str(json).expect("JSON");
            assert_eq!(plain_json::from_str::<Number>(json).expect("JSON").json(), number.json(), "{json}");
            number_text("price", number.json()).map(str::to_owned)
        };
        assert_eq!(digits("0.10000000000000000001").expect("a number"), "0.10000000000000000001");
        assert_eq!(digits("\"5.1\"").expect("a number"), "5.1");
        for bad in ["null", "[]", "true", r#""5\u0030""#] {
            assert!(digits(bad).is_err(), "{bad}");
        }
    }
}
