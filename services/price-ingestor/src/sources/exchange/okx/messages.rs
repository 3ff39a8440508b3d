//! The JSON of OKX.

use std::borrow::Cow;

use serde::Deserialize;

use crate::sources::exchange::fields::{Entries, Field, PriceField, SizeField, UnixField};

/// What a message may be: one of a channel, or an answer.
#[derive(Deserialize)]
pub(super) struct Envelope<'frame> {
    #[serde(default)]
    pub(super) event: Option<String>,
    #[serde(borrow, default)]
    pub(super) arg: Option<Arg<'frame>>,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) msg: Option<String>,
}

/// A channel and its instrument.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Arg<'frame> {
    #[serde(borrow)]
    pub(super) channel: Cow<'frame, str>,
    #[serde(borrow, default)]
    pub(super) inst_id: Cow<'frame, str>,
}

/// A message of the channel `trades`.
#[derive(Deserialize)]
pub(super) struct Push<'frame> {
    #[serde(borrow)]
    pub(super) data: Entries<Trade<'frame>>,
}

/// A trade, live or of a page. A live one may stand for several fills, and `count` says how many.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trade<'frame> {
    #[serde(borrow)]
    pub(super) inst_id: Cow<'frame, str>,
    pub(super) trade_id: Field<u64>,
    pub(super) px: PriceField,
    pub(super) sz: SizeField,
    pub(super) ts: UnixField<1_000>,
    #[serde(default)]
    pub(super) count: Option<Field<u64>>,
}

/// An answer of the REST API.
#[derive(Deserialize)]
pub(super) struct Answer<'body, T> {
    #[serde(borrow)]
    pub(super) code: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) msg: Cow<'body, str>,
    pub(super) data: Vec<T>,
}

/// An instrument of the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instrument<'body> {
    #[serde(borrow)]
    pub(super) inst_id: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) base_ccy: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) quote_ccy: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) state: Cow<'body, str>,
}
