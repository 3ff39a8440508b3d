//! Coinbase Advanced Trade: the channel `market_trades`, whose ids are consecutive for each product, and `heartbeats`,
//! without which the venue closes quiet channels after 60 to 90 seconds.
//!
//! After <https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels>. The trades of one
//! message come newest first.

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

/// Coinbase Advanced Trade.
pub(super) struct CoinbaseAdvanced;

const PROFILE: Profile = Profile {
    venue: "coinbaseadvanced",
    ws_url: "wss://advanced-trade-ws.coinbase.com",
    rest_url: "https://api.coinbase.com",
    trade_ids: TradeIds::Contiguous,
    max_products: 100,
    // Eight messages a second are allowed.
    send_interval: Duration::from_millis(200),
    // A heartbeat arrives every second.
    silence: Duration::from_secs(3),
    keep_alive: KeepAlive::ByVenue,
    max_age: None,
    // The two copies of the page on limits disagree; this is far below both.
    connects_per_minute: 30,
    rest_per_second: 5,
    page_trades: 1_000,
    max_frame_bytes: 4 << 20,
};

impl Adapter for CoinbaseAdvanced {
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
