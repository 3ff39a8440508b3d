//! The tick as consumers take it in: its identity, which ticks nobody may use, and which change nothing.

mod filter;
mod max_ahead;
mod stored;

pub use filter::{Admission, MarketTicks, NewestTicks, SkippedTicks, TickFilter};
pub use max_ahead::{FromTheFuture, MaxAhead};
pub use stored::{InstrumentId, StoredTick, TickRefusal};
