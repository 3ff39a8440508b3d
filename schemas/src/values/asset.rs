//! Assets that accounts hold: currencies, coins, shares.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::{Symbol, symbol};

/// Text that is not an asset.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error(
    "must be an asset like USD, BTC or BRK.B: 1 to 20 of A-Z and 0-9, and a class of share, 1 to 5 of A-Z and 0-9, behind '.'"
)]
pub struct AssetError;

/// An amount with more decimal places than its asset allows.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("must have at most {places} decimal places, as {asset} has")]
pub struct TooPrecise {
    asset: Asset,
    places: u32,
}

/// Returns whether an amount has at most `places` decimal places. Trailing zeros do not count.
pub fn is_within(amount: Decimal, places: u32) -> bool {
    amount.normalize().scale() <= places
}

/// The quote asset of a symbol that names none, like `SPY`.
const DEFAULT_QUOTE: &str = "USD";

/// The code of an asset, `[A-Z0-9]{1,20}(\.[A-Z0-9]{1,5})?`: `USD`, `BTC`, `SPY`, `BRK.B`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asset(Arc<str>);

impl Asset {
    const PATTERN: &str = r"^[A-Z0-9]{1,20}(\.[A-Z0-9]{1,5})?$";

    /// Parses an asset code.
    pub fn parse(text: &str) -> Result<Self, AssetError> {
        if symbol::is_asset(text) { Ok(Self(text.into())) } else { Err(AssetError) }
    }

    /// Returns the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the code as a token of a NATS subject, where a dot would begin another token: `BRK_B` of `BRK.B`.
    pub fn subject_token(&self) -> Cow<'_, str> {
        symbol::subject_token(&self.0)
    }

    /// Returns an error for an amount with more than `places` decimal places.
    pub fn check(&self, amount: Decimal, places: u32) -> Result<(), TooPrecise> {
        if is_within(amount, places) { Ok(()) } else { Err(TooPrecise { asset: self.clone(), places }) }
    }
}

impl Symbol {
    /// Returns the asset that is bought and sold: `BTC` of `BTC-USD`, `SPY` of `SPY`, `BRK.B` of `BRK.B`.
    pub fn base(&self) -> Asset {
        let base = self.pair().map_or(self.as_str(), |(base, _)| base);
        Asset(base.into())
    }

    /// Returns the asset that it is paid with: `USD` of `BTC-USD`, and of a symbol that names none.
    pub fn quote(&self) -> Asset {
        let quote = self.pair().map_or(DEFAULT_QUOTE, |(_, quote)| quote);
        Asset(quote.into())
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Asset {
    type Err = AssetError;
    fn from_str(text: &str) -> Result<Self, AssetError> {
        Self::parse(text)
    }
}

impl Serialize for Asset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Asset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Asset {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Asset".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Asset::PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_says_what_is_traded_and_what_it_is_paid_with() {
        for (symbol, base, quote) in [
            ("BTC-USD", "BTC", "USD"),
            ("ETH-BTC", "ETH", "BTC"),
            ("SPY", "SPY", "USD"),
            ("BRK.B", "BRK.B", "USD"),
            ("BRK.B-EUR", "BRK.B", "EUR"),
        ] {
            let symbol = Symbol::parse(symbol).expect("a symbol");
            assert_eq!((symbol.base().as_str(), symbol.quote().as_str()), (base, quote));
        }
    }

    #[test]
    fn more_places_than_the_asset_has_are_refused_and_zeros_are_none() {
        let usd = Asset::parse("USD").expect("an asset");
        let check = |amount: &str| usd.check(amount.parse().expect("a decimal"), 2).map_err(|error| error.to_string());
        assert_eq!((check("1.5"), check("1.50000"), check("1500")), (Ok(()), Ok(()), Ok(())));
        assert_eq!(check("1.505"), Err("must have at most 2 decimal places, as USD has".into()));
    }

    #[test]
    fn what_is_no_asset_is_refused() {
        for bad in
            ["", "usd", "US-D", "U S", "€", "AAAAAAAAAAAAAAAAAAAAA", "BRK.", ".B", "BRK.B.C", "BRK_B", "BRK.AAAAAA"]
        {
            assert_eq!(Asset::parse(bad), Err(AssetError), "{bad}");
        }
        assert_eq!(Asset::parse("BRK.B").map(|asset| asset.subject_token().into_owned()), Ok("BRK_B".to_owned()));
    }
}
