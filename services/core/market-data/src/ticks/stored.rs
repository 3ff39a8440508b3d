//! A tick with its identity and the position that the broker gave it.

use events::{Tick, Timestamp};
use thiserror::Error;

use crate::ticks::max_ahead::{FromTheFuture, MaxAhead};

/// The number of an instrument, which is a symbol at a venue, in the database.
pub type InstrumentId = i32;

/// The most bytes that the id of a tick may have. The history's unique key holds it, and an index entry has a limit: without
/// this one, PostgreSQL would refuse the batch again and again.
const MAX_ID_BYTES: usize = 200;

/// A tick as a consumer takes it from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTick {
    /// The tick as the venue sent it.
    pub tick: Tick,
    /// The trade id, unique within the venue and symbol for ever.
    pub trade_id: String,
    /// The sequence of the tick in stream `TICKS`.
    pub sequence: u64,
}

/// The reason why nobody may use a tick. The history-writer gives it up with this reason; the others skip it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TickRefusal {
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
            Self::Future(_) => "future",
            Self::IdLength(_) | Self::IdCharacter => "id",
        }
    }
}

impl StoredTick {
    /// Takes in a tick that the broker stored at `stored_at`. `message_id` is the id of its message; a tick that was published
    /// without one has the id that is derived from its content.
    ///
    /// What is refused follows from the stream alone, so that every consumer refuses the same ticks.
    pub fn accept(
        tick: Tick,
        message_id: Option<&str>,
        sequence: u64,
        stored_at: Timestamp,
        max_ahead: MaxAhead,
    ) -> Result<Self, TickRefusal> {
        let trade_id = message_id.map_or_else(|| tick.derived_trade_id(), |id| tick.trade_id(id).to_owned());
        if trade_id.is_empty() || trade_id.len() > MAX_ID_BYTES {
            return Err(TickRefusal::IdLength(trade_id.len()));
        }
        if trade_id.chars().any(char::is_control) {
            return Err(TickRefusal::IdCharacter);
        }
        max_ahead.check(tick.at, stored_at)?;
        Ok(Self { tick, trade_id, sequence })
    }

    /// Returns true when the id is derived from the time among others: ticks of different times then never share it.
    pub fn has_time_in_id(&self) -> bool {
        let time = self.trade_id.split_once('/').map(|(time, _)| time);
        time.is_some_and(|time| time.parse() == Ok(self.tick.at.micros()))
    }

    /// Returns the key by which ticks of one instrument are ordered: the venue's time, then the sequence.
    pub fn order_key(&self) -> (Timestamp, u64) {
        (self.tick.at, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Symbol, Venue,
        tick::{TickKind, TickSource},
    };

    use super::*;

    fn accept(message_id: Option<&str>, at: &str) -> Result<String, String> {
        let at = at.parse().expect("a time");
        let tick = Tick {
            venue: Venue::parse("test").expect("a venue"),
            symbol: Symbol::parse("BTC-USD").expect("a symbol"),
            price: "5".parse().expect("a price"),
            size: None,
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::Live,
        };
        let stored_at = "2024-08-11T00:00:00Z".parse().expect("a time");
        let accepted = StoredTick::accept(tick, message_id, 1, stored_at, MaxAhead::DEFAULT);
        accepted.map(|stored| stored.trade_id).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_tick_is_taken_under_its_id_or_refused_with_a_reason() {
        let now = "2024-08-11T00:00:00Z";
        let (longest, too_long) =
            (format!("test:BTC-USD:{}", "7".repeat(200)), format!("test:BTC-USD:{}", "7".repeat(201)));
        assert_eq!(accept(Some("test:BTC-USD:17"), now), Ok("17".into()));
        assert_eq!(accept(Some("made-by-hand"), now), Ok("made-by-hand".into()));
        assert_eq!(accept(Some(&longest), now), Ok("7".repeat(200)));
        assert!(accept(None, now).is_ok_and(|id| id.starts_with("1723334400000000/5/")), "derived from its content");
        let refused = |id, at| accept(id, at).expect_err("it is refused");
        assert_eq!(refused(Some(&too_long), now), "its id has 201 bytes; allowed are 1 to 200");
        assert_eq!(refused(Some("test:BTC-USD:"), now), "its id has 0 bytes; allowed are 1 to 200");
        assert_eq!(
            refused(Some("test:BTC-USD:a\0b"), now),
            "its id contains a control character, which is not allowed"
        );
        assert!(refused(Some("test:BTC-USD:17"), "2099-01-01T00:00:00Z").contains("ahead of the clock"));
    }
}
