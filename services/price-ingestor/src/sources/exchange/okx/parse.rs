//! From a frame of OKX to what it says.

use std::borrow::Cow;

use super::messages::{Envelope, Push, Trade};
use crate::sources::exchange::{
    fields::{Entries, TradeFields, UnixTime, leading_text},
    message::{DecodeError, Message, Refusal, TradeId, Trades, VenueTrade},
    plain_json,
};

const TRADES: &str = "trades";
/// The most fills that one message may stand for; more are taken for an error of the venue.
const MAX_COUNT: u64 = 1_000_000;

pub(super) fn decode<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    // The answer to our `ping` is no JSON.
    if frame == "pong" {
        return Ok(Message::Heartbeat(None));
    }
    if let Some(channel) = pushed_channel(frame) {
        return if channel == TRADES { decode_trades(frame, trades) } else { Ok(Message::Skipped) };
    }
    let Envelope { event, arg, code, msg } = plain_json::from_str(frame)?;
    let reason = || {
        let (code, msg) = (code.as_deref().unwrap_or("unknown"), msg.as_deref().unwrap_or("it gives no reason"));
        Cow::Owned(format!("{msg} (code {code})"))
    };
    match (event.as_deref(), arg) {
        (Some("subscribe"), Some(arg)) if arg.channel == TRADES => Ok(Message::Subscribed(vec![arg.inst_id])),
        (Some("error"), arg) => {
            let product = arg.map(|arg| arg.inst_id).filter(|product| !product.is_empty());
            Ok(Message::Refused(Refusal { product, request: None, reason: reason() }))
        }
        // Code 64008: the connection is cut in 30 to 60 seconds.
        (Some("notice"), _) => Ok(Message::Closing(reason())),
        (None, Some(arg)) if arg.channel == TRADES => decode_trades(frame, trades),
        _ => Ok(Message::Skipped),
    }
}

/// Returns the channel of a message that has the channel first and its data next. An answer has its event first, or behind the
/// channel.
fn pushed_channel(frame: &str) -> Option<&str> {
    let arg = frame.trim_ascii_start().strip_prefix(r#"{"arg":"#)?;
    let (_, next) = arg.split_once('}')?;
    let is_push = next.starts_with(r#","data""#) || next.starts_with(r#","action""#);
    if is_push { leading_text(arg, "channel") } else { None }
}

fn decode_trades<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    let Push { data: Entries(data) } = plain_json::from_str(frame)?;
    let first = trades.len();
    for message in data {
        trades.push(trade(message)?);
    }
    trades[first..].sort_by_key(VenueTrade::number);
    Ok(Message::Trades)
}

/// Reads a trade, live or of a page.
pub(super) fn trade(message: Trade<'_>) -> Result<VenueTrade<'_>, DecodeError> {
    let Trade { inst_id: product, trade_id, px, sz, ts, count } = message;
    let last = trade_id.named("tradeId")?;
    let fills = count.map_or(Ok(None), |count| count.named_unless_empty("count"))?.unwrap_or(1);
    let first = match fills {
        1..=MAX_COUNT if fills <= last.saturating_add(1) => last - (fills - 1),
        _ => {
            let reason = "must be at least 1 and no more than its tradeId";
            return Err(DecodeError::value("count", &fills.to_string(), reason));
        }
    };
    let (id, UnixTime(at)) = (TradeId::Numbers { first, last }, ts.named("ts")?);
    Ok(TradeFields { product, id, price: px.named("px")?, size: sz.named("sz")?, at }.trade())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_with_data_is_taken_by_its_channel() {
        assert_eq!(pushed_channel(r#"{"arg":{"channel":"trades","instId":"A"},"data":[]}"#), Some("trades"));
        assert_eq!(pushed_channel(r#"{"arg":{"channel":"books","instId":"A"},"action":"update"}"#), Some("books"));
        for other in [
            r#"{"arg":{"channel":"trades","instId":"A"},"event":"error"}"#,
            r#"{"event":"subscribe","arg":{"channel":"trades"}}"#,
            r#"{"arg":{"instId":"A","channel":"trades"},"data":[]}"#,
            r#"{"arg":{"channel":"trades""#,
            "pong",
        ] {
            assert_eq!(pushed_channel(other), None, "{other}");
        }
    }
}
