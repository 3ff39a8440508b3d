//! Every message on the wire, and nothing that touches a wire.
//!
//! Values come in through the parsers of [`symbol`], [`money`] and [`time`] and are trusted from there on. Each event
//! is a struct here, a published JSON Schema in `events/`, and golden samples in `samples/` that are decoded for ever.

pub mod alert;
pub mod asset;
pub mod dead_letter;
pub mod delivery;
pub mod envelope;
pub mod money;
pub mod order;
pub mod rule;
pub mod streams;
pub mod symbol;
pub mod terms;
pub mod tick;
pub mod time;
pub mod trade;
pub mod user;
pub mod words;

pub use alert::AlertFired;
pub use asset::Asset;
pub use dead_letter::DeadLetter;
pub use delivery::{Channel, DeliveryUpdated, Outcome, Target};
pub use envelope::{Event, Outgoing};
pub use money::{Amount, Percent, Price, Size};
pub use order::{DepositRequested, OrderCancelRequested, OrderPlaced};
pub use rule::{Condition, Direction, Notify, Repeat, Rule, RuleChanged, RuleStatus, Since};
pub use symbol::{Symbol, Venue};
pub use terms::{Side, Terms};
pub use tick::Tick;
pub use time::{Interval, Span, Timestamp};
pub use trade::{OrderStatus, OrderUpdated, Rejection, TradeSettled};
pub use user::{UserHappening, UserNoticed};
