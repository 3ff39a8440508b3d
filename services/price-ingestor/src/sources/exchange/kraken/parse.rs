//! From a frame of Kraken to what it says.

use std::borrow::Cow;

use super::messages::{Envelope, Push, Subscription, Trade};
use crate::sources::exchange::{
    fields::{Entries, TradeFields, leading_text, number_value},
    message::{DecodeError, Message, Refusal, TradeId, Trades, VenueTrade},
    plain_json,
};

const TRADE: &str = "trade";

pub(super) fn decode<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    match leading_text(frame, "channel") {
        Some(channel) => decode_channel(channel, frame, trades),
        None => decode_answer(plain_json::from_str(frame)?, frame, trades),
    }
}

fn decode_channel<'frame>(
    channel: &str,
    frame: &'frame str,
    trades: &mut Trades<'frame>,
) -> Result<Message<'frame>, DecodeError> {
    match channel {
        TRADE => {
            let Push { kind, data: Entries(data) } = plain_json::from_str(frame)?;
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
    trades: &mut Trades<'frame>,
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
            let Subscription { channel, symbol } = plain_json::from_str(result.get())?;
            Ok(if channel == TRADE { Message::Subscribed(vec![symbol]) } else { Message::Skipped })
        }
        (Some("pong"), _) => Ok(Message::Heartbeat(None)),
        _ => Ok(Message::Skipped),
    }
}

fn trade(message: Trade<'_>) -> Result<VenueTrade<'_>, DecodeError> {
    let Trade { symbol: product, price, qty, trade_id, timestamp } = message;
    let (price, size) = (number_value("price", price.json())?, number_value("qty", qty.json())?);
    let at = timestamp.named("timestamp")?;
    Ok(TradeFields { product, id: TradeId::number(trade_id), price, size, at }.trade())
}
