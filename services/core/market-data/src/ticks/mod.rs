//! The tick as consumers take it in: its identity, which ticks nobody may use, and which change nothing.

mod filter;
mod max_ahead;
mod page_collector;
mod stored;
mod stored_page;

pub use filter::{Admission, MarketTicks, NewestTicks, SkippedTicks, TickFilter};
pub use max_ahead::{FromTheFuture, MaxAhead};
pub use page_collector::PageCollector;
pub use stored::{InstrumentId, StoredTick, TickPosition, TickRefusal};
pub use stored_page::{RefusedTick, StoredPage};
