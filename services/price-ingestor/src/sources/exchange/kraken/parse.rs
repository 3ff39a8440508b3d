//! From a frame of Kraken to what it says.

use std::borrow::Cow;

use super::messages::{Envelope, Subscription, Trade, Trades};
use crate::sources::exchange::{
    fields::{TradeFields, leading_text, raw_text, rfc3339},
    message::{DecodeError, Message, Refusal, TradeId, VenueTrade},
};

const TRADE: &str = "trade";

pub(super) fn decode<'frame>(
    frame: &'frame str,
    trades: &mut Vec<VenueTrade<'frame>>,
) -> Result<Message<'frame>, DecodeError> {
    match leading_text(frame, "channel") {
        Some(channel) => decode_channel(channel, frame, trades),
        None => decode_answer(serde_json::from_str(frame)?, frame, trades),
    }
}

fn decode_channel<'frame>(
    channel: &str,
    frame: &'frame str,
    trades: &mut Vec<VenueTrade<'frame>>,
) -> Result<Message<'frame>, DecodeError> {
    match channel {
        TRADE => {
            let Trades { kind, data } = serde_json::from_str(frame)?;
            let first = trades.len();
            for message in data {
                trades.push(trade(message)?);
            }
            trades[first..].sort_by_key(VenueTrade::number);
            Ok(if kind == "snapshot" { Message::Snapshot } else { Message::Trades })
        }
        "heartbeat" => Ok(Message::Heartbeat(None)),
        _ => Ok(Message::Skipped),
    }
}

fn decode_answer<'frame>(
    envelope: Envelope<'frame>,
    frame: &'frame str,
    trades: &mut Vec<VenueTrade<'frame>>,
) -> Result<Message<'frame>, DecodeError> {
    if let Some(channel) = &envelope.channel {
        return decode_channel(channel, frame, trades);
    }
    if let Some(reason) = envelope.limit_error {
        return Ok(Message::Refused(Refusal { product: None, request: None, reason: reason.into() }));
    }
    if envelope.success == Some(false) || envelope.error.is_some() {
        let reason = envelope.error.unwrap_or_else(|| "it gives no reason".to_owned()).into();
        let (product, request) = (envelope.symbol.map(Cow::Owned), envelope.req_id);
        return Ok(Message::Refused(Refusal { product, request, reason }));
    }
    match (envelope.method.as_deref(), envelope.result) {
        (Some("subscribe"), Some(result)) => {
            let Subscription { channel, symbol } = serde_json::from_str(result.get())?;
            Ok(if channel == TRADE { Message::Subscribed(vec![symbol]) } else { Message::Skipped })
        }
        (Some("pong"), _) => Ok(Message::Heartbeat(None)),
        _ => Ok(Message::Skipped),
    }
}

fn trade(message: Trade<'_>) -> Result<VenueTrade<'_>, DecodeError> {
    let Trade { symbol: product, price, qty, trade_id, timestamp } = message;
    let (price, size) = (("price", raw_text("price", price)?), ("qty", raw_text("qty", qty)?));
    TradeFields { product, id: TradeId::number(trade_id), price, size, at: rfc3339("timestamp", &timestamp)? }.trade()
}
