//! The JSON of Bybit.

use std::borrow::Cow;

use serde::Deserialize;

use crate::sources::exchange::fields::{Entries, PriceField, SizeField};

/// What a message may be: one of a topic, or an answer.
#[derive(Deserialize)]
pub(super) struct Envelope<'frame> {
    #[serde(borrow, default)]
    pub(super) topic: Option<&'frame str>,
    #[serde(default)]
    pub(super) op: Option<String>,
    #[serde(default)]
    pub(super) success: Option<bool>,
    #[serde(default)]
    pub(super) ret_msg: Option<String>,
    #[serde(default)]
    pub(super) req_id: Option<String>,
}

/// A message of a topic `publicTrade.<symbol>`.
#[derive(Deserialize)]
pub(super) struct Push<'frame> {
    #[serde(borrow)]
    pub(super) data: Entries<Trade<'frame>>,
}

/// A trade, with one letter for each field.
#[derive(Deserialize)]
pub(super) struct Trade<'frame> {
    #[serde(rename = "s", borrow)]
    pub(super) symbol: Cow<'frame, str>,
    #[serde(rename = "i", borrow)]
    pub(super) id: Cow<'frame, str>,
    #[serde(rename = "p")]
    pub(super) price: PriceField,
    #[serde(rename = "v")]
    pub(super) volume: SizeField,
    #[serde(rename = "T")]
    pub(super) traded_at: i64,
}

/// An answer of the REST API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'body> {
    pub(super) ret_code: i64,
    #[serde(borrow, default)]
    pub(super) ret_msg: Cow<'body, str>,
    #[serde(borrow, default)]
    pub(super) result: Instruments<'body>,
}

/// The list of instruments.
#[derive(Default, Deserialize)]
pub(super) struct Instruments<'body> {
    #[serde(borrow, default)]
    pub(super) list: Vec<Instrument<'body>>,
}

/// An instrument of the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instrument<'body> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) base_coin: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) quote_coin: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'body, str>,
}
