//! Symbols and venues. Both are valid file names and URL segments without escaping, and a venue is a NATS token. A symbol is one
//! once the dot of a class of share is written `_`, which is done by [`Symbol::subject_token`] alone.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::KnownQuotes;

/// Text that is not a symbol or venue.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The text is neither `BASE-QUOTE` nor a ticker.
    #[error(
        "must be a symbol like BTC-USD, SPY or BRK.B: one or two parts of 1 to 20 of A-Z and 0-9, joined by '-', and a class of \
         share, 1 to 5 of A-Z and 0-9, behind '.'"
    )]
    Symbol,
    /// The text is `BASE-QUOTE`, and the quote is neither a currency nor a coin.
    #[error("must be a symbol like BTC-USD, SPY or BRK.B: {quote} is no currency or coin that is known here{}", .share.hint())]
    UnknownQuote {
        /// The word behind the dash.
        quote: String,
        /// The class of share that may have been meant.
        share: ShareClass,
    },
    /// The text is not a lower-case word.
    #[error("must be a venue like coinbase: 1 to 20 of a-z and 0-9")]
    Venue,
}

/// The class of share that a pair with an unknown quote may have meant: `BRK.B` of `BRK-B`; none where it would be no symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareClass(Option<Symbol>);

impl ShareClass {
    fn hint(&self) -> String {
        self.0.as_ref().map(|share| format!(", and a class of share is written {share}")).unwrap_or_default()
    }
}

impl NameError {
    /// Returns the error of the pair `base-quote` whose quote is neither a currency nor a coin.
    fn unknown_quote(base: &str, quote: &str) -> Self {
        let share = Symbol::parse(&format!("{base}.{quote}")).ok();
        Self::UnknownQuote { quote: quote.to_owned(), share: ShareClass(share) }
    }
}

/// The name of an instrument, `[A-Z0-9]{1,20}(\.[A-Z0-9]{1,5})?(-[A-Z0-9]{1,20})?`: `BTC-USD`, `SPY`, `BRK.B`.
///
/// [`Symbol::parse`] reads what Tickbell itself has written. Text from outside is read by [`Symbol::from_input`], and by
/// [`FromStr`], which knows no other quotes than the well-known ones.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

/// The name of the exchange or source of a price, `[a-z0-9]{1,20}`: `coinbase`, `simulator`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Venue(Arc<str>);

impl Symbol {
    const PATTERN: &str = r"^[A-Z0-9]{1,20}(\.[A-Z0-9]{1,5})?(-[A-Z0-9]{1,20})?$";

    /// Parses a symbol as it is written on the wire. Other spellings are mapped before.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (base, quote) = text.split_once('-').map_or((text, None), |(base, quote)| (base, Some(quote)));
        let valid = is_asset(base) && quote.is_none_or(|quote| is_word(quote, 20, |b| b.is_ascii_uppercase()));
        if valid { Ok(Self(text.into())) } else { Err(NameError::Symbol) }
    }

    /// Parses a symbol as files and requests spell it: `BTC/USDT` and `BTC_USDT` are `BTC-USDT`. A pair whose quote is not
    /// among `quotes` is refused, because `BRK-B` is a class of share and no price in a currency "B".
    pub fn from_input(text: &str, quotes: &KnownQuotes) -> Result<Self, NameError> {
        let symbol = Self::from_spelling(text)?;
        symbol.check_quote(quotes).map(|()| symbol)
    }

    /// Returns an error for a pair whose quote is not among `quotes`. Its sentence has the spelling of a class of share, where
    /// that may have been meant.
    pub fn check_quote(&self, quotes: &KnownQuotes) -> Result<(), NameError> {
        match self.pair() {
            Some((base, quote)) if !quotes.contains(quote) => Err(NameError::unknown_quote(base, quote)),
            _ => Ok(()),
        }
    }

    /// Parses a symbol as files and requests spell it, and leaves it to the caller to check the quote by
    /// [`Symbol::check_quote`].
    pub fn from_spelling(text: &str) -> Result<Self, NameError> {
        if text.contains(['/', '_']) { Self::parse(&text.replace(['/', '_'], "-")) } else { Self::parse(text) }
    }

    /// Returns base and quote of a pair; none for a symbol that names no quote.
    pub fn pair(&self) -> Option<(&str, &str)> {
        self.0.split_once('-')
    }

    /// Returns the symbol as a token of a NATS subject, where a dot would begin another token: `BRK_B` of `BRK.B`.
    pub fn subject_token(&self) -> Cow<'_, str> {
        subject_token(&self.0)
    }

    /// Parses the token that [`Symbol::subject_token`] returns.
    pub fn from_subject_token(token: &str) -> Result<Self, NameError> {
        // A dot cannot be in a token, so that each symbol has one token and each token one symbol.
        if token.contains('.') { Err(NameError::Symbol) } else { Self::parse(&token.replace('_', ".")) }
    }
}

