//! The JSON of events: what `data` has.

use events::{
    AlertFired, Amount, CandleClosed, DeliveryUpdated, FeedGap, Interval, OrderStatus, OrderUpdated, Price,
    RejectReason, Side, Size, Symbol, Timestamp, TradeSettled, Venue,
};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A price as it comes, with the fields of the latest price of a symbol.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamedPrice<'a> {
    pub(super) symbol: &'a Symbol,
    pub(super) venue: &'a Venue,
    pub(super) price: Price,
    /// The time of the tick.
    pub(super) at: Timestamp,
    /// The traded quantity in the base asset; null for quotes and polls.
    pub(super) size: Option<Size>,
    /// `trade`, `quote` or `poll`.
    #[schema(example = "trade")]
    pub(super) kind: &'static str,
    /// The trade id of the venue, or one that is derived from time, price and size.
    #[schema(example = "123456")]
    pub(super) trade_id: &'a str,
    /// The sequence in the stream `TICKS` of the page that has the tick.
    pub(super) stream_sequence: u64,
    /// The index of the tick in its page.
    pub(super) stream_index: u16,
    /// The change in percent since the last price that was between 24 and 25 hours older, to 4 decimal places; null when none
    /// is known, and for a venue that is not the primary one of the symbol.
    #[schema(value_type = Option<String>, example = "-1.2345")]
    pub(super) change_24h_percent: Option<Decimal>,
    /// The time of the price that the change is measured from; null when none is known.
    pub(super) change_24h_since: Option<Timestamp>,
}

/// A candle that has closed, or that a late tick has changed after that: of two events of one candle, the one with the higher
/// revision is true.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamedCandle<'a> {
    pub(super) symbol: &'a Symbol,
    pub(super) venue: &'a Venue,
    #[schema(inline)]
    pub(super) interval: Interval,
    /// The start of the interval, in UTC.
    pub(super) start: Timestamp,
    pub(super) open: Price,
    pub(super) high: Price,
    pub(super) low: Price,
    pub(super) close: Price,
    /// The exact sum of the traded quantities, in the base asset.
    #[schema(example = "12.5")]
    pub(super) volume: &'a str,
    /// The number of ticks.
    pub(super) trades: u64,
    /// The number of ticks that have changed the candle after its close.
    pub(super) revision: u64,
}

/// A state of a gap: trades of a feed that were missed, and what became of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamedGap<'a> {
    pub(super) symbol: &'a Symbol,
    pub(super) venue: &'a Venue,
    pub(super) gap_id: &'a str,
    /// The number of this report about the gap: of two, that of the higher number is true.
    pub(super) revision: u32,
    /// `open`, `filling`, `filled` or `unfillable`.
    #[schema(example = "open")]
    pub(super) state: &'static str,
    /// `disconnected`, `stale`, `missed_ids` or `down`.
    #[schema(example = "disconnected")]
    pub(super) reason: &'static str,
    /// The time of the last trade before the gap.
    pub(super) from: Timestamp,
    /// The time of the first trade after it; null while it is open.
    pub(super) to: Option<Timestamp>,
    /// The venue's first id that is missing, or was; null where ids say nothing.
    pub(super) first_missing_id: Option<u64>,
    /// The venue's last id that is missing, or was; null where it is not known.
    pub(super) last_missing_id: Option<u64>,
    /// The number of trades that were filled in.
    pub(super) filled: u64,
}

/// A firing that somebody is notified of, with the fields of the list of firings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamedFiring<'a> {
    pub(super) id: &'a str,
    pub(super) number: i64,
    pub(super) rule_id: Uuid,
    pub(super) symbol: &'a Symbol,
    pub(super) venue: &'a Venue,
    /// The time of the tick that fired.
    pub(super) fired_at: Timestamp,
    pub(super) price: Price,
    /// The price that the change is measured against; null for a `price` condition.
    pub(super) reference_price: Option<Price>,
    /// The time of the reference price; null for a `price` condition.
    pub(super) reference_at: Option<Timestamp>,
    /// The change in percent, rounded half-even to 4 decimal places; null for a `price` condition.
    #[schema(value_type = Option<String>, example = "5.0140")]
    pub(super) change_percent: Option<Decimal>,
    /// The id of the tick.
    pub(super) trade_id: &'a str,
    /// The sequence in the stream `TICKS` of the page that has the tick.
    pub(super) stream_sequence: u64,
    /// The index of the tick in its page.
    pub(super) stream_index: u16,
    /// Always null: a firing that nobody is notified of is only in the list of firings.
    #[schema(value_type = Option<String>)]
    pub(super) suppressed: Option<&'static str>,
}

