//! What a message of a venue says, once it is decoded. Texts are borrowed from the frame.

use std::{borrow::Cow, fmt};

use events::{Price, Size, Timestamp, symbol::NameError};
use smallvec::SmallVec;
use thiserror::Error;

/// The most bytes of a bad value that an error repeats.
const MAX_VALUE_BYTES: usize = 80;

/// The trades of a message, of which nearly all have one: it is not allocated.
pub type Trades<'frame> = SmallVec<[VenueTrade<'frame>; 1]>;

/// A trade as a venue reports it, before its product is known to be one that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VenueTrade<'frame> {
    /// The product as the venue's live messages spell it.
    pub product: Cow<'frame, str>,
    /// The id of the trade.
    pub id: TradeId<'frame>,
    /// The price of one unit.
    pub price: Price,
    /// The traded size.
    pub size: Size,
    /// The time by the venue's clock, as fine as the venue writes it and at most in microseconds.
    pub at: Timestamp,
    /// Whether price or size have fewer digits than the venue wrote.
    pub was_rounded: bool,
}

impl VenueTrade<'_> {
    /// Returns the first of the numbers that the trade stands for, and 0 for one that has a name.
    pub(crate) fn first_number(&self) -> u64 {
        match self.id {
            TradeId::Numbers { first, .. } => first,
            TradeId::Name(_) => 0,
        }
    }

    /// Returns the number of the trade, and 0 for one that has a name.
    pub(crate) fn number(&self) -> u64 {
        match self.id {
            TradeId::Numbers { last, .. } => last,
            TradeId::Name(_) => 0,
        }
    }
}

/// The id that a venue gives to a trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradeId<'frame> {
    /// Consecutive numbers count the trades. A venue may merge several fills into one message: it stands for all numbers of the range.
    Numbers {
        /// The first of the numbers.
        first: u64,
        /// The last of the numbers, which is the id of the tick.
        last: u64,
    },
    /// A name that is unique and says nothing about its neighbours.
    Name(Cow<'frame, str>),
}

impl TradeId<'_> {
    /// Returns the id of a single trade with a consecutive number.
    pub fn number(id: u64) -> Self {
        Self::Numbers { first: id, last: id }
    }
}

impl fmt::Display for TradeId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers { last, .. } => last.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What one frame of the venue says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'frame> {
    /// It carries trades that happened just now, oldest first.
    Trades,
    /// It carries trades that happened before the subscription, oldest first.
    Snapshot,
    /// The venue is alive. Some venues name the last trade of a product.
    Heartbeat(Option<LastTrade<'frame>>),
    /// These products are subscribed.
    Subscribed(Vec<Cow<'frame, str>>),
    /// The request with this number was accepted.
    Accepted(u64),
    /// The venue refuses a product or a request.
    Refused(Refusal<'frame>),
    /// The venue is about to close the connection, for this reason.
    Closing(Cow<'frame, str>),
    /// Its type is not one of those that are wanted, so that the rest was not parsed.
    Skipped,
}

/// The last trade of a product, as a heartbeat names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastTrade<'frame> {
    /// The product that the heartbeat is about.
    pub product: Cow<'frame, str>,
    /// The number of its last trade.
    pub id: u64,
}

/// What a venue refuses, in its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'frame> {
    /// The product; none where the venue refuses a request and names no product.
    pub product: Option<Cow<'frame, str>>,
    /// The number of the request, where the venue repeats it.
    pub request: Option<u64>,
    /// The reason in the words of the venue.
    pub reason: Cow<'frame, str>,
}

/// The reason why a frame or a body is not what its venue documents.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// It is not JSON, or has not the documented fields.
    #[error("it has not the documented shape")]
    Shape(#[from] serde_json::Error),
    /// The value of a field is not what the field means.
    #[error("its {field} is {value:?}: {reason}")]
    Value {
        /// The name of the field at the venue.
        field: &'static str,
        /// The beginning of the value.
        value: String,
        /// What the value must be.
        reason: String,
    },
    /// The venue reports an error in place of an answer.
    #[error("the venue answers: {0}")]
    Answer(String),
    /// The name of a product is not a symbol.
    #[error("its product is no symbol")]
    Product(#[from] NameError),
}

impl DecodeError {
    /// Returns the error of a field whose value is wrong.
    pub(crate) fn value(field: &'static str, value: &str, reason: impl fmt::Display) -> Self {
        let mut end = value.len().min(MAX_VALUE_BYTES);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        Self::Value { field, value: value[..end].to_owned(), reason: reason.to_string() }
    }
}
