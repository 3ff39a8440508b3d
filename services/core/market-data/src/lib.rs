//! Market data without I/O: ticks and candles, recordings, the pacing of a replay, random walks, the hours of
//! exchanges, and the messages of the coinnews API.
//!
//! The crate has no clock, no network and no async. A recording is decoded from any reader that the caller passes in.

pub mod candles;
pub mod coinnews;
mod completeness;
mod month;
mod near_symbols;
pub mod random_walk;
pub mod recording;
pub mod replay_pacing;
pub mod session_calendar;
pub mod tick_ids;
mod ticks;
mod volume;

pub use completeness::{Completeness, GapOutcome, GapSpan, completeness, unknown_buckets};
pub use month::Month;
pub use near_symbols::near_symbols;
pub use random_walk::{InitialPrices, PriceBand};
pub use recording::{LineError, ReadOptions, RecordedTrade, Recording, RecordingError, RecordingLine, ShapeError};
pub use replay_pacing::{ReplayClock, ReplaySpeed};
pub use session_calendar::SessionCalendar;
pub use tick_ids::TickIds;
pub use ticks::{
    Admission, FromTheFuture, InstrumentId, MarketTicks, MaxAhead, NewestTicks, PageCollector, RefusedTick,
    SkippedTicks, StoredPage, StoredTick, TickFilter, TickPosition, TickRefusal,
};
pub use volume::Volume;
