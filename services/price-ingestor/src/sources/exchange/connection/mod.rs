//! A connection to a venue, from its address to the reason of its end.

mod attempts;
mod bad_messages;
mod run;
mod socket;
mod subscriptions;

use std::time::Duration;

pub(crate) use attempts::Attempts;
pub use bad_messages::BadMessage;
pub(crate) use run::{Connection, ConnectionEvent, EndReason, Occurrence};
pub(crate) use socket::Dialer;
pub(crate) use subscriptions::WantedProduct;

/// The waits of a connection. They are settings, so that a test of a silence takes no minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// The longest time from the first packet to an open WebSocket.
    pub connect_timeout: Duration,
    /// The longest time from a request to its answer.
    pub answer_timeout: Duration,
    /// The connection counts as dead when nothing was received for this long.
    pub silence: Duration,
    /// The connection is replaced when it is this old.
    pub max_age: Option<Duration>,
    /// The first wait between two attempts to connect.
    pub first_wait: Duration,
    /// The longest wait between two attempts to connect.
    pub longest_wait: Duration,
    /// The most attempts to connect in a minute.
    pub connects_per_minute: u32,
    /// The shortest time between two messages to the venue.
    pub send_interval: Duration,
    /// How long a new hole is watched before its trades are asked for, so that a burst of holes is filled at once.
    pub settle: Duration,
    /// How long a gap is asked for although the venue answers with what is of no use: a page of maintenance, or a refusal.
    pub useless_answers: Duration,
    /// How long a gap is asked for although the answers lack some of it: the REST API may be behind the live trades.
    pub incomplete_answers: Duration,
}
