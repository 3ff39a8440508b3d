//! The events and values that services exchange. The crate does no I/O.
//!
//! Values are made only by the parsers of [`symbol`], [`money`] and [`time`], and are trusted from there on. Each event is a
//! struct here, a published JSON Schema in `events/`, and golden samples in `samples/` that every later version must decode.

pub mod display;
pub mod envelope;
mod events;
pub mod link;
mod mirrored;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod streams;
mod values;

pub use envelope::{Event, OutboundMessage};
pub use events::{
    alert::{self, AlertFired},
    candle::{self, CandleClosed},
    dead_letter::{self, DeadLetter, RawFrame},
    delivery::{self, Channel, DeliveryUpdated, Outcome, Target},
    feed::{self, FeedGap},
    late::{self, LateVerdict},
    order::{self, DepositRequested, OrderCancelRequested, OrderPlaced},
    order_request::{self, OrderRequest, Side},
    rule::{self, Baseline, Condition, Direction, LateHandling, Notify, Repeat, Rule, RuleChanged, RuleStatus},
    tick::{self, PageTick, Tick, TickPage},
    trade::{self, OrderStatus, OrderUpdated, RejectReason, TradeSettled},
    user::{self, UserChange, UserNoticed},
};
pub use mirrored::MirroredTick;
pub use values::{
    asset::{self, Asset},
    money::{self, Amount, Percent, Price, Size},
    quotes::{self, KnownQuotes},
    symbol::{self, Symbol, Venue},
    time::{self, Interval, Period, Timestamp},
};
