//! Candles that have closed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Event, Interval, OutboundMessage, Price, Symbol, Timestamp, Venue};

/// A candle has closed: its market has a tick that is not before its end. A tick that comes late changes it nevertheless, and the
/// event is published again with a higher `revision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CandleClosed {
    /// The venue that made the prices.
    pub venue: Venue,
    /// The symbol that the venue quotes.
    pub symbol: Symbol,
    /// The width of the candle.
    pub interval: Interval,
    /// The start of the interval, in UTC.
    pub start: Timestamp,
    /// The first price in order of time and position in the stream.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last price in order of time and position in the stream.
    pub close: Price,
    /// The exact sum of the sizes, in the base asset.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"))]
    pub volume: String,
    /// The number of ticks.
    pub trades: u64,
    /// The number of ticks that have changed the candle after its close. Of two events of one candle, the one with the higher
    /// revision is true.
    pub revision: u64,
}

impl Event for CandleClosed {
    const TYPE: &'static str = "candle-closed.v1";
    const SOURCE: &'static str = "history-writer";

    fn subject(&self) -> String {
        format!("candles.{}.{}.{}", self.venue, self.symbol.subject_token(), self.interval)
    }
    fn ce_subject(&self) -> String {
        self.symbol.to_string()
    }
    /// The end of the interval.
    fn ce_time(&self) -> Timestamp {
        self.start.after(self.interval.span())
    }
}

impl CandleClosed {
    /// Wraps the event under the id of the candle and its revision.
    pub fn to_message(&self) -> OutboundMessage {
        let Self { venue, symbol, interval, start, revision, .. } = self;
        OutboundMessage::new(format!("{venue}:{symbol}:{interval}:{start}:{revision}"), self)
    }
}
