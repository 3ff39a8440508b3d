//! What was missed of one symbol at one venue: which trades are new, which are repeats, and which gaps are open. No I/O and
//! no clock.
//!
//! A feed asks [`Continuity::admit`] about each trade, live or by REST, in the order in which it arrives, and publishes what
//! is [`Admission::New`]. It reports a connection that was lost by [`Continuity::disconnect`]. What follows is taken from
//! [`Continuity::take_reports`]. A gap that is open is filled between [`Continuity::begin_filling`] and
//! [`Continuity::end_filling`].

mod gap;
mod ids;
mod ranges;
#[cfg(test)]
mod tests;
mod times;

use events::Timestamp;
use serde::{Deserialize, Serialize};

use super::{adapter::TradeIds, message::TradeId};
pub use gap::{GapReason, GapReport, GapState, StoredGap};
use ids::IdContinuity;
use times::TimeContinuity;

/// The way by which a trade has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Over the connection.
    Live,
    /// By a request for past trades.
    Rest,
}

/// What becomes of a trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is published.
    New,
    /// It was published before, or will be published by another message.
    Repeat,
}

/// What a request for the trades of a gap asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The number of the gap among those of the symbol.
    pub gap: u64,
    /// The first missing id; none where ids say nothing.
    pub first_id: Option<u64>,
    /// The last missing id; none for all up to now.
    pub last_id: Option<u64>,
    /// The time of the last trade before the gap.
    pub from: Timestamp,
    /// The time of the first trade after it; none for all up to now.
    pub to: Option<Timestamp>,
}

/// How the requests for the trades of a gap have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillOutcome {
    /// Everything that the venue offers of the gap was admitted.
    Exhausted,
    /// The venue offers nothing of it.
    NotOffered,
}

/// What is stored of a symbol, so that a process that starts knows what happened while none was running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last id that was published or is in a gap; none where ids say nothing.
    pub last_id: Option<u64>,
    /// The time of the last trade.
    pub last_at: Timestamp,
    /// The gaps that are neither filled nor unfillable.
    pub gaps: Vec<StoredGap>,
}

/// The continuity of one symbol at one venue.
#[derive(Debug, Clone)]
pub enum Continuity {
    /// The venue numbers its trades.
    Ids(IdContinuity),
    /// Only times tell.
    Times(TimeContinuity),
}

impl Continuity {
    /// Returns the continuity of a symbol of which nothing is known yet.
    pub fn new(trade_ids: TradeIds) -> Self {
        match trade_ids {
            TradeIds::Contiguous => Self::Ids(IdContinuity::default()),
            TradeIds::TimeBased => Self::Times(TimeContinuity::default()),
        }
    }

    /// Returns the continuity of a symbol that was followed before. Until the first trade arrives, a gap is open: nobody
    /// looked.
    pub fn restore(trade_ids: TradeIds, checkpoint: Checkpoint) -> Self {
        match trade_ids {
            TradeIds::Contiguous => Self::Ids(IdContinuity::restore(checkpoint)),
            TradeIds::TimeBased => Self::Times(TimeContinuity::restore(checkpoint)),
        }
    }

    /// Decides about a trade.
    pub fn admit(&mut self, id: &TradeId<'_>, at: Timestamp, origin: Origin) -> Admission {
        match (self, id) {
            (Self::Ids(ids), TradeId::Numbers { first, last }) => ids.admit(*first, *last, at, origin),
            (Self::Times(times), id) => times.admit(&id.to_string(), at, origin),
            // A venue whose ids are numbers has no names; without its number nothing can be said about a trade.
            (Self::Ids(_), TradeId::Name(_)) => Admission::Repeat,
        }
    }

    /// Notes the number of the last trade, as a heartbeat names it. A trade that is still missing at the second heartbeat is
    /// missed: the first one may have overtaken it.
    pub fn hear_last(&mut self, id: u64) {
        if let Self::Ids(ids) = self {
            ids.hear_last(id);
        }
    }

    /// Notes that nobody listens from now on.
    pub fn disconnect(&mut self, reason: GapReason) {
        match self {
            Self::Ids(ids) => ids.disconnect(reason),
            Self::Times(times) => times.disconnect(reason),
        }
    }

    /// Returns whether a gap waits to be filled. `is_live` says whether trades arrive again: before that the end of the newest
    /// gap is not known.
    pub fn has_open_gap(&self, is_live: bool) -> bool {
        match self {
            Self::Ids(ids) => ids.next_open(is_live).is_some(),
            Self::Times(times) => times.next_open(is_live).is_some(),
        }
    }

    /// Begins to fill the oldest gap that waits for it, and returns what to ask for.
    pub fn begin_filling(&mut self, is_live: bool) -> Option<Missing> {
        match self {
            Self::Ids(ids) => ids.begin_filling(is_live),
            Self::Times(times) => times.begin_filling(is_live),
        }
    }

    /// Returns what is still missing of a gap that is being filled; none when nothing is.
    pub fn still_missing(&self, gap: u64) -> Option<Missing> {
        match self {
            Self::Ids(ids) => ids.still_missing(gap),
            Self::Times(times) => times.still_missing(gap),
        }
    }

    /// Returns whether some of a gap is missing although all of it was asked for.
    pub fn is_incomplete(&self, gap: u64) -> bool {
        match self {
            Self::Ids(ids) => ids.is_incomplete(gap),
            // Nobody knows how many trades there were.
            Self::Times(_) => false,
        }
    }

    /// Ends the filling of a gap. A gap that has grown meanwhile waits to be filled once more: the connection was lost again, or a live
    /// trade or a heartbeat has shown that more is missing.
    pub fn end_filling(&mut self, gap: u64, outcome: FillOutcome) {
        match self {
            Self::Ids(ids) => ids.end_filling(gap, outcome),
            Self::Times(times) => times.end_filling(gap, outcome),
        }
    }

    /// Forgets all trades.
    pub fn begin_anew(&mut self) {
        match self {
            Self::Ids(ids) => *ids = IdContinuity::default(),
            Self::Times(times) => *times = TimeContinuity::default(),
        }
    }

    /// Returns what is to be reported about gaps, in its order, once.
    pub fn take_reports(&mut self) -> Vec<GapReport> {
        match self {
            Self::Ids(ids) => ids.take_reports(),
            Self::Times(times) => times.take_reports(),
        }
    }

    /// Returns what is stored; none before the first trade.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        match self {
            Self::Ids(ids) => ids.checkpoint(),
            Self::Times(times) => times.checkpoint(),
        }
    }

    /// Returns the number of gaps that are neither filled nor unfillable.
    pub fn open_gaps(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.open_gaps(),
            Self::Times(times) => times.open_gaps(),
        }
    }
}
