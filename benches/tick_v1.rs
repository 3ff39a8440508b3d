//! The message of one tick as it was before ticks travelled as pages. It is frozen: what the bare client publishes must not
//! change with the program that it is compared with.

use events::{OutboundMessage, Tick};
use serde_json::json;

/// Returns the message of a tick under the id that its venue gave it.
pub(crate) fn message(tick: &Tick, trade_id: &str) -> OutboundMessage {
    let Tick { venue, symbol, price, size, at, received_at, kind, source } = tick;
    let id = format!("{venue}:{symbol}:{trade_id}");
    let body = json!({
        "venue": venue, "symbol": symbol, "price": price, "size": size, "at": at, "received_at": received_at, "kind": kind,
        "source": source,
    });
    let headers = [
        ("Nats-Msg-Id", id.clone()),
        ("ce-id", id.clone()),
        ("ce-specversion", "1.0".to_owned()),
        ("ce-type", "tick.v1".to_owned()),
        ("ce-source", "/tickbell/price-ingestor".to_owned()),
        ("ce-subject", symbol.to_string()),
        ("ce-time", at.to_string()),
        ("ce-dataschema", "urn:tickbell:schema:tick.v1".to_owned()),
    ];
    OutboundMessage {
        subject: format!("ticks.{venue}.{}", symbol.subject_token()),
        id,
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        body: body.to_string().into_bytes(),
    }
}
