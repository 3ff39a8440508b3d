//! The JSON of Bitstamp.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sources::exchange::fields::{Number, PriceField, SizeField, UnixField};

/// What a message may be.
#[derive(Deserialize)]
pub(super) struct Envelope<'frame> {
    #[serde(borrow)]
    pub(super) event: Cow<'frame, str>,
    #[serde(borrow, default)]
    pub(super) channel: Cow<'frame, str>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'frame RawValue>,
}

/// A message of a channel `live_trades_<pair>`.
#[derive(Deserialize)]
pub(super) struct Push<'frame> {
    #[serde(borrow)]
    pub(super) channel: Cow<'frame, str>,
    #[serde(borrow)]
    pub(super) data: Trade<'frame>,
}

/// A trade, whose exact amounts are the texts.
#[derive(Deserialize)]
pub(super) struct Trade<'frame> {
    #[serde(borrow)]
    pub(super) id: Number<'frame>,
    pub(super) price_str: PriceField,
    pub(super) amount_str: SizeField,
    pub(super) microtimestamp: UnixField<1_000_000>,
}

/// An error, as `bts:error` carries it.
#[derive(Deserialize)]
pub(super) struct Failure {
    #[serde(default)]
    pub(super) code: Option<i64>,
    pub(super) message: String,
}

/// A pair of the list, like `{"name": "BTC/USD", "url_symbol": "btcusd", "trading": "Enabled"}`.
#[derive(Deserialize)]
pub(super) struct Pair<'body> {
    #[serde(borrow)]
    pub(super) name: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) url_symbol: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) trading: Cow<'body, str>,
}

/// A past trade, whose time has whole seconds.
#[derive(Deserialize)]
pub(super) struct PastTrade<'body> {
    #[serde(borrow)]
    pub(super) tid: Number<'body>,
    #[serde(borrow)]
    pub(super) price: Number<'body>,
    #[serde(borrow)]
    pub(super) amount: Number<'body>,
    #[serde(borrow)]
    pub(super) date: Number<'body>,
}
