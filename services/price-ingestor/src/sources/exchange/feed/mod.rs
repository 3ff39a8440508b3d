//! The feed of one venue: its connections, the continuity of each symbol, and the filling of gaps. What comes out are ticks
//! that are new, each once, and what is known about those that were missed.
//!
//! The feed has no broker and no database. Whoever runs it publishes the ticks, and stores checkpoints after they are
//! acknowledged, so that what is stored never leads.

mod fills;
mod followed;
mod groups;
mod listing;
mod run;

use std::{collections::BTreeMap, time::Duration};

use events::{Symbol, Tick, Timestamp, Venue};
use market_data::MaxAhead;
use reqwest::Url;

pub use super::connection::{BadMessage, Timing};
use super::{
    adapter::Adapter,
    continuity::{Checkpoint, GapReport},
};
pub use run::run;

/// What a feed follows, and how.
#[derive(Clone)]
pub struct FeedConfig {
    /// The venue's protocol.
    pub adapter: &'static dyn Adapter,
    /// The venue that the ticks are published under.
    pub venue: Venue,
    /// The symbols that are followed at first, in our spelling.
    pub symbols: Vec<Symbol>,
    /// The address of the live messages.
    pub ws_url: Url,
    /// The base address of the REST API.
    pub rest_url: Url,
    /// The most REST requests in a second.
    pub rest_per_second: u32,
    /// The longest time of a REST request.
    pub rest_timeout: Duration,
    /// A symbol is stale after this time without a trade, unless its own rate is lower.
    pub stale_after: Duration,
    /// The waits of its connections.
    pub timing: Timing,
    /// How far the time of a trade may be ahead of the clock.
    pub max_ahead: MaxAhead,
    /// The clock, for the time at which a trade was received.
    pub clock: fn() -> Timestamp,
}

/// What comes out of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// A tick that was not published before, and its trade id.
    Tick(Tick, String),
    /// A trade that is refused because its time is in the future.
    FromTheFuture(Symbol),
    /// A gap has another state.
    Gap(Symbol, GapReport),
    /// A symbol has another state.
    State(Symbol, FeedState),
    /// A message did not parse. Some of them are passed on in short.
    BadMessage(Option<BadMessage>),
    /// What is stored of a symbol once the ticks before are acknowledged.
    Checkpoint(Symbol, Checkpoint),
    /// The symbols that the venue lists, sorted.
    Listed(Vec<Symbol>),
    /// A symbol is not followed for now.
    Paused(Symbol),
    /// A symbol is not followed any more, and nothing more will be said about it.
    Removed(Symbol),
}

/// A change of what is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedChange {
    /// A symbol is followed from now on; what was stored of it, where it was followed before.
    Follow(Symbol, Option<Checkpoint>),
    /// A symbol is not followed for now. What happens meanwhile is a gap.
    Pause(Symbol),
    /// A symbol is not followed any more, and its gaps are given up.
    Remove(Symbol),
}

/// The state of a symbol at a venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedState {
    /// Trades arrive as they happen.
    Live,
    /// The connection is alive, and no trade has arrived for longer than the symbol's rate explains.
    Stale,
    /// There is no connection; the reason of the last one's end.
    Reconnecting(String),
    /// The venue refuses it, in its words, or does not list it.
    Refused(String),
}

/// What was stored of the symbols of a feed.
pub type Checkpoints = BTreeMap<Symbol, Checkpoint>;
