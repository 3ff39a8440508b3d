//! What is sent to Coinbase Exchange.

use serde_json::json;

use crate::sources::exchange::adapter::{Action, Request};

/// One request for all products. The answer `subscriptions` lists everything that is subscribed.
pub(super) fn requests(action: Action, products: &[&str], request: u64) -> Vec<Request> {
    let kind = match action {
        Action::Subscribe => "subscribe",
        Action::Unsubscribe => "unsubscribe",
    };
    let text = json!({ "type": kind, "product_ids": products, "channels": ["matches", "heartbeat"] }).to_string();
    vec![Request { number: request, text, products: products.iter().map(|name| (*name).to_owned()).collect() }]
}
