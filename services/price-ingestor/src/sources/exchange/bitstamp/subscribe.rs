//! What is sent to Bitstamp.

use serde_json::json;

use super::parse::CHANNEL;
use crate::sources::exchange::adapter::{Action, Request};

/// The message that the venue answers with a heartbeat.
pub(super) const HEARTBEAT: &str = r#"{"event":"bts:heartbeat"}"#;

/// One request for each product.
pub(super) fn requests(action: Action, products: &[&str], request: u64) -> Vec<Request> {
    let event = match action {
        Action::Subscribe => "bts:subscribe",
        Action::Unsubscribe => "bts:unsubscribe",
    };
    let message = |(product, number): (&&str, u64)| {
        let text = json!({ "event": event, "data": { "channel": format!("{CHANNEL}{product}") } }).to_string();
        Request { number, text, products: vec![(*product).to_owned()] }
    };
    products.iter().zip(request..).map(message).collect()
}