/// The new status of an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamedOrder<'a> {
    /// The id of the order.
    pub(super) id: Uuid,
    /// The number of the change, counted from 1 for each order.
    pub(super) revision: i32,
    pub(super) symbol: &'a Symbol,
    pub(super) status: OrderStatus,
    /// The reason why it is rejected; null otherwise.
    pub(super) reason: Option<RejectReason>,
    /// The sequence in the stream `TICKS` of the last page that was applied before the decision; 0 before the first.
    pub(super) tick_sequence: u64,
    /// The time of the event that decided the status.
    pub(super) updated_at: Timestamp,
}

/// A trade, with the fields of the list of trades.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamedTrade<'a> {
    pub(super) id: &'a str,
    pub(super) order_id: Uuid,
    pub(super) symbol: &'a Symbol,
    pub(super) side: Side,
    pub(super) size: Size,
    pub(super) price: Price,
    pub(super) quote_amount: Amount,
    pub(super) fee: Amount,
    pub(super) tick_id: &'a str,
    pub(super) tick_sequence: u64,
    pub(super) tick_index: u16,
    pub(super) tick_price: Price,
    pub(super) posting_id: i64,
    pub(super) at: Timestamp,
}

/// The outcome of one attempt at a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamedDelivery<'a> {
    pub(super) delivery_id: Uuid,
    /// The id of the firing, alert, order change, trade or account notice that the delivery is about.
    pub(super) about: &'a str,
    #[schema(example = "email")]
    pub(super) channel: String,
    /// The number of the attempt, counted from 1.
    pub(super) attempt: i32,
    /// `sent`, `retrying`, `unknown` or `failed`.
    #[schema(example = "sent")]
    pub(super) outcome: &'static str,
    /// The reply of the recipient's server, or the error.
    pub(super) detail: &'a str,
    /// The time at which the attempt ended.
    pub(super) at: Timestamp,
}

pub(super) fn candle_view(candle: &CandleClosed) -> StreamedCandle<'_> {
    let CandleClosed { venue, symbol, interval, start, open, high, low, close, volume, trades, revision } = candle;
    StreamedCandle {
        symbol,
        venue,
        interval: *interval,
        start: *start,
        open: *open,
        high: *high,
        low: *low,
        close: *close,
        volume,
        trades: *trades,
        revision: *revision,
    }
}

pub(super) fn gap_view(gap: &FeedGap) -> StreamedGap<'_> {
    StreamedGap {
        symbol: &gap.symbol,
        venue: &gap.venue,
        gap_id: &gap.gap_id,
        revision: gap.revision,
        state: gap.state.as_str(),
        reason: gap.reason.as_str(),
        from: gap.from,
        to: gap.to,
        first_missing_id: gap.first_missing_id,
        last_missing_id: gap.last_missing_id,
        filled: gap.filled,
    }
}

pub(super) fn firing_view(fired: &AlertFired) -> StreamedFiring<'_> {
    StreamedFiring {
        id: &fired.id,
        number: fired.number,
        rule_id: fired.rule_id,
        symbol: &fired.symbol,
        venue: &fired.venue,
        fired_at: fired.fired_at,
        price: fired.price,
        reference_price: fired.reference_price,
        reference_at: fired.reference_at,
        change_percent: fired.change_percent,
        trade_id: &fired.trade_id,
        stream_sequence: fired.stream_sequence,
        stream_index: fired.stream_index,
        suppressed: None,
    }
}

pub(super) fn order_view(order: &OrderUpdated) -> StreamedOrder<'_> {
    StreamedOrder {
        id: order.order_id,
        revision: order.revision,
        symbol: &order.symbol,
        status: order.status,
        reason: order.reason,
        tick_sequence: order.tick_sequence,
        updated_at: order.at,
    }
}

pub(super) fn trade_view(trade: &TradeSettled) -> StreamedTrade<'_> {
    StreamedTrade {
        id: &trade.id,
        order_id: trade.order_id,
        symbol: &trade.symbol,
        side: trade.side,
        size: trade.size,
        price: trade.price,
        quote_amount: trade.quote_amount,
        fee: trade.fee,
        tick_id: &trade.tick_id,
        tick_sequence: trade.tick_sequence,
        tick_index: trade.tick_index,
        tick_price: trade.tick_price,
        posting_id: trade.posting_id,
        at: trade.at,
    }
}

pub(super) fn delivery_view(delivery: &DeliveryUpdated) -> StreamedDelivery<'_> {
    StreamedDelivery {
        delivery_id: delivery.delivery_id,
        about: &delivery.about,
        channel: delivery.channel.to_string(),
        attempt: delivery.attempt,
        outcome: delivery.outcome.as_str(),
        detail: &delivery.detail,
        at: delivery.at,
    }
}
