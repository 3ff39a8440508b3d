//! What is sent to OKX.

use serde_json::{Value, json};

use crate::sources::exchange::adapter::{Action, Request};

/// One request for all products, which is answered once for each.
pub(super) fn requests(action: Action, products: &[&str], request: u64) -> Vec<Request> {
    let op = match action {
        Action::Subscribe => "subscribe",
        Action::Unsubscribe => "unsubscribe",
    };
    let args: Vec<Value> = products.iter().map(|name| json!({ "channel": "trades", "instId": name })).collect();
    let text = json!({ "op": op, "args": args }).to_string();
    vec![Request { number: request, text, products: products.iter().map(|name| (*name).to_owned()).collect() }]
}
