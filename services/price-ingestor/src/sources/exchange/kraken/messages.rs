//! The JSON of Kraken.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::sources::exchange::fields::{Entries, Number, TimeField};

/// What a message may be: one of a channel, or an answer.
#[derive(Deserialize)]
pub(super) struct Envelope<'frame> {
    #[serde(default)]
    pub(super) channel: Option<String>,
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) req_id: Option<u64>,
    #[serde(default)]
    pub(super) success: Option<bool>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'frame RawValue>,
    #[serde(default)]
    pub(super) symbol: Option<String>,
    #[serde(default)]
    pub(super) error: Option<String>,
    /// `{"Error":"Exceeded msg rate"}`.
    #[serde(rename = "Error", default)]
    pub(super) limit_error: Option<String>,
}

/// The result of a subscription.
#[derive(Deserialize)]
pub(super) struct Subscription<'frame> {
    #[serde(borrow)]
    pub(super) channel: Cow<'frame, str>,
    #[serde(borrow)]
    pub(super) symbol: Cow<'frame, str>,
}

/// A message of the channel `trade`.
#[derive(Deserialize)]
pub(super) struct Push<'frame> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'frame, str>,
    #[serde(borrow)]
    pub(super) data: Entries<Trade<'frame>>,
}

/// A trade of the channel.
#[derive(Deserialize)]
pub(super) struct Trade<'frame> {
    #[serde(borrow)]
    pub(super) symbol: Cow<'frame, str>,
    #[serde(borrow)]
    pub(super) price: Number<'frame>,
    #[serde(borrow)]
    pub(super) qty: Number<'frame>,
    pub(super) trade_id: u64,
    pub(super) timestamp: TimeField,
}

/// An answer of the REST API.
#[derive(Deserialize)]
pub(super) struct Answer<'body> {
    pub(super) error: Vec<String>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'body RawValue>,
}

/// The pairs by their names.
pub(super) type Pairs<'body> = BTreeMap<String, Pair<'body>>;

/// A pair of the list.
#[derive(Deserialize)]
pub(super) struct Pair<'body> {
    #[serde(borrow)]
    pub(super) altname: Cow<'body, str>,
    #[serde(borrow, default)]
    pub(super) wsname: Cow<'body, str>,
    #[serde(borrow, default)]
    pub(super) status: Cow<'body, str>,
}

/// A past trade: price, volume, time in seconds, side, order type, miscellaneous, trade id.
pub(super) type PastTrade<'body> =
    (&'body RawValue, &'body RawValue, &'body RawValue, IgnoredAny, IgnoredAny, IgnoredAny, u64);
