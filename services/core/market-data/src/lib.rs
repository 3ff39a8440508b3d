//! Market data without I/O: ticks and candles, recordings, the pace of a replay, random walks, and the messages of the coinnews API.
//!
//! The crate has no clock, no network and no async; a recording reads from what it is given.

pub mod candles;
pub mod coinnews;
mod month;
pub mod random_walk;
pub mod recording;
pub mod replay_pacing;
mod stored_tick;

pub use month::Month;
pub use random_walk::{Band, InitialPrices};
pub use recording::{
    Recording, RecordingError,
    decoder::{HeaderError, LineError, RecordedTrade},
};
pub use replay_pacing::{ReplayClock, ReplaySpeed};
pub use stored_tick::{InstrumentId, StoredTick};
