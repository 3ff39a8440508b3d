//! Binance and Binance.US: aggregate trades, whose ids are consecutive for each symbol, live and by REST.
//!
//! After <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>.

mod messages;
mod parse;
mod rest;
mod subscribe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::Url;

use super::{
    adapter::{Action, Adapter, KeepAlive, Product, Profile, Request, TradeIds, TradePage, Window},
    message::{DecodeError, Message, Trades},
};

/// One of the two venues that speak the protocol of Binance.
pub(super) struct Binance {
    profile: &'static Profile,
}

impl Binance {
    /// The exchange of binance.com.
    pub(super) const COM: Self = Self { profile: &COM };
    /// The exchange of binance.us.
    pub(super) const US: Self = Self { profile: &US };
}

const COM: Profile = Profile {
    venue: "binance",
    ws_url: "wss://stream.binance.com:9443",
    rest_url: "https://api.binance.com",
    trade_ids: TradeIds::Contiguous,
    // 1,024 streams are allowed.
    max_products: 1_000,
    // Five incoming messages a second are allowed, and our pongs count.
    send_interval: Duration::from_millis(400),
    // The venue pings every 20 seconds.
    silence: Duration::from_secs(65),
    keep_alive: KeepAlive::ByVenue,
    // The venue cuts at 24 hours.
    max_age: Some(Duration::from_secs(23 * 3_600)),
    connects_per_minute: 30,
    // A page has weight 4, and 6,000 are allowed in a minute: half of that.
    rest_per_second: 12,
    page_trades: 1_000,
    max_frame_bytes: 1 << 20,
};

const US: Profile = Profile {
    venue: "binanceus",
    ws_url: "wss://stream.binance.us:9443",
    rest_url: "https://api.binance.us",
    rest_per_second: 2,
    ..COM
};

impl Adapter for Binance {
    fn profile(&self) -> &'static Profile {
        self.profile
    }

    fn socket_url(&self, base: &Url) -> Url {
        subscribe::socket_url(base)
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
        Some(rest::trades_query(product, window, self.profile.page_trades))
    }

    fn parse_trades<'body>(&self, product: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
        rest::parse_trades(product, body, self.profile.page_trades)
    }
}
