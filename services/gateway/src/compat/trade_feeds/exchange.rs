//! The protocol of Coinbase Exchange (<https://docs.cdp.coinbase.com/exchange/docs/websocket-overview>).

use std::collections::{BTreeMap, BTreeSet};

use events::Symbol;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::message::{Command, Day, Dialect, FeedChannel, FeedTick};
use crate::compat::market_data::TradeId;

/// The protocol of Coinbase Exchange.
#[derive(Debug, Default)]
pub(super) struct Exchange;

/// A message of a client. It may have a signature, which is ignored.
#[derive(Deserialize)]
struct Request {
    r#type: String,
    #[serde(default)]
    product_ids: Vec<String>,
    #[serde(default)]
    channels: Vec<RequestedChannel>,
}

/// A channel, for the products of the message or for those beside it.
#[derive(Deserialize)]
#[serde(untagged)]
enum RequestedChannel {
    Name(String),
    WithProducts {
        name: String,
        #[serde(default)]
        product_ids: Vec<String>,
    },
}

#[derive(Serialize)]
struct Ticker<'a> {
    r#type: &'static str,
    sequence: u64,
    product_id: &'a Symbol,
    price: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_24h: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_24h: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_24h: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_24h: Option<&'a str>,
    time: String,
    trade_id: TradeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_size: Option<String>,
}

#[derive(Serialize)]
struct Match<'a> {
    r#type: &'static str,
    trade_id: TradeId,
    sequence: u64,
    product_id: &'a Symbol,
    size: String,
    price: String,
    time: String,
}

fn channel(name: &str) -> Result<FeedChannel, String> {
    match name {
        "ticker" => Ok(FeedChannel::Ticker),
        "matches" => Ok(FeedChannel::Matches),
        other => Err(format!("{other:?} is not a channel; allowed are ticker and matches")),
    }
}

fn name(channel: FeedChannel) -> &'static str {
    match channel {
        FeedChannel::Ticker => "ticker",
        FeedChannel::Matches => "matches",
    }
}

impl Dialect for Exchange {
    fn read(text: &str) -> Result<Command, String> {
        let request: Request =
            serde_json::from_str(text).map_err(|error| format!("the message is not one: {error}"))?;
        let mut wanted = BTreeSet::new();
        for requested in request.channels {
            let (name, products) = match requested {
                RequestedChannel::Name(name) => (name, &request.product_ids),
                RequestedChannel::WithProducts { ref name, ref product_ids } if product_ids.is_empty() => {
                    (name.clone(), &request.product_ids)
                }
                RequestedChannel::WithProducts { name, product_ids } => {
                    let channel = channel(&name)?;
                    wanted.extend(product_ids.into_iter().map(|product| (channel, product)));
                    continue;
                }
            };
            let channel = channel(&name)?;
            wanted.extend(products.iter().map(|product| (channel, product.clone())));
        }
        match &*request.r#type {
            "subscribe" if wanted.is_empty() => Err("name channels and product_ids".into()),
            "subscribe" => Ok(Command::Subscribe(wanted)),
            "unsubscribe" => Ok(Command::Unsubscribe(wanted)),
            other => Err(format!("{other:?} is not a type; allowed are subscribe and unsubscribe")),
        }
    }

    fn subscriptions(&mut self, wanted: &BTreeSet<(FeedChannel, Symbol)>) -> String {
        let mut channels: BTreeMap<&str, Vec<&Symbol>> = BTreeMap::new();
        for (channel, product) in wanted {
            channels.entry(name(*channel)).or_default().push(product);
        }
        let channels: Vec<_> =
            channels.into_iter().map(|(name, products)| json!({"name": name, "product_ids": products})).collect();
        json!({"type": "subscriptions", "channels": channels}).to_string()
    }

    fn refusal(reason: &str) -> String {
        json!({"type": "error", "message": "Failed to subscribe", "reason": reason}).to_string()
    }

    fn tick(&mut self, channel: FeedChannel, tick: &FeedTick<'_>, day: Option<&Day>) -> Option<String> {
        let FeedTick { product, id, price, size, at, sequence, .. } = *tick;
        let (trade_id, price, time) = (TradeId::new(id.to_owned()), price.to_string(), at.to_string());
        let message = match channel {
            FeedChannel::Ticker => serde_json::to_string(&Ticker {
                r#type: "ticker",
                sequence,
                product_id: product,
                price,
                open_24h: day.and_then(|day| day.open).map(|open| open.to_string()),
                volume_24h: day.map(|day| day.range.volume.as_str()),
                low_24h: day.map(|day| day.range.low.as_str()),
                high_24h: day.map(|day| day.range.high.as_str()),
                time,
                trade_id,
                last_size: size.map(|size| size.to_string()),
            }),
            FeedChannel::Matches => serde_json::to_string(&Match {
                r#type: "match",
                trade_id,
                sequence,
                product_id: product,
                size: tick.traded()?.to_string(),
                price,
                time,
            }),
        };
        message.ok()
    }
}

