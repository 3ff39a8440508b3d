//! The tick: one price of one symbol at one time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Event, OutboundMessage, Price, Size, Symbol, Timestamp, Venue};

/// Reports one price of one symbol at one venue.
///
/// The identity of a tick is not in the body: it is the message's id, `<venue>:<symbol>:<trade id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tick {
    /// The venue that made the price.
    pub venue: Venue,
    /// The symbol that the price is of.
    pub symbol: Symbol,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The traded size, in units of the base asset; null for quotes and polls.
    #[serde(default)]
    pub size: Option<Size>,
    /// The time of the price, by the venue's clock.
    pub at: Timestamp,
    /// The time at which the price ingestor received it, by its own clock.
    pub received_at: Timestamp,
    /// The kind of the price.
    pub kind: TickKind,
    /// The way by which the price was received.
    pub source: TickSource,
}

/// The kind of a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TickKind {
    /// The price of a trade.
    Trade,
    /// The price of an offer.
    Quote,
    /// The current price, as a polled API reported it.
    Poll,
}

/// The way by which a price was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TickSource {
    /// Received from the venue when it was made.
    Live,
    /// Requested from the venue later, to fill a gap.
    Backfill,
    /// Read from a recorded file.
    File,
    /// Made by the simulator.
    Simulator,
}

impl Tick {
    /// Returns the message to publish; `trade_id` is the venue's own id of the trade.
    pub fn to_message(&self, trade_id: &str) -> OutboundMessage {
        OutboundMessage::new(format!("{}:{}:{trade_id}", self.venue, self.symbol), self)
    }

    /// Returns the trade id of the only tick of its time, price and size whose venue assigns no ids.
    pub fn derived_trade_id(&self) -> String {
        self.nth_derived_trade_id(0)
    }

    /// Returns the trade id of a tick whose venue assigns none: its time, price and size, and how many equal ticks came before
    /// it in its source. Whatever the digits were written with, equal prices give equal ids.
    pub fn nth_derived_trade_id(&self, equal_before: u32) -> String {
        let size = self.size.map(|size| size.decimal().normalize().to_string()).unwrap_or_default();
        format!("{}/{}/{size}/{equal_before}", self.at.micros(), self.price.decimal().normalize())
    }

    /// Returns the trade id, which is unique within venue and symbol, from the id of the message that carried the tick.
    pub fn trade_id<'id>(&self, id: &'id str) -> &'id str {
        id.strip_prefix(self.venue.as_str())
            .and_then(|rest| rest.strip_prefix(':')?.strip_prefix(self.symbol.as_str())?.strip_prefix(':'))
            .unwrap_or(id)
    }
}

impl Event for Tick {
    const TYPE: &'static str = "tick.v1";
    const SOURCE: &'static str = "/tickbell/price-ingestor";

    fn subject(&self) -> String {
        format!("ticks.{}.{}", self.venue, self.symbol.subject_token())
    }

    fn ce_subject(&self) -> String {
        self.symbol.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
