//! The events and values that services exchange. The crate does no I/O.
//!
//! Values are made only by the parsers of [`symbol`], [`money`] and [`time`], and are trusted from there on. Each event is a
//! struct here, a published JSON Schema in `events/`, and golden samples in `samples/` that every later version must decode.

pub mod alert;
pub mod asset;
pub mod dead_letter;
pub mod delivery;
pub mod display;
pub mod envelope;
pub mod link;
pub mod money;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod order;
pub mod order_request;
pub mod rule;
pub mod streams;
pub mod symbol;
pub mod tick;
pub mod time;
pub mod trade;
pub mod user;

pub use alert::AlertFired;
pub use asset::Asset;
pub use dead_letter::DeadLetter;
pub use delivery::{Channel, DeliveryUpdated, Outcome, Target};
pub use envelope::{Event, OutboundMessage};
pub use money::{Amount, Percent, Price, Size};
pub use order::{DepositRequested, OrderCancelRequested, OrderPlaced};
pub use order_request::{OrderRequest, Side};
pub use rule::{Baseline, Condition, Direction, Notify, Repeat, Rule, RuleChanged, RuleStatus};
pub use symbol::{Symbol, Venue};
pub use tick::Tick;
pub use time::{Interval, Period, Timestamp};
pub use trade::{OrderStatus, OrderUpdated, RejectReason, TradeSettled};
pub use user::{UserChange, UserNoticed};
