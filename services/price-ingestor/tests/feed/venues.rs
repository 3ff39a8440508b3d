//! How the server speaks: the messages of each venue, written without the code that reads them.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::market::MarketTrade;

/// A protocol that the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Coinbase,
    Binance,
    Kraken,
}

pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Coinbase, Protocol::Binance, Protocol::Kraken];
/// The products of the server in its spelling, and ours.
pub(crate) const SYMBOLS: [&str; 2] = ["BTC-USD", "ETH-USD"];

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).expect("a time")
}

fn rfc3339(micros: i64) -> String {
    time(micros).to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl Protocol {
    pub(crate) fn venue(self) -> &'static str {
        match self {
            Self::Coinbase => "coinbase",
            Self::Binance => "binance",
            Self::Kraken => "kraken",
        }
    }

    /// Returns the name of a product in live messages.
    pub(crate) fn product(self, symbol: &str) -> String {
        match self {
            Self::Coinbase => symbol.to_owned(),
            Self::Binance => symbol.replace('-', ""),
            Self::Kraken => symbol.replace('-', "/"),
        }
    }

    /// Returns the finest unit of time of the venue, in microseconds.
    pub(crate) fn grain(self) -> i64 {
        if self == Self::Binance { 1_000 } else { 1 }
    }

    /// Answers a request of the client, and changes what it has subscribed.
    pub(crate) fn answer(self, request: &str, subscribed: &mut BTreeSet<String>) -> Vec<String> {
        let request: Value = serde_json::from_str(request).expect("JSON from the client");
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().expect("a list").iter().map(|text| text.as_str().expect("text").to_owned()).collect()
        };
        let mut change = |method: &Value, products: &[String]| match method.as_str().map(str::to_lowercase).as_deref() {
            Some("subscribe") => subscribed.extend(products.iter().cloned()),
            Some("unsubscribe") => subscribed.retain(|product| !products.contains(product)),
            _ => panic!("a request {method}"),
        };
        match self {
            Self::Coinbase => {
                assert_eq!(request["channels"], json!(["matches", "heartbeat"]));
                change(&request["type"], &texts(&request["product_ids"]));
                let channel = |name: &str| json!({ "name": name, "product_ids": subscribed });
                let answer = json!({ "type": "subscriptions", "channels": [channel("matches"), channel("heartbeat")] });
                vec![answer.to_string()]
            }
            Self::Binance => {
                let product = |stream: &String| stream.strip_suffix("@aggTrade").expect("a stream").to_uppercase();
                let products: Vec<String> = texts(&request["params"]).iter().map(product).collect();
                change(&request["method"], &products);
                vec![json!({ "result": null, "id": request["id"] }).to_string()]
            }
            Self::Kraken => {
                assert_eq!(request["params"]["channel"], "trade");
                let products = texts(&request["params"]["symbol"]);
                change(&request["method"], &products);
                let answer = |product: &String| {
                    let result = json!({ "channel": "trade", "snapshot": true, "symbol": product });
                    json!({ "method": request["method"], "req_id": request["req_id"], "success": true, "result": result })
                        .to_string()
                };
                products.iter().map(answer).collect()
            }
        }
    }

    /// Writes trades of one product as live messages.
    pub(crate) fn live(self, product: &str, trades: &[MarketTrade]) -> Vec<String> {
        match self {
            Self::Coinbase => {
                let message = |MarketTrade { id, price, size, at, .. }: &MarketTrade| {
                    format!(
                        r#"{{"type":"match","trade_id":{id},"side":"sell","size":"{size}","price":"{price}","product_id":"{product}","sequence":{},"time":"{}"}}"#,
                        id * 3,
                        rfc3339(*at)
                    )
                };
                trades.iter().map(message).collect()
            }
            Self::Binance => {
                let message = |MarketTrade { id, price, size, at, .. }: &MarketTrade| {
                    let millis = at / 1_000;
                    let data = format!(
                        r#"{{"e":"aggTrade","E":{millis},"s":"{product}","a":{id},"p":"{price}","q":"{size}","f":{id},"l":{id},"T":{millis},"m":true,"M":true}}"#
                    );
                    format!(r#"{{"stream":"{}@aggTrade","data":{data}}}"#, product.to_lowercase())
                };
                trades.iter().map(message).collect()
            }
            Self::Kraken => {
                let trade = |MarketTrade { id, price, size, at, .. }: &MarketTrade| {
                    format!(
                        r#"{{"symbol":"{product}","side":"sell","price":{price},"qty":{size},"ord_type":"market","trade_id":{id},"timestamp":"{}"}}"#,
                        rfc3339(*at)
                    )
                };
                // Several trades in one message, newest first.
                let data: Vec<String> = trades.iter().rev().map(trade).collect();
                vec![format!(r#"{{"channel":"trade","type":"update","data":[{}]}}"#, data.join(","))]
            }
        }
    }

    /// Writes the heartbeat of a product.
    pub(crate) fn heartbeat(self, product: &str, last: Option<u64>) -> Option<String> {
        match self {
            Self::Coinbase => Some(
                json!({ "type": "heartbeat", "product_id": product, "last_trade_id": last.unwrap_or(0) }).to_string(),
            ),
            Self::Binance => None,
            Self::Kraken => Some(r#"{"channel":"heartbeat"}"#.to_owned()),
        }
    }

    /// Returns the list of products.
    pub(crate) fn products(self) -> Value {
        let assets = SYMBOLS.map(|symbol| symbol.split_once('-').expect("a pair"));
        match self {
            Self::Coinbase => assets
                .iter()
                .map(|(base, quote)| {
                    json!({ "id": format!("{base}-{quote}"), "base_currency": base, "quote_currency": quote, "status": "online" })
                })
                .collect(),
            Self::Binance => {
                let symbol = |(base, quote): &(&str, &str)| {
                    json!({ "symbol": format!("{base}{quote}"), "baseAsset": base, "quoteAsset": quote, "status": "TRADING" })
                };
                json!({ "symbols": assets.iter().map(symbol).collect::<Vec<_>>() })
            }
            Self::Kraken => {
                let old = |asset: &str| if asset == "BTC" { "XBT".to_owned() } else { asset.to_owned() };
                let pair = |(base, quote): &(&str, &str)| {
                    let (altname, wsname) = (format!("{}{quote}", old(base)), format!("{}/{quote}", old(base)));
                    (format!("X{altname}"), json!({ "altname": altname, "wsname": wsname, "status": "online" }))
                };
                let pairs: serde_json::Map<String, Value> = assets.iter().map(pair).collect();
                json!({ "error": [], "result": pairs })
            }
        }
    }

    /// Returns the product of a path and query that asks for past trades.
    pub(crate) fn asked_product(self, path: &str, query: &[(String, String)]) -> Option<String> {
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        match self {
            Self::Coinbase => Some(path.strip_prefix("/products/")?.strip_suffix("/trades")?.to_owned()),
            Self::Binance => value("symbol").filter(|_| path == "/api/v3/aggTrades"),
            Self::Kraken => {
                let pair = value("pair").filter(|_| path == "/0/public/Trades")?.replace("XBT", "BTC");
                Some(format!("{}/{}", &pair[..3], &pair[3..]))
            }
        }
    }

    /// Returns a page of past trades, of all that are offered.
    pub(crate) fn past(self, offered: &[MarketTrade], query: &[(String, String)], page: usize) -> String {
        let number = |name: &str| -> Option<i64> {
            query.iter().find(|(key, _)| key == name).map(|(_, value)| value.parse().expect("a number"))
        };
        match self {
            Self::Coinbase => {
                let after = number("after").map_or(u64::MAX, i64::unsigned_abs);
                let below: Vec<&MarketTrade> =
                    offered.iter().rev().filter(|trade| trade.id < after).take(page).collect();
                let trade = |trade: &&MarketTrade| json!({ "trade_id": trade.id, "side": "sell", "size": trade.size, "price": trade.price, "time": rfc3339(trade.at) });
                Value::from(below.iter().map(trade).collect::<Vec<_>>()).to_string()
            }
            Self::Binance => {
                let from = number("fromId").map_or(0, i64::unsigned_abs);
                let trade = |trade: &MarketTrade| json!({ "a": trade.id, "p": trade.price, "q": trade.size, "f": trade.id, "l": trade.id, "T": trade.at / 1_000 });
                let above = offered.iter().filter(|trade| trade.id >= from).take(page).map(trade);
                Value::from(above.collect::<Vec<_>>()).to_string()
            }
            Self::Kraken => {
                let since = number("since").unwrap_or(0);
                let above: Vec<&MarketTrade> =
                    offered.iter().filter(|trade| trade.at * 1_000 > since).take(page).collect();
                let row = |trade: &&MarketTrade| {
                    let seconds = format!("{}.{:06}0", trade.at / 1_000_000, trade.at % 1_000_000);
                    format!(r#"["{}","{}",{seconds},"s","m","",{}]"#, trade.price, trade.size, trade.id)
                };
                let rows: Vec<String> = above.iter().map(row).collect();
                let last = above.last().map_or(since, |trade| trade.at * 1_000);
                format!(r#"{{"error":[],"result":{{"PAIR":[{}],"last":"{last}"}}}}"#, rows.join(","))
            }
        }
    }
}
