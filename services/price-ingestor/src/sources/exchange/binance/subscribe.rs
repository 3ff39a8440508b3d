//! What is sent to Binance. The address is that of combined streams, whose messages name their stream first.

use reqwest::Url;
use serde_json::json;

use crate::sources::exchange::adapter::{Action, Request};

/// Returns the address of combined streams, unless the settings name a path.
pub(super) fn socket_url(base: &Url) -> Url {
    let mut url = base.clone();
    if matches!(base.path(), "" | "/") {
        url.set_path("/stream");
    }
    url
}

/// The most streams of one request, which keeps it far below the largest message that the venue takes.
const MAX_STREAMS: usize = 200;

/// Requests that are answered by their number. The names of streams are in lower case.
pub(super) fn requests(action: Action, products: &[&str], request: u64) -> Vec<Request> {
    let method = match action {
        Action::Subscribe => "SUBSCRIBE",
        Action::Unsubscribe => "UNSUBSCRIBE",
    };
    let numbered = products.chunks(MAX_STREAMS).zip(request..);
    let message = |(products, number): (&[&str], u64)| {
        let streams: Vec<String> = products.iter().map(|name| format!("{}@aggTrade", name.to_lowercase())).collect();
        let text = json!({ "method": method, "params": streams, "id": number }).to_string();
        Request { number, text, products: products.iter().map(|name| (*name).to_owned()).collect() }
    };
    numbered.map(message).collect()
}
