//! Symbols and venues. Both are valid NATS tokens, file names and URL segments without escaping.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Text that is not a symbol or venue.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The text is neither `BASE-QUOTE` nor a ticker.
    #[error("must be a symbol like BTC-USD or SPY: one or two parts of 1 to 20 of A-Z and 0-9, joined by '-'")]
    Symbol,
    /// The text is not a lower-case word.
    #[error("must be a venue like coinbase: 1 to 20 of a-z and 0-9")]
    Venue,
}

/// The name of an instrument, `[A-Z0-9]{1,20}(-[A-Z0-9]{1,20})?`: `BTC-USD`, `SPY`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

/// The name of the exchange or source of a price, `[a-z0-9]{1,20}`: `coinbase`, `simulator`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Venue(Arc<str>);

impl Symbol {
    const PATTERN: &str = "^[A-Z0-9]{1,20}(-[A-Z0-9]{1,20})?$";

    /// Parses a symbol. Spellings of exchanges are mapped before.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut parts = text.split('-');
        let valid =
            parts.by_ref().take(2).all(|part| is_word(part, |b| b.is_ascii_uppercase())) && parts.next().is_none();
        if valid { Ok(Self(text.into())) } else { Err(NameError::Symbol) }
    }
}

impl Venue {
    const PATTERN: &str = "^[a-z0-9]{1,20}$";

    /// Parses a venue.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_word(text, |b| b.is_ascii_lowercase()) { Ok(Self(text.into())) } else { Err(NameError::Venue) }
    }
}

fn is_word(part: &str, is_in_alphabet: fn(u8) -> bool) -> bool {
    (1..=20).contains(&part.len()) && part.bytes().all(|b| is_in_alphabet(b) || b.is_ascii_digit())
}

macro_rules! name {
    ($name:ident) => {
        impl $name {
            /// Returns the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", stringify!($name), " as text"))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $name::PATTERN })
            }
        }
    };
}

name!(Symbol);
name!(Venue);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_one_or_two_upper_case_words() {
        for good in ["BTC-USD", "SPY", "1INCH-USDT", "A", "AAAAAAAAAAAAAAAAAAAA-B"] {
            assert_eq!(Symbol::parse(good).map(|s| s.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "-",
            "BTC-",
            "-USD",
            "btc-usd",
            "BTC-USD-X",
            "BTC USD",
            "BTC.USD",
            "BTC>",
            "É",
            "AAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(Symbol::parse(bad), Err(NameError::Symbol), "{bad:?}");
        }
    }

    #[test]
    fn venues_are_one_lower_case_word() {
        assert!(Venue::parse("coinbase").is_ok());
        for bad in ["", "Coinbase", "a b", "a.b", "*", "aaaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(Venue::parse(bad), Err(NameError::Venue), "{bad:?}");
        }
    }
}
