//! The JSON of Coinbase Advanced Trade.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

use crate::sources::exchange::fields::{Entries, Field, PriceField, SizeField, TimeField};

/// The channel of a message that does not begin with it, or an error.
#[derive(Deserialize)]
pub(super) struct Envelope {
    #[serde(default)]
    pub(super) channel: Option<String>,
    #[serde(default)]
    pub(super) message: Option<String>,
}

/// A message of the channel `market_trades`.
#[derive(Deserialize)]
pub(super) struct MarketTrades<'frame> {
    #[serde(borrow)]
    pub(super) events: Entries<TradesEvent<'frame>>,
}

/// Trades, newest first.
#[derive(Deserialize)]
pub(super) struct TradesEvent<'frame> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'frame, str>,
    #[serde(borrow)]
    pub(super) trades: Entries<Trade<'frame>>,
}

/// A trade, live or of a page. `side` is not used.
#[derive(Deserialize)]
pub(super) struct Trade<'frame> {
    pub(super) trade_id: Field<u64>,
    #[serde(borrow)]
    pub(super) product_id: Cow<'frame, str>,
    pub(super) price: PriceField,
    pub(super) size: SizeField,
    pub(super) time: TimeField,
}

/// A message of the channel `subscriptions`.
#[derive(Deserialize)]
pub(super) struct Subscriptions {
    pub(super) events: Vec<SubscriptionsEvent>,
}

/// Everything that is subscribed now: products by channel.
#[derive(Deserialize)]
pub(super) struct SubscriptionsEvent {
    pub(super) subscriptions: BTreeMap<String, Vec<String>>,
}

/// The list of products.
#[derive(Deserialize)]
pub(super) struct Products<'body> {
    #[serde(borrow)]
    pub(super) products: Vec<ListedProduct<'body>>,
}

/// A product of the list. One that is the alias of another has no live messages of its own.
#[derive(Deserialize)]
pub(super) struct ListedProduct<'body> {
    #[serde(borrow)]
    pub(super) product_id: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) base_currency_id: Cow<'body, str>,
    #[serde(borrow)]
    pub(super) quote_currency_id: Cow<'body, str>,
    #[serde(borrow, default)]
    pub(super) status: Cow<'body, str>,
    #[serde(borrow, default)]
    pub(super) alias: Cow<'body, str>,
}

/// A page of past trades, newest first.
#[derive(Deserialize)]
pub(super) struct PastTrades<'body> {
    #[serde(borrow)]
    pub(super) trades: Vec<Trade<'body>>,
}
