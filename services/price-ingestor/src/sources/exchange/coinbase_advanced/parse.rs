//! From a frame of Coinbase Advanced Trade to what it says.

use std::borrow::Cow;

use super::messages::{Envelope, MarketTrades, Subscriptions, Trade, TradesEvent};
use crate::sources::exchange::{
    fields::{Entries, TradeFields, leading_text},
    message::{DecodeError, Message, Refusal, TradeId, Trades, VenueTrade},
    plain_json,
};

const MARKET_TRADES: &str = "market_trades";

pub(super) fn decode<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    let channel = match leading_text(frame, "channel") {
        Some(channel) => Cow::Borrowed(channel),
        None => {
            let Envelope { channel, message } = plain_json::from_str(frame)?;
            match (channel, message) {
                (Some(channel), _) => Cow::Owned(channel),
                (None, Some(reason)) => {
                    return Ok(Message::Refused(Refusal { product: None, request: None, reason: reason.into() }));
                }
                (None, None) => return Ok(Message::Skipped),
            }
        }
    };
    match &*channel {
        MARKET_TRADES => decode_trades(frame, trades),
        "heartbeats" => Ok(Message::Heartbeat(None)),
        "subscriptions" => {
            let Subscriptions { events } = plain_json::from_str(frame)?;
            let products = events.into_iter().flat_map(|mut event| event.subscriptions.remove(MARKET_TRADES));
            Ok(Message::Subscribed(products.flatten().map(Cow::Owned).collect()))
        }
        _ => Ok(Message::Skipped),
    }
}

/// One message may carry several trades, newest first, of several products.
fn decode_trades<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    let MarketTrades { events: Entries(events) } = plain_json::from_str(frame)?;
    let first = trades.len();
    let mut is_snapshot = !events.is_empty();
    for TradesEvent { kind, trades: Entries(messages) } in events {
        is_snapshot &= kind == "snapshot";
        for message in messages {
            trades.push(trade(message)?);
        }
    }
    trades[first..].sort_by_key(VenueTrade::number);
    Ok(if is_snapshot { Message::Snapshot } else { Message::Trades })
}

/// Reads a trade, live or of a page.
pub(super) fn trade(message: Trade<'_>) -> Result<VenueTrade<'_>, DecodeError> {
    let Trade { trade_id, product_id: product, price, size, time } = message;
    let (id, at) = (TradeId::number(trade_id.named("trade_id")?), time.named("time")?);
    let (price, size) = (price.named("price")?, size.named("size")?);
    Ok(TradeFields { product, id, price, size, at }.trade())
}
