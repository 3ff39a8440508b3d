//! Where prices come from, as far as more than one service needs it: walks, recordings, and what the coinnews API says.
//! No clock, no network, no async; a recording reads from what it is given.

pub mod coinnews;
mod lines;
pub mod pace;
pub mod recording;
pub mod walk;

pub use lines::{HeaderError, LineError, Row};
pub use pace::{Factor, Pace};
pub use recording::{Recording, RecordingError};
pub use walk::{Band, Starts};
