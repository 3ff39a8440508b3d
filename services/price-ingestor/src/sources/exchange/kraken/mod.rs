//! Kraken, version 2 of its WebSocket API: the channel `trade`, whose ids are consecutive for each pair.
//!
//! After <https://docs.kraken.com/api/docs/websocket-v2/trade>. Prices are JSON numbers and are read digit by digit. The
//! channel `heartbeat` comes by itself, and the reference says that it cannot be subscribed.

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

/// Speaks the protocol of Kraken.
pub(super) struct Kraken;

const PROFILE: Profile = Profile {
    venue: "kraken",
    ws_url: "wss://ws.kraken.com/v2",
    rest_url: "https://api.kraken.com",
    trade_ids: TradeIds::Contiguous,
    max_products: 200,
    send_interval: Duration::from_millis(100),
    // A heartbeat arrives about every second when nothing else does.
    silence: Duration::from_secs(5),
    keep_alive: KeepAlive::ByVenue,
    max_age: None,
    connects_per_minute: 15,
    rest_per_second: 1,
    page_trades: 1_000,
    max_frame_bytes: 1 << 20,
};

impl Adapter for Kraken {
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
        rest::parse_trades(product, body, PROFILE.page_trades)
    }
}
