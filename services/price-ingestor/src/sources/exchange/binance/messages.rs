//! The JSON of Binance.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::sources::exchange::fields::{PriceField, SizeField};

/// What a message may be: one of a combined stream, a single event, or an answer.
#[derive(Deserialize)]
pub(super) struct Envelope<'frame> {
    #[serde(default)]
    pub(super) stream: Option<String>,
    #[serde(rename = "e", default)]
    pub(super) event: Option<String>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'frame RawValue>,
    #[serde(default)]
    pub(super) id: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    pub(super) result: bool,
    #[serde(default)]
    pub(super) error: Option<Failure>,
    #[serde(default)]
    pub(super) code: Option<i64>,
    #[serde(default)]
    pub(super) msg: Option<String>,
}

/// An error, inside of an answer or as the whole of one.
#[derive(Deserialize)]
pub(super) struct Failure {
    pub(super) code: i64,
    pub(super) msg: String,
}

/// A message of a combined stream.
#[derive(Deserialize)]
pub(super) struct Combined<'frame> {
    #[serde(borrow)]
    pub(super) data: AggTrade<'frame>,
}

/// `aggTrade`: the fills of one taker order at one price. `E`, `f`, `l`, `m` and `M` are not used.
#[derive(Deserialize)]
pub(super) struct AggTrade<'frame> {
    #[serde(rename = "s", borrow)]
    pub(super) symbol: Cow<'frame, str>,
    #[serde(rename = "a")]
    pub(super) id: u64,
    #[serde(rename = "p")]
    pub(super) price: PriceField,
    #[serde(rename = "q")]
    pub(super) quantity: SizeField,
    #[serde(rename = "T")]
    pub(super) traded_at: i64,
}

/// The answer `exchangeInfo`, which lists all symbols.
#[derive(Deserialize)]
pub(super) struct ExchangeInfo<'body> {
    #[serde(borrow)]
    pub(super) symbols: Vec<ListedSymbol<'body>>,
}

/// A symbol of the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedSymbol<'body> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) base_asset: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) quote_asset: Cow<'body, str>,
}

/// An aggregate trade of a page, which does not repeat its symbol.
#[derive(Deserialize)]
pub(super) struct PastTrade {
    #[serde(rename = "a")]
    pub(super) id: u64,
    #[serde(rename = "p")]
    pub(super) price: PriceField,
    #[serde(rename = "q")]
    pub(super) quantity: SizeField,
    #[serde(rename = "T")]
    pub(super) traded_at: i64,
}

/// Returns true for a field that is there, also when it is null.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
