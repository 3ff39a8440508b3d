//! The JSON of Coinbase Exchange.

use std::borrow::Cow;

use serde::Deserialize;

use crate::sources::exchange::fields::{PriceField, SizeField, Text, TimeField};

/// The type of a message that does not begin with it.
#[derive(Deserialize)]
pub(super) struct Envelope<'frame> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'frame, str>,
}

/// A trade: `match`, or `last_match` after the subscription. `side` is the maker's, and is not used.
#[derive(Deserialize)]
pub(super) struct Match<'frame> {
    pub(super) trade_id: u64,
    #[serde(borrow)]
    pub(super) product_id: Cow<'frame, str>,
    pub(super) price: PriceField,
    pub(super) size: SizeField,
    pub(super) time: TimeField,
}

/// `heartbeat`: the last trade of a product. `last_trade_id` was 0 for months (go-coinbasepro #89): that is no id.
#[derive(Deserialize)]
pub(super) struct Heartbeat<'frame> {
    #[serde(borrow)]
    pub(super) product_id: Cow<'frame, str>,
    #[serde(default)]
    pub(super) last_trade_id: u64,
}

/// `subscriptions`: everything that is subscribed now.
#[derive(Deserialize)]
pub(super) struct Subscriptions<'frame> {
    #[serde(borrow)]
    pub(super) channels: Vec<Channel<'frame>>,
}

/// A channel and its products.
#[derive(Deserialize)]
pub(super) struct Channel<'frame> {
    #[serde(borrow)]
    pub(super) name: Cow<'frame, str>,
    #[serde(borrow, default)]
    pub(super) product_ids: Vec<Text<'frame>>,
}

/// The message `error`, which refuses a whole request.
#[derive(Deserialize)]
pub(super) struct Failure<'frame> {
    #[serde(borrow)]
    pub(super) message: Cow<'frame, str>,
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// A product of the list.
#[derive(Deserialize)]
pub(super) struct ListedProduct<'body> {
    #[serde(borrow)]
    pub(super) id: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) base_currency: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) quote_currency: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'body, str>,
}

/// A trade of a page.
#[derive(Deserialize)]
pub(super) struct PastTrade {
    pub(super) trade_id: u64,
    pub(super) price: PriceField,
    pub(super) size: SizeField,
    pub(super) time: TimeField,
}
