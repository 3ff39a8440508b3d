//! Coinbase Exchange: the channels `matches` and `heartbeat`, whose trade ids are consecutive for each product.
//!
//! After <https://docs.cdp.coinbase.com/exchange/websocket-feed/channels>.

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

/// Speaks the protocol of Coinbase Exchange.
pub(super) struct Coinbase;

const PROFILE: Profile = Profile {
    venue: "coinbase",
    ws_url: "wss://ws-feed.exchange.coinbase.com",
    rest_url: "https://api.exchange.coinbase.com",
    trade_ids: TradeIds::Contiguous,
    max_products: 100,
    send_interval: Duration::from_millis(50),
    // A heartbeat arrives every second for each product.
    silence: Duration::from_secs(3),
    keep_alive: KeepAlive::ByVenue,
    max_age: None,
    connects_per_minute: 30,
    rest_per_second: 5,
    page_trades: 1_000,
    max_frame_bytes: 4 << 20,
};

impl Adapter for Coinbase {
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
        Some(rest::trades_query(product, window, PROFILE.page_trades))
    }

    fn parse_trades<'body>(&self, product: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
        rest::parse_trades(product, body)
    }
}
