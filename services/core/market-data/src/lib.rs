//! Market data without I/O: recordings, the pace of a replay, random walks, and the messages of the coinnews API.
//!
//! The crate has no clock, no network and no async; a recording reads from what it is given.

pub mod coinnews;
pub mod random_walk;
pub mod recording;
pub mod replay_pacing;

pub use random_walk::{Band, InitialPrices};
pub use recording::{
    Recording, RecordingError,
    decoder::{HeaderError, LineError, RecordedTrade},
};
pub use replay_pacing::{ReplayClock, ReplaySpeed};
