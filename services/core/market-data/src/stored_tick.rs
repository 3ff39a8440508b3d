//! A tick with the position that the broker gave it.

use events::Tick;

/// The number of an instrument, which is a symbol at a venue, in the database.
pub type InstrumentId = i32;

/// A tick as it is stored in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTick {
    /// The tick as the venue sent it.
    pub tick: Tick,
    /// The trade id, unique within the venue and symbol.
    pub trade_id: String,
    /// The sequence of the tick in stream `TICKS`.
    pub sequence: u64,
}

impl StoredTick {
    /// Returns the key by which ticks of one instrument are ordered: the venue's time, then the sequence.
    pub fn order_key(&self) -> (events::Timestamp, u64) {
        (self.tick.at, self.sequence)
    }
}
