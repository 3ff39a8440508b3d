//! OKX: the channel `trades`, which merges the fills of one taker order at one price. With a count of n the id is that of
//! the last of n fills, so that ids are consecutive once the count is considered.
//!
//! After <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel>.

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

/// Speaks the protocol of OKX.
pub(super) struct Okx;

const PROFILE: Profile = Profile {
    venue: "okx",
    ws_url: "wss://ws.okx.com:8443/ws/v5/public",
    rest_url: "https://www.okx.com",
    trade_ids: TradeIds::Contiguous,
    max_products: 100,
    // 480 subscriptions an hour are allowed for a connection, and a request with many counts once.
    send_interval: Duration::from_millis(350),
    silence: Duration::from_secs(30),
    // The venue cuts after 30 seconds without a message.
    keep_alive: KeepAlive::WhenSilent("ping", Duration::from_secs(20)),
    max_age: None,
    connects_per_minute: 30,
    rest_per_second: 8,
    page_trades: 100,
    max_frame_bytes: 1 << 20,
};

impl Adapter for Okx {
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
