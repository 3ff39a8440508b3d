//! From a frame of Bybit to what it says.

use std::borrow::Cow;

use super::messages::{Envelope, Push, Trade};
use crate::sources::exchange::{
    fields::{Entries, TradeFields, leading_text, millis},
    message::{DecodeError, Message, Refusal, TradeId, Trades, VenueTrade},
    plain_json,
};

/// What the name of a symbol stands behind in the name of its topic.
pub(super) const TOPIC: &str = "publicTrade.";
/// The most bytes of an id, which becomes a part of a message's id.
const MAX_ID_BYTES: usize = 64;

pub(super) fn decode<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    if let Some(topic) = leading_text(frame, "topic") {
        return decode_topic(topic, frame, trades);
    }
    let Envelope { topic, op, success, ret_msg, req_id } = plain_json::from_str(frame)?;
    if let Some(topic) = topic {
        return decode_topic(topic, frame, trades);
    }
    let request = req_id.and_then(|number| number.parse().ok());
    match (op.as_deref(), success) {
        (Some("subscribe"), Some(true)) => Ok(request.map_or(Message::Skipped, Message::Accepted)),
        (Some("subscribe"), Some(false)) => {
            let reason = Cow::Owned(ret_msg.unwrap_or_else(|| "it gives no reason".to_owned()));
            Ok(Message::Refused(Refusal { product: None, request, reason }))
        }
        (Some("ping" | "pong"), _) => Ok(Message::Heartbeat(None)),
        _ => Ok(Message::Skipped),
    }
}

fn decode_topic<'frame>(
    topic: &str,
    frame: &'frame str,
    trades: &mut Trades<'frame>,
) -> Result<Message<'frame>, DecodeError> {
    if !topic.starts_with(TOPIC) {
        return Ok(Message::Skipped);
    }
    let Push { data: Entries(data) } = plain_json::from_str(frame)?;
    for message in data {
        trades.push(trade(message)?);
    }
    Ok(Message::Trades)
}

fn trade(Trade { symbol: product, id, price, volume, traded_at }: Trade<'_>) -> Result<VenueTrade<'_>, DecodeError> {
    if !(1..=MAX_ID_BYTES).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(DecodeError::value("i", &id, "must be 1 to 64 characters without a space"));
    }
    let (price, size, at) = (price.named("p")?, volume.named("v")?, millis("T", traded_at)?);
    Ok(TradeFields { product, id: TradeId::Name(id), price, size, at }.trade())
}
