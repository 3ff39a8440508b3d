//! From a frame of Coinbase Exchange to what it says.

use std::borrow::Cow;

use super::messages::{Envelope, Failure, Heartbeat, Match, Subscriptions};
use crate::sources::exchange::{
    fields::{TradeFields, leading_text},
    message::{DecodeError, LastTrade, Message, Refusal, TradeId, Trades, VenueTrade},
    plain_json,
};

pub(super) fn decode<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    let kind = match leading_text(frame, "type") {
        Some(kind) => Cow::Borrowed(kind),
        None => plain_json::from_str::<Envelope>(frame)?.kind,
    };
    match &*kind {
        "match" => {
            trades.push(trade(plain_json::from_str(frame)?)?);
            Ok(Message::Trades)
        }
        "last_match" => {
            trades.push(trade(plain_json::from_str(frame)?)?);
            Ok(Message::Snapshot)
        }
        "heartbeat" => {
            let Heartbeat { product_id: product, last_trade_id: id } = plain_json::from_str(frame)?;
            Ok(Message::Heartbeat((id > 0).then_some(LastTrade { product, id })))
        }
        "subscriptions" => {
            let Subscriptions { channels } = plain_json::from_str(frame)?;
            let matches = channels.into_iter().filter(|channel| channel.name == "matches");
            Ok(Message::Subscribed(matches.flat_map(|channel| channel.product_ids).map(|text| text.0).collect()))
        }
        "error" => {
            let Failure { message, reason } = plain_json::from_str(frame)?;
            let reason = reason.map_or(message.clone(), |reason| Cow::Owned(format!("{message}: {reason}")));
            Ok(Message::Refused(Refusal { product: None, request: None, reason }))
        }
        _ => Ok(Message::Skipped),
    }
}

fn trade(message: Match<'_>) -> Result<VenueTrade<'_>, DecodeError> {
    let Match { trade_id, product_id: product, price, size, time } = message;
    let at = time.named("time")?;
    let (price, size) = (price.named("price")?, size.named("size")?);
    Ok(TradeFields { product, id: TradeId::number(trade_id), price, size, at }.trade())
}
