//! Bitstamp: the channels `live_trades_<pair>`. Its ids are unique and not consecutive for a pair, so that gaps have only
//! their times; the REST API offers the trades of the last minute, hour or day.
//!
//! After <https://www.bitstamp.net/websocket/v2/>.

mod messages;
mod parse;
mod rest;
mod subscribe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{
    adapter::{Action, Adapter, KeepAlive, Product, Profile, Request, TradeIds, TradePage, Window},
    message::{DecodeError, Message, Trades},
};

/// Speaks the protocol of Bitstamp.
pub(super) struct Bitstamp;

const PROFILE: Profile = Profile {
    venue: "bitstamp",
    ws_url: "wss://ws.bitstamp.net",
    rest_url: "https://www.bitstamp.net",
    trade_ids: TradeIds::TimeBased,
    max_products: 50,
    send_interval: Duration::from_millis(50),
    silence: Duration::from_secs(40),
    keep_alive: KeepAlive::Every(subscribe::HEARTBEAT, Duration::from_secs(15)),
    // The venue cuts after 90 days.
    max_age: Some(Duration::from_secs(80 * 86_400)),
    connects_per_minute: 15,
    // 8,000 requests in ten minutes are allowed.
    rest_per_second: 5,
    page_trades: 100_000,
    max_frame_bytes: 1 << 20,
};

impl Adapter for Bitstamp {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn decode<'frame>(&self, frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
        parse::decode(frame, trades)
    }

    fn subscription(&self, action: Action, products: &[&str], request: u64) -> Vec<Request> {
        subscribe::requests(action, products, request)
    }

    fn products_query(&self) -> &'static str {
        rest::PRODUCTS
    }

    fn parse_products(&self, body: &str) -> Result<Vec<Product>, DecodeError> {
        rest::parse_products(body)
    }

    fn trades_query(&self, product: &Product, window: &Window) -> Option<String> {
        rest::trades_query(product, window)
    }

    fn parse_trades<'body>(&self, product: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
        rest::parse_trades(product, body)
    }
}
