//! What is sent to Coinbase Advanced Trade: one channel in each message.

use serde_json::json;

use crate::sources::exchange::adapter::{Action, Request};

/// The answer `subscriptions` lists everything that is subscribed. The heartbeats keep the other channel open.
pub(super) fn requests(action: Action, products: &[&str], request: u64) -> Vec<Request> {
    let kind = match action {
        Action::Subscribe => "subscribe",
        Action::Unsubscribe => "unsubscribe",
    };
    let text = json!({ "type": kind, "product_ids": products, "channel": "market_trades" }).to_string();
    let trades = Request { number: request, text, products: products.iter().map(|name| (*name).to_owned()).collect() };
    let text = json!({ "type": kind, "channel": "heartbeats" }).to_string();
    let heartbeats = Request { number: request + 1, text, products: Vec::new() };
    match action {
        Action::Subscribe => vec![trades, heartbeats],
        Action::Unsubscribe => vec![trades],
    }
}
