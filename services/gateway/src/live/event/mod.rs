//! Events as clients get them: read from a message of the broker, and written once as JSON for everybody.

mod view;

use std::sync::Arc;

use axum::body::Bytes;
use events::{
    AlertFired, CandleClosed, DeliveryUpdated, Event, FeedGap, OrderUpdated, Price, Size, Symbol, Timestamp,
    TradeSettled, Venue,
    tick::{TickKind, TickSource},
};
use market_data::{MaxAhead, StoredPage, StoredTick};
use platform::{DecodeError, Message};
use rust_decimal::Decimal;
use serde::Serialize;
use tracing::debug;
use uuid::Uuid;

pub(crate) use self::view::{
    StreamedCandle, StreamedDelivery, StreamedFiring, StreamedGap, StreamedOrder, StreamedPrice, StreamedTrade,
};
use self::view::{candle_view, delivery_view, firing_view, gap_view, order_view, trade_view};
use crate::live::{
    channel::{Channel, Source},
    cursor::Position,
};

/// An event of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveEvent {
    pub(crate) source: Source,
    pub(crate) position: Position,
    pub(crate) channel: Channel,
    /// The symbol that it is about; none for a delivery.
    pub(crate) symbol: Option<Symbol>,
    /// Who may see it, where that is not everybody.
    pub(crate) owner: Option<Owner>,
    /// The time at which the broker stored its message.
    pub(crate) stored_at: Timestamp,
    /// The tick of channel `prices`.
    pub(crate) tick: Option<LiveTick>,
    /// The value of `data`: a JSON object, shared by all clients.
    pub(crate) json: Bytes,
}

/// Who may see an event that is not for everybody. Without a user nobody may but who manages a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: Option<Uuid>,
    /// The rule of a firing, which its manage token shows too; the rule or the order that a delivery is about.
    pub(crate) about: Option<Uuid>,
}

/// The tick of an event of channel `prices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveTick {
    pub(crate) venue: Venue,
    pub(crate) at: Timestamp,
    pub(crate) price: Price,
    pub(crate) size: Option<Size>,
    pub(crate) kind: TickKind,
    pub(crate) source: TickSource,
    pub(crate) id: Arc<str>,
}

/// The change of a price within a day, and the time of the price that it is measured from.
pub(crate) type DayChange = (Decimal, Timestamp);

/// Reads a page of ticks.
pub(crate) fn page(message: &Message, max_ahead: MaxAhead) -> Result<StoredPage, DecodeError> {
    let (sequence, stored_at) = (message.sequence, message.stored_at);
    message.read(events::TickPage::TYPE, |body| StoredPage::read(body, sequence, stored_at, max_ahead))
}

/// Makes the events of the ticks of a page for which `admits` holds. `day_change` returns the change of a price within a day.
pub(crate) fn prices(
    page: &StoredPage,
    stored_at: Timestamp,
    mut admits: impl FnMut(&StoredTick<'_>) -> bool,
    day_change: impl Fn(&StoredTick<'_>) -> Option<DayChange>,
) -> Vec<LiveEvent> {
    let mut events: Vec<LiveEvent> = Vec::with_capacity(page.len());
    for tick in page.ticks().filter(|tick| admits(tick)) {
        let change = day_change(&tick);
        let view = StreamedPrice {
            symbol: tick.symbol,
            venue: tick.venue,
            price: tick.price,
            at: tick.at,
            size: tick.size,
            kind: tick.kind.as_str(),
            trade_id: tick.id,
            stream_sequence: tick.position.sequence,
            stream_index: tick.position.index,
            change_24h_percent: change.map(|(percent, _)| percent),
            change_24h_since: change.map(|(_, since)| since),
        };
        let Some(json) = json(&view) else { continue };
        events.push(LiveEvent {
            source: Source::Ticks,
            position: Position { sequence: tick.position.sequence, index: tick.position.index },
            channel: Channel::Prices,
            symbol: Some(tick.symbol.clone()),
            owner: None,
            stored_at,
            tick: Some(LiveTick {
                venue: tick.venue.clone(),
                at: tick.at,
                price: tick.price,
                size: tick.size,
                kind: tick.kind,
                source: tick.source,
                id: tick.id.into(),
            }),
            json,
        });
    }
    if let Some(last) = events.last_mut() {
        last.position = Position::end_of(last.position.sequence);
    }
    events
}

/// Reads the event of a message that has one at most; none where no channel shows it. A message that cannot be read is given up by
/// the service that it is for.
pub(crate) fn read(source: Source, message: &Message) -> Option<LiveEvent> {
    single(source, message).unwrap_or_else(|error| {
        debug!(stream = source.stream(), sequence = message.sequence, %error, "skipped a message that cannot be read");
        None
    })
}

/// Reads the event of a message that has one at most. The owner of a firing and of a
/// delivery is not in the message: it is for [`owners`](crate::live::owners) to find.
fn single(source: Source, message: &Message) -> Result<Option<LiveEvent>, DecodeError> {
    let event = |channel, symbol: Option<&Symbol>, owner, json: Option<Bytes>| {
        json.map(|json| LiveEvent {
            source,
            position: Position::end_of(message.sequence),
            channel,
            symbol: symbol.cloned(),
            owner,
            stored_at: message.stored_at,
            tick: None,
            json,
        })
    };
    let owned = |user, about| Some(Owner { user, about });
    Ok(match (source, message.class()) {
        (Source::Ticks, _) => None,
        (Source::Candles, _) => {
            let candle = message.event::<CandleClosed>()?;
            event(Channel::Candles(candle.interval), Some(&candle.symbol), None, json(&candle_view(&candle)))
        }
        (Source::Feeds, _) => {
            let gap = message.event::<FeedGap>()?;
            event(Channel::Gaps, Some(&gap.symbol), None, json(&gap_view(&gap)))
        }
        (Source::Alerts, AlertFired::TYPE) => {
            let fired = message.event::<AlertFired>()?;
            let owner = owned(None, Some(fired.rule_id));
            event(Channel::Firings, Some(&fired.symbol), owner, json(&firing_view(&fired)))
        }
        (Source::Trades, OrderUpdated::TYPE) => {
            let order = message.event::<OrderUpdated>()?;
            event(Channel::Orders, Some(&order.symbol), owned(Some(order.user_id), None), json(&order_view(&order)))
        }
        (Source::Trades, TradeSettled::TYPE) => {
            let trade = message.event::<TradeSettled>()?;
            event(Channel::Trades, Some(&trade.symbol), owned(Some(trade.user_id), None), json(&trade_view(&trade)))
        }
        (Source::Deliveries, DeliveryUpdated::TYPE) => {
            let delivery = message.event::<DeliveryUpdated>()?;
            event(Channel::Deliveries, None, owned(None, about(&delivery)), json(&delivery_view(&delivery)))
        }
        (Source::Alerts | Source::Trades | Source::Deliveries, _) => None,
    })
}

/// Returns the rule or the order that a delivery is about: ids of firings, trades and changes of orders begin with it.
fn about(delivery: &DeliveryUpdated) -> Option<Uuid> {
    delivery.about.get(..36)?.parse().ok()
}

/// Writes a view. What a message holds can always be written.
fn json(view: &impl Serialize) -> Option<Bytes> {
    serde_json::to_vec(view).ok().map(Bytes::from)
}
