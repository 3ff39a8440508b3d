//! What is sent to Kraken.

use serde_json::json;

use crate::sources::exchange::adapter::{Action, Request};

/// The most pairs of one request.
const MAX_PAIRS: usize = 50;

/// Requests that are answered once for each pair.
pub(super) fn requests(action: Action, products: &[&str], request: u64) -> Vec<Request> {
    let message = |(products, number): (&[&str], u64)| {
        let params = match action {
            Action::Subscribe => json!({ "channel": "trade", "symbol": products, "snapshot": true }),
            Action::Unsubscribe => json!({ "channel": "trade", "symbol": products }),
        };
        let method = if action == Action::Subscribe { "subscribe" } else { "unsubscribe" };
        let text = json!({ "method": method, "params": params, "req_id": number }).to_string();
        Request { number, text, products: products.iter().map(|name| (*name).to_owned()).collect() }
    };
    products.chunks(MAX_PAIRS).zip(request..).map(message).collect()
}