/// Returns whether the text is an asset: a word, and maybe a class of share.
pub(crate) fn is_asset(text: &str) -> bool {
    let (word, class) = text.split_once('.').map_or((text, None), |(word, class)| (word, Some(class)));
    let is_upper = |b: u8| b.is_ascii_uppercase();
    is_word(word, 20, is_upper) && class.is_none_or(|class| is_word(class, 5, is_upper))
}

/// Writes the dot of a class of share as `_`.
pub(crate) fn subject_token(name: &str) -> Cow<'_, str> {
    if name.contains('.') { name.replace('.', "_").into() } else { name.into() }
}

impl FromStr for Symbol {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::from_input(text, &KnownQuotes::default())
    }
}

impl FromStr for Venue {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl Venue {
    const PATTERN: &str = "^[a-z0-9]{1,20}$";

    /// Parses a venue.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_word(text, 20, |b| b.is_ascii_lowercase()) { Ok(Self(text.into())) } else { Err(NameError::Venue) }
    }
}

fn is_word(part: &str, longest: usize, is_in_alphabet: fn(u8) -> bool) -> bool {
    (1..=longest).contains(&part.len()) && part.bytes().all(|b| is_in_alphabet(b) || b.is_ascii_digit())
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
    fn symbols_are_one_or_two_upper_case_words_and_maybe_a_class_of_share() {
        for good in ["BTC-USD", "SPY", "1INCH-USDT", "A", "AAAAAAAAAAAAAAAAAAAA-B", "BRK.B", "BRK.B-USD", "A.AAAAA"] {
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
            "BTC.",
            ".B",
            "BRK..B",
            "BRK.B.C",
            "BRK.b",
            "BRK.AAAAAA",
            "BTC-USD.B",
            "BTC/USD",
            "BTC_USD",
            "BTC>",
            "É",
            "AAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(Symbol::parse(bad), Err(NameError::Symbol), "{bad:?}");
        }
    }

    #[test]
    fn what_files_and_requests_spell_is_mapped_and_a_quote_is_never_invented() {
        let read =
            |text: &str| text.parse::<Symbol>().map(|symbol| symbol.to_string()).map_err(|error| error.to_string());
        for (text, symbol) in [
            ("BTC-USD", "BTC-USD"),
            ("BTC/USDT", "BTC-USDT"),
            ("BTC_USDT", "BTC-USDT"),
            ("ETH/BTC", "ETH-BTC"),
            ("EUR/USD", "EUR-USD"),
            ("BRK.B", "BRK.B"),
            ("BRK.B/USD", "BRK.B-USD"),
            ("SPY", "SPY"),
        ] {
            assert_eq!(read(text), Ok(symbol.to_owned()), "{text}");
        }
        for (text, class) in [
            ("BRK-B", "BRK.B"),
            ("BRK/A", "BRK.A"),
            ("BF_B", "BF.B"),
            ("HEI-A", "HEI.A"),
            ("BAC-PRL", "BAC.PRL"),
            ("CCIV-WS", "CCIV.WS"),
        ] {
            let why = read(text).expect_err(text);
            let quote = class.rsplit('.').next().expect("a class");
            assert!(why.starts_with("must be a symbol like BTC-USD, SPY or BRK.B: "), "{why}");
            let said =
                format!(": {quote} is no currency or coin that is known here, and a class of share is written {class}");
            assert!(why.ends_with(&said), "{text}: {why}");
        }
        assert!(read("BTC-LONGER").is_err_and(|why| why.ends_with("LONGER is no currency or coin that is known here")));
        assert!(read("BRK.B-C").is_err_and(|why| why.ends_with("C is no currency or coin that is known here")));
        for bad in ["BTC//USD", "/USD", "BTC/", "BTC-USD/X", "btc/usdt", "BTC USDT"] {
            assert_eq!(bad.parse::<Symbol>(), Err(NameError::Symbol), "{bad}");
        }
        let quotes = KnownQuotes::with(["BARS"]);
        assert_eq!(Symbol::from_input("ORE/BARS", &quotes).map(|symbol| symbol.to_string()), Ok("ORE-BARS".to_owned()));
    }

    #[test]
    fn a_symbol_is_one_token_of_a_subject_and_comes_back_from_it() {
        for (symbol, token) in [("BTC-USD", "BTC-USD"), ("BRK.B", "BRK_B"), ("BRK.B-USD", "BRK_B-USD"), ("SPY", "SPY")]
        {
            let symbol = Symbol::parse(symbol).expect("a symbol");
            assert_eq!(symbol.subject_token(), token);
            assert_eq!(Symbol::from_subject_token(token), Ok(symbol));
        }
        for bad in ["BRK.B", "BRK__B", "_B", "*", ">", ""] {
            assert_eq!(Symbol::from_subject_token(bad), Err(NameError::Symbol), "{bad}");
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
