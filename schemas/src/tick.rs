//! A price at an instant: what everything else follows from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Event, OutboundMessage, Price, Size, Symbol, Timestamp, Venue};

/// One price of one symbol at one venue.
///
/// Its identity is not in the body: it is the message's id, `<venue>:<symbol>:<trade id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tick {
    /// Where the price comes from.
    pub venue: Venue,
    /// What was quoted.
    pub symbol: Symbol,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// How much was traded, in units of the base; null for quotes and polls.
    #[serde(default)]
    pub size: Option<Size>,
    /// When the price was made, by the venue's clock.
    pub at: Timestamp,
    /// When we received it, by ours.
    pub received_at: Timestamp,
    /// What the price is.
    pub kind: TickKind,
    /// How it came to us.
    pub source: TickSource,
}

/// What a price is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TickKind {
    /// Somebody bought and somebody sold.
    Trade,
    /// Somebody would.
    Quote,
    /// A page said so when we asked.
    Poll,
}

/// How a price came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TickSource {
    /// As it happened.
    Live,
    /// Asked for afterwards, to fill a gap.
    Backfill,
    /// From a recorded file.
    File,
    /// From the simulator.
    Simulator,
}

impl Tick {
    /// The message to publish; `trade_id` is the venue's own number for it.
    pub fn to_message(&self, trade_id: &str) -> OutboundMessage {
        OutboundMessage::new(format!("{}:{}:{trade_id}", self.venue, self.symbol), self)
    }

    /// The identity of a tick whose venue gives it none: its time, price and size.
    pub fn derived_trade_id(&self) -> String {
        let size = self.size.map(|size| size.decimal().normalize().to_string()).unwrap_or_default();
        format!("{}/{}/{size}", self.at.micros(), self.price.decimal().normalize())
    }

    /// What is unique within the venue and symbol, from the id of the message that carried the tick.
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
        format!("ticks.{}.{}", self.venue, self.symbol)
    }

    fn ce_subject(&self) -> String {
        self.symbol.to_string()
    }

    fn ce_time(&self) -> Timestamp {
        self.at
    }
}
