//! What is sent to Bybit.

use serde_json::json;

use super::parse::TOPIC;
use crate::sources::exchange::adapter::{Action, Request};

/// The most topics of one request.
const MAX_TOPICS: usize = 10;

/// Requests that are answered by their number.
pub(super) fn requests(action: Action, products: &[&str], request: u64) -> Vec<Request> {
    let op = match action {
        Action::Subscribe => "subscribe",
        Action::Unsubscribe => "unsubscribe",
    };
    let message = |(products, number): (&[&str], u64)| {
        let topics: Vec<String> = products.iter().map(|name| format!("{TOPIC}{name}")).collect();
        let text = json!({ "req_id": number.to_string(), "op": op, "args": topics }).to_string();
        Request { number, text, products: products.iter().map(|name| (*name).to_owned()).collect() }
    };
    products.chunks(MAX_TOPICS).zip(request..).map(message).collect()
}
