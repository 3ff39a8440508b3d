//! What is mirrored to other systems in another shape than that of the stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Price, Size, Symbol, Timestamp, Venue,
    tick::{TickKind, TickSource},
};

/// One tick alone, as the Kafka bridge writes it. Its `ce_id` is `<venue>:<symbol>:<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MirroredTick {
    /// The venue that made the price.
    pub venue: Venue,
    /// The symbol that the price is of.
    pub symbol: Symbol,
    /// The kind of the price.
    pub kind: TickKind,
    /// The way by which the price was received.
    pub source: TickSource,
    /// The time at which the price ingestor received the first tick of the page, by its own clock.
    pub received_at: Timestamp,
    /// The id, unique within venue and symbol for ever.
    pub id: String,
    /// The time of the price, by the venue's clock.
    pub at: Timestamp,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The traded size, in units of the base asset; null for quotes and polls.
    #[serde(default)]
    pub size: Option<Size>,
}

impl MirroredTick {
    /// The class and major version, which is also the name of the published schema.
    pub const TYPE: &'static str = "tick.v1";
}