#[cfg(test)]
mod tests {
    use events::tick::TickKind;
    use store::market::products::DayRange;

    use super::*;
    use crate::compat::trade_feeds::message::samples::{kind, tick, wanted};

    #[test]
    fn a_channel_is_for_the_products_beside_it_or_for_those_of_the_message() {
        let (ticker, matches) = (FeedChannel::Ticker, FeedChannel::Matches);
        for (text, expected) in [
            (
                r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches"],"signature":"x"}"#,
                Command::Subscribe(wanted(&[(matches, "BTC-USD")])),
            ),
            (
                r#"{"type":"subscribe","product_ids":["A-B","C-D"],"channels":["ticker",{"name":"matches","product_ids":["E-F"]}]}"#,
                Command::Subscribe(wanted(&[(ticker, "A-B"), (ticker, "C-D"), (matches, "E-F")])),
            ),
            (
                r#"{"type":"subscribe","product_ids":["A-B"],"channels":[{"name":"matches"}]}"#,
                Command::Subscribe(wanted(&[(matches, "A-B")])),
            ),
            (r#"{"type":"unsubscribe","product_ids":[],"channels":[]}"#, Command::Unsubscribe(wanted(&[]))),
        ] {
            assert_eq!(Exchange::read(text), Ok(expected), "{text}");
        }
        for bad in [
            "",
            "[]",
            r#"{"type":"subscribe","product_ids":[],"channels":["ticker"]}"#,
            r#"{"type":"subscribe","product_ids":["A-B"],"channels":["level2"]}"#,
            r#"{"type":"hello","product_ids":["A-B"],"channels":["ticker"]}"#,
        ] {
            assert!(Exchange::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tick_has_the_fields_that_clients_read() {
        let product = Symbol::parse("BTC-USD").expect("a symbol");
        let range = DayRange { high: "6900".into(), low: "6650.010".into(), volume: "12.5".into() };
        let day = Day { open: "6700.50".parse().ok(), range };
        let write = |channel, tick: &FeedTick<'_>| Exchange.tick(channel, tick, Some(&day));
        assert_eq!(
            write(FeedChannel::Ticker, &tick(&product)).as_deref(),
            Some(
                r#"{"type":"ticker","sequence":7001,"product_id":"BTC-USD","price":"6804.910","open_24h":"6700.50","volume_24h":"12.5","low_24h":"6650.010","high_24h":"6900","time":"2018-04-05T00:00:00.000000Z","trade_id":42,"last_size":"0.250"}"#
            )
        );
        assert_eq!(
            write(FeedChannel::Matches, &tick(&product)).as_deref(),
            Some(
                r#"{"type":"match","trade_id":42,"sequence":7001,"product_id":"BTC-USD","size":"0.250","price":"6804.910","time":"2018-04-05T00:00:00.000000Z"}"#
            )
        );
        assert_eq!(write(FeedChannel::Matches, &kind(&product, TickKind::Quote)), None, "a quote is no trade");
        assert!(write(FeedChannel::Ticker, &kind(&product, TickKind::Poll)).is_some());
    }

    #[test]
    fn what_a_client_is_subscribed_to_is_listed_by_channel() {
        let product = |name: &str| Symbol::parse(name).expect("a symbol");
        let wanted = [
            (FeedChannel::Matches, product("BTC-USD")),
            (FeedChannel::Matches, product("ETH-USD")),
            (FeedChannel::Ticker, product("BTC-USD")),
        ];
        let written: serde_json::Value = serde_json::from_str(&Exchange.subscriptions(&wanted.into())).expect("JSON");
        let channels = json!([
            {"name": "matches", "product_ids": ["BTC-USD", "ETH-USD"]},
            {"name": "ticker", "product_ids": ["BTC-USD"]},
        ]);
        assert_eq!(written, json!({"type": "subscriptions", "channels": channels}));
    }
}
