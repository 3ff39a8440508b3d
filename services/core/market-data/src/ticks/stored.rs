//! A tick with its identity and the position that the broker gave it.

use events::{
    Price, Size, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use thiserror::Error;

use crate::ticks::max_ahead::FromTheFuture;

/// The number of an instrument, which is a symbol at a venue, in the database.
pub type InstrumentId = i32;

/// The most bytes that the id of a tick may have. The history's unique key holds it, and an index entry has a limit: without
/// this one, PostgreSQL would refuse the batch again and again.
pub(super) const MAX_ID_BYTES: usize = 200;

/// The position of a tick in stream `TICKS`. Of ticks of one time, the one of the lower position comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TickPosition {
    /// The sequence of its page.
    pub sequence: u64,
    /// Its index in the page, counted from 0.
    pub index: u16,
}

/// A tick as a consumer takes it from the stream. It borrows from its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredTick<'page> {
    /// The venue that made the price.
    pub venue: &'page Venue,
    /// The symbol that the price is of.
    pub symbol: &'page Symbol,
    /// The kind of the price.
    pub kind: TickKind,
    /// The way by which the price was received.
    pub source: TickSource,
    /// The time at which the price ingestor received it.
    pub received_at: Timestamp,
    /// The id, unique within the venue and symbol for ever.
    pub id: &'page str,
    /// The time of the price, by the venue's clock.
    pub at: Timestamp,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The traded size, in units of the base asset; none for quotes and polls.
    pub size: Option<Size>,
    /// Its position in the stream.
    pub position: TickPosition,
}

/// The reason why nobody may use a tick. The history-writer gives it up with this reason; the others skip it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TickRefusal {
    /// The page has something else than a tick in its place.
    #[error("it is not a tick: {0}")]
    Malformed(String),
    /// The time of the tick is too far ahead of the time at which the broker stored it.
    #[error(transparent)]
    Future(#[from] FromTheFuture),
    /// The id is empty or too long.
    #[error("its id has {0} bytes; allowed are 1 to {MAX_ID_BYTES}")]
    IdLength(usize),
    /// The id contains a character that text columns and logs cannot hold.
    #[error("its id contains a control character, which is not allowed")]
    IdCharacter,
}

impl TickRefusal {
    /// Returns the word that stands for the reason in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Future(_) => "future",
            Self::IdLength(_) | Self::IdCharacter => "id",
        }
    }
}

impl<'page> StoredTick<'page> {
    /// Returns a tick as if the stream had it at this position under this id.
    pub fn of(tick: &'page Tick, id: &'page str, sequence: u64, index: u16) -> Self {
        let Tick { venue, symbol, price, size, at, received_at, kind, source } = tick;
        Self {
            venue,
            symbol,
            kind: *kind,
            source: *source,
            received_at: *received_at,
            id,
            at: *at,
            price: *price,
            size: *size,
            position: TickPosition { sequence, index },
        }
    }

    /// Returns true when the id is derived from the time among others: ticks of different times then never share it.
    pub fn has_time_in_id(&self) -> bool {
        let time = self.id.split_once('/').map(|(time, _)| time);
        // No other text than the number itself stands for it: an id is compared by its letters.
        time.is_some_and(|time| {
            time.parse() == Ok(self.at.micros()) && time.starts_with(|first: char| matches!(first, '1'..='9'))
        })
    }

    /// Returns the key by which ticks of one instrument are ordered: the venue's time, then the position.
    pub fn order_key(&self) -> (Timestamp, TickPosition) {
        (self.at, self.position)
    }
}
