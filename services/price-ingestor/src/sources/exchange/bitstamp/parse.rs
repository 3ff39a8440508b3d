//! From a frame of Bitstamp to what it says.

use std::borrow::Cow;

use super::messages::{Envelope, Failure, Push, Trade};
use crate::sources::exchange::{
    fields::{TradeFields, UnixTime, leading_text, number_text, number_value},
    message::{DecodeError, Message, Refusal, TradeId, Trades},
    plain_json,
};

/// What the name of a pair stands behind in the name of its channel.
pub(super) const CHANNEL: &str = "live_trades_";

pub(super) fn decode<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    // The venue writes the event first in its answers, and last in its data.
    let event = trailing_text(frame, "event").or_else(|| leading_text(frame, "event"));
    match event
        .map_or_else(|| decode_envelope(frame).map(|envelope| envelope.event), |event| Ok(event.into()))?
        .as_ref()
    {
        "trade" => decode_trade(plain_json::from_str(frame)?, trades),
        "bts:subscription_succeeded" => Ok(match unprefixed(decode_envelope(frame)?.channel) {
            Some(product) => Message::Subscribed(vec![product]),
            None => Message::Skipped,
        }),
        "bts:error" => {
            let Envelope { channel, data, .. } = decode_envelope(frame)?;
            let Failure { code, message } = plain_json::from_str(data.map_or("null", |data| data.get()))?;
            let reason = code.map_or(message.clone(), |code| format!("{message} (code {code})"));
            let product = unprefixed(channel);
            Ok(Message::Refused(Refusal { product, request: None, reason: reason.into() }))
        }
        "bts:request_reconnect" => Ok(Message::Closing("bts:request_reconnect".into())),
        "bts:heartbeat" => Ok(Message::Heartbeat(None)),
        _ => Ok(Message::Skipped),
    }
}

fn decode_envelope(frame: &str) -> Result<Envelope<'_>, DecodeError> {
    Ok(plain_json::from_str(frame)?)
}

fn decode_trade<'frame>(
    Push { channel, data }: Push<'frame>,
    trades: &mut Trades<'frame>,
) -> Result<Message<'frame>, DecodeError> {
    let Some(product) = unprefixed(channel) else { return Ok(Message::Skipped) };
    let Trade { id, price_str, amount_str, microtimestamp } = data;
    let ((_, id), UnixTime(at)) = (trade_id("id", id.json())?, microtimestamp.named("microtimestamp")?);
    let (price, size) = (price_str.named("price_str")?, amount_str.named("amount_str")?);
    trades.push(TradeFields { product, id, price, size, at }.trade());
    Ok(Message::Trades)
}

/// Reads the id of a trade, live or of a page: a JSON number, or one written as text. Its name has one spelling, so that a trade is the
/// same one by whichever way it arrives.
pub(super) fn trade_id<'frame>(field: &'static str, json: &'frame str) -> Result<(u64, TradeId<'frame>), DecodeError> {
    let (number, text) = (number_value(field, json)?, number_text(field, json)?);
    let is_plain = text == "0" || text.starts_with(|digit: char| matches!(digit, '1'..='9'));
    let name = if is_plain { Cow::Borrowed(text) } else { Cow::Owned(u64::to_string(&number)) };
    Ok((number, TradeId::Name(name)))
}

/// Returns the pair of a channel of trades.
fn unprefixed(channel: Cow<'_, str>) -> Option<Cow<'_, str>> {
    match channel {
        Cow::Borrowed(name) => name.strip_prefix(CHANNEL).map(Cow::Borrowed),
        Cow::Owned(name) => name.strip_prefix(CHANNEL).map(|pair| Cow::Owned(pair.to_owned())),
    }
}

/// Returns the value of the last key of a JSON object, where the key is `key` and the value a text without escapes.
fn trailing_text<'frame>(frame: &'frame str, key: &str) -> Option<&'frame str> {
    let rest = frame.trim_ascii_end().strip_suffix('}')?.trim_ascii_end().strip_suffix('"')?;
    let (before, value) = rest.rsplit_once('"')?;
    let before = before.trim_ascii_end().strip_suffix(':')?.trim_ascii_end();
    let before = before.strip_suffix('"')?.strip_suffix(key)?.strip_suffix('"')?;
    // Within a text the quotes around the key would have a backslash before them.
    (before.trim_ascii_end().ends_with([',', '{']) && !value.contains('\\')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_is_read_where_it_stands_last() {
        assert_eq!(trailing_text(r#"{"data":{"event":"x"},"event":"trade"}"#, "event"), Some("trade"));
        assert_eq!(trailing_text(r#"{ "event" : "a" } "#, "event"), Some("a"));
        let quoted = r#"{"event":"data","note":"a,\"event\":\"trade"}"#;
        for other in [quoted, r#"{"event":"a","x":1}"#, r#"{"event":{"event":"a"}"#, r#""event":"a"}"#, "}", ""] {
            assert_ne!(trailing_text(other, "event"), Some("trade"), "{other}");
        }
    }
}
