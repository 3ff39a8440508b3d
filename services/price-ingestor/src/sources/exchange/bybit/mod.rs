//! Bybit, spot: the topics `publicTrade.<symbol>`. Its ids say nothing about their neighbours, and the REST API offers
//! no more than the last 60 trades, so that gaps have only their times and cannot be filled.
//!
//! After <https://bybit-exchange.github.io/docs/v5/websocket/public/trade>.

mod messages;
mod parse;
mod rest;
mod subscribe;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{
    adapter::{Action, Adapter, KeepAlive, NextPage, Product, Profile, Request, TradeIds, TradePage, Window},
    message::{DecodeError, Message, Trades},
};

/// Speaks the protocol of Bybit for spot markets.
pub(super) struct Bybit;

const PROFILE: Profile = Profile {
    venue: "bybit",
    ws_url: "wss://stream.bybit.com/v5/public/spot",
    rest_url: "https://api.bybit.com",
    trade_ids: TradeIds::TimeBased,
    max_products: 100,
    send_interval: Duration::from_millis(100),
    silence: Duration::from_secs(45),
    keep_alive: KeepAlive::Every(r#"{"op":"ping"}"#, Duration::from_secs(20)),
    max_age: None,
    connects_per_minute: 30,
    rest_per_second: 5,
    page_trades: 60,
    max_frame_bytes: 1 << 20,
};

impl Adapter for Bybit {
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

    fn trades_query(&self, _: &Product, _: &Window) -> Option<String> {
        None
    }

    fn parse_trades<'body>(&self, _: &'body Product, _: &'body str) -> Result<TradePage<'body>, DecodeError> {
        Ok(TradePage { trades: Vec::new(), next: NextPage::End })
    }
}
