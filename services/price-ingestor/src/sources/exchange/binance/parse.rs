//! From a frame of Binance to what it says.

use std::borrow::Cow;

use super::messages::{AggTrade, Combined, Envelope, Failure};
use crate::sources::exchange::{
    fields::{TradeFields, leading_text, millis},
    message::{DecodeError, Message, Refusal, TradeId, Trades},
    plain_json,
};

const AGG_TRADE: &str = "aggTrade";
const SHUTDOWN: &str = "serverShutdown";

pub(super) fn decode<'frame>(frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError> {
    if let Some(stream) = leading_text(frame, "stream") {
        return match event_of(stream) {
            AGG_TRADE => push(trades, plain_json::from_str::<Combined>(frame)?.data),
            SHUTDOWN => Ok(Message::Closing(SHUTDOWN.into())),
            _ => Ok(Message::Skipped),
        };
    }
    match leading_text(frame, "e") {
        Some(AGG_TRADE) => push(trades, plain_json::from_str(frame)?),
        Some(SHUTDOWN) => Ok(Message::Closing(SHUTDOWN.into())),
        Some(_) => Ok(Message::Skipped),
        None => decode_other(plain_json::from_str(frame)?, frame, trades),
    }
}

/// Decodes an answer, or an event whose keys are in another order.
fn decode_other<'frame>(
    envelope: Envelope<'frame>,
    frame: &'frame str,
    trades: &mut Trades<'frame>,
) -> Result<Message<'frame>, DecodeError> {
    let event = envelope.stream.as_deref().map(event_of).or(envelope.event.as_deref());
    match (event, envelope.data) {
        (Some(AGG_TRADE), Some(data)) => return push(trades, plain_json::from_str(data.get())?),
        (Some(AGG_TRADE), None) => return push(trades, plain_json::from_str(frame)?),
        (Some(SHUTDOWN), _) => return Ok(Message::Closing(SHUTDOWN.into())),
        (Some(_), _) => return Ok(Message::Skipped),
        (None, _) => {}
    }
    let failure = envelope.error.or_else(|| Some(Failure { code: envelope.code?, msg: envelope.msg? }));
    match (failure, envelope.id) {
        (Some(Failure { code, msg }), request) => {
            let reason = Cow::Owned(format!("{msg} (code {code})"));
            Ok(Message::Refused(Refusal { product: None, request, reason }))
        }
        (None, Some(request)) if envelope.result => Ok(Message::Accepted(request)),
        _ => Ok(Message::Skipped),
    }
}

/// Returns the event of a stream's name: `aggTrade` of `btcusdt@aggTrade`, `serverShutdown` of `!serverShutdown`.
fn event_of(stream: &str) -> &str {
    stream.rsplit_once('@').map_or(stream.trim_start_matches('!'), |(_, event)| event)
}

fn push<'frame>(
    trades: &mut Trades<'frame>,
    AggTrade { symbol, id, price, quantity, traded_at }: AggTrade<'frame>,
) -> Result<Message<'frame>, DecodeError> {
    let (id, at) = (TradeId::number(id), millis("T", traded_at)?);
    let (price, size) = (price.named("p")?, quantity.named("q")?);
    trades.push(TradeFields { product: symbol, id, price, size, at }.trade());
    Ok(Message::Trades)
}
