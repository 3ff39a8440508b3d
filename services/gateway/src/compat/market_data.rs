//! What the surfaces have in common: products, candles, and decimals that stay the digits which the database has.

use std::{collections::BTreeMap, io::Write};

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use events::{Asset, Symbol};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use store::{
    Numeric,
    market::{
        candle_list::{self, CandleRows, NewestCandles},
        markets::MarketProgress,
    },
    trading::assets,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema, Type},
};

use crate::{
    http::problem::{Problem, ProblemKind},
    state::AppState,
};

/// The most products that are listed, because these clients take a list as a whole.
pub(super) const MOST_PRODUCTS: i64 = 2_000;
/// The decimal places of an amount of an asset that accounts may not hold.
const OTHER_PLACES: u32 = 8;

/// The part `{product_id}` of a path: the symbol of a product. Text that is no symbol is no product.
pub(super) struct ProductPath(pub(super) Symbol);

impl<S: Send + Sync> FromRequestParts<S> for ProductPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.map(|Path(text)| text).unwrap_or_default();
        Symbol::parse(&text).map(Self).map_err(|_| unknown_symbol())
    }
}

/// Returns the problem of a symbol that nobody has quoted.
pub(super) fn unknown_symbol() -> Problem {
    Problem::new(ProblemKind::NotFound, "unknown_symbol")
}

/// Returns the primary market of a symbol, as of now or later.
pub(super) async fn find_market(state: &AppState, symbol: &Symbol) -> Result<MarketProgress, Problem> {
    state.progress.read((symbol.clone(), None)).await?.ok_or_else(unknown_symbol)
}

/// Returns the newest candles of a range, newest first.
pub(super) async fn newest_candles(state: &AppState, newest: NewestCandles) -> Result<CandleRows, Problem> {
    Ok(candle_list::read_newest(&state.store, newest).await?)
}

/// Returns the smallest step of a number with so many decimal places.
pub(super) fn increment(places: u32) -> String {
    match places {
        0 => "1".into(),
        _ => format!("0.{:0>width$}", 1, width = places as usize),
    }
}

/// The number of decimal places of each asset that accounts may hold.
pub(super) struct AssetPlaces(BTreeMap<Asset, u32>);

impl AssetPlaces {
    /// Reads the assets.
    pub(super) async fn read(state: &AppState) -> Result<Self, Problem> {
        Ok(Self(assets::list(&state.store).await?.into_iter().collect()))
    }

    /// Returns the smallest step of an amount of an asset.
    pub(super) fn increment(&self, code: &str) -> String {
        let places = Asset::parse(code).ok().and_then(|code| self.0.get(&code).copied());
        increment(places.unwrap_or(OTHER_PLACES))
    }
}

/// Writes a list as a JSON array.
pub(super) fn array<T, E>(
    json: &mut Vec<u8>,
    items: impl Iterator<Item = Result<T, E>>,
    write: impl Fn(&mut Vec<u8>, T),
) -> Result<(), E> {
    json.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write(json, item?);
    }
    json.push(b']');
    Ok(())
}

/// Writes the numbers of a list as a JSON array.
pub(super) fn numbers<const N: usize>(json: &mut Vec<u8>, integer: i64, numbers: [&Numeric<'_>; N]) {
    // A vector takes all that is written.
    let _ = write!(json, "[{integer}");
    for number in numbers {
        json.push(b',');
        number.write_to(json);
    }
    json.push(b']');
}

/// A decimal that is written as a JSON number, digit by digit: it is never a float here.
#[derive(Debug)]
pub(super) struct JsonNumber(Box<RawValue>);

impl JsonNumber {
    /// Makes a number of decimal text, which prices and sizes are.
    pub(super) fn new(decimal: impl ToString) -> Result<Self, Problem> {
        let number = RawValue::from_string(decimal.to_string());
        number.map(Self).map_err(|error| Problem::internal(format!("a decimal is no JSON number: {error}")))
    }
}

impl Serialize for JsonNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl PartialSchema for JsonNumber {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Number).into()
    }
}

impl ToSchema for JsonNumber {
    fn name() -> std::borrow::Cow<'static, str> {
        "Number".into()
    }
}

/// The id of a trade: a number where the venue counts its trades, as typed clients expect, and text where the id has other
/// characters.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum TradeId {
    Number(u64),
    Text(String),
}

/// The most digits of a number that every client reads exactly.
const EXACT_DIGITS: usize = 15;

impl TradeId {
    pub(super) fn new(id: String) -> Self {
        let is_number =
            id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0') && id.len() <= EXACT_DIGITS;
        match id.parse() {
            Ok(number) if is_number => Self::Number(number),
            _ => Self::Text(id),
        }
    }
}

impl PartialSchema for TradeId {
    fn schema() -> RefOr<Schema> {
        let one_of = |kind| ObjectBuilder::new().schema_type(kind);
        OneOfBuilder::new().item(one_of(Type::Integer)).item(one_of(Type::String)).into()
    }
}

impl ToSchema for TradeId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_increment_is_the_last_decimal_place() {
        for (places, expected) in [(0, "1"), (1, "0.1"), (2, "0.01"), (8, "0.00000001"), (18, "0.000000000000000001")] {
            assert_eq!(increment(places), expected);
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        for text in ["0.000000000000000001", "167.4100", "99999999999999.12345678901234", "0"] {
            let number = JsonNumber::new(text).expect("a number");
            assert_eq!(serde_json::to_string(&number).expect("JSON"), text);
        }
        assert!(JsonNumber::new("NaN").is_err());
    }

    #[test]
    fn an_id_is_a_number_only_where_every_client_reads_it_exactly() {
        for (id, expected) in [
            ("812345001", "812345001"),
            ("999999999999999", "999999999999999"),
            ("1234567890123456", "\"1234567890123456\""),
            ("0", "\"0\""),
            ("007", "\"007\""),
            ("", "\"\""),
            ("1381118400464000/167.41/100/0", "\"1381118400464000/167.41/100/0\""),
        ] {
            assert_eq!(serde_json::to_string(&TradeId::new(id.into())).expect("JSON"), expected);
        }
    }
}
