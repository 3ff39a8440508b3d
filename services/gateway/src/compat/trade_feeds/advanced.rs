//! The protocol of Coinbase Advanced (<https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview>).

use std::collections::BTreeSet;

use events::Symbol;
use serde::Deserialize;
use serde_json::{Value, json};

use super::message::{Command, Day, Dialect, FeedChannel, FeedTick};
use crate::compat::market_data::TradeId;

/// The protocol of Coinbase Advanced, with the number of the next message.
#[derive(Debug, Default)]
pub(super) struct Advanced(u64);

/// A message of a client. It may have a signature, which is ignored.
#[derive(Deserialize)]
struct Request {
    r#type: String,
    #[serde(default)]
    product_ids: Vec<String>,
    #[serde(default)]
    channel: String,
}

impl Advanced {
    fn message(&mut self, channel: &str, event: &Value) -> String {
        let sequence = self.0;
        self.0 += 1;
        let now = platform::clock::now();
        json!({"channel": channel, "client_id": "", "timestamp": now, "sequence_num": sequence, "events": [event]})
            .to_string()
    }
}

impl Dialect for Advanced {
    fn read(text: &str) -> Result<Command, String> {
        let Request { r#type, product_ids, channel } =
            serde_json::from_str(text).map_err(|error| format!("the message is not one: {error}"))?;
        if channel != "market_trades" {
            return Err(format!("{channel:?} is not a channel; allowed is market_trades"));
        }
        let wanted: BTreeSet<_> = product_ids.into_iter().map(|product| (FeedChannel::Matches, product)).collect();
        match &*r#type {
            "subscribe" if wanted.is_empty() => Err("name product_ids".into()),
            "subscribe" => Ok(Command::Subscribe(wanted)),
            "unsubscribe" => Ok(Command::Unsubscribe(wanted)),
            other => Err(format!("{other:?} is not a type; allowed are subscribe and unsubscribe")),
        }
    }

    fn subscriptions(&mut self, wanted: &BTreeSet<(FeedChannel, Symbol)>) -> String {
        let products: Vec<&Symbol> = wanted.iter().map(|(_, product)| product).collect();
        self.message("subscriptions", &json!({"subscriptions": {"market_trades": products}}))
    }

    /// It has no channel: clients warn of channels that they do not know.
    fn refusal(reason: &str) -> String {
        json!({"type": "error", "message": reason}).to_string()
    }

    fn tick(&mut self, _: FeedChannel, tick: &FeedTick<'_>, _: Option<&Day>) -> Option<String> {
        let trade = json!({
            "trade_id": TradeId::new(tick.id.to_owned()),
            "product_id": tick.product,
            "price": tick.price,
            "size": tick.traded()?,
            "side": "UNKNOWN_ORDER_SIDE",
            "time": tick.at,
        });
        Some(self.message("market_trades", &json!({"type": "update", "trades": [trade]})))
    }
}

#[cfg(test)]
mod tests {
    use events::tick::TickKind;

    use super::*;
    use crate::compat::trade_feeds::message::samples::{kind, tick, wanted};

    #[test]
    fn the_channel_of_trades_is_the_only_one() {
        let text = r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"market_trades","api_key":"any","signature":"any"}"#;
        assert_eq!(Advanced::read(text), Ok(Command::Subscribe(wanted(&[(FeedChannel::Matches, "BTC-USD")]))));
        for bad in [
            r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"heartbeat"}"#,
            r#"{"type":"subscribe","product_ids":[],"channel":"market_trades"}"#,
            r#"{"type":"subscribe"}"#,
            "",
        ] {
            let reason = Advanced::read(bad).expect_err(bad);
            let refusal: Value = serde_json::from_str(&Advanced::refusal(&reason)).expect("JSON");
            assert!(refusal["type"] == "error" && refusal.get("channel").is_none(), "{refusal}");
        }
    }

    #[test]
    fn messages_are_numbered_and_trades_have_the_fields_that_clients_read() {
        let product = Symbol::parse("BTC-USD").expect("a symbol");
        let mut advanced = Advanced::default();
        let read = |text: Option<String>| serde_json::from_str::<Value>(&text.expect("a message")).expect("JSON");
        let subscriptions = read(Some(advanced.subscriptions(&[(FeedChannel::Matches, product.clone())].into())));
        assert_eq!(subscriptions["events"][0]["subscriptions"], json!({"market_trades": ["BTC-USD"]}));
        assert_eq!(advanced.tick(FeedChannel::Matches, &kind(&product, TickKind::Poll), None), None);
        let message = read(advanced.tick(FeedChannel::Matches, &tick(&product), None));
        assert_eq!((&message["channel"], &message["sequence_num"]), (&json!("market_trades"), &json!(1)));
        let trade = json!({
            "trade_id": 42, "product_id": "BTC-USD", "price": "6804.910", "size": "0.250",
            "side": "UNKNOWN_ORDER_SIDE", "time": "2018-04-05T00:00:00.000000Z"
        });
        assert_eq!(message["events"], json!([{"type": "update", "trades": [trade]}]));
    }
}
