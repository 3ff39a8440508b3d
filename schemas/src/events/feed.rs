//! Gaps of feeds: trades that the price ingestor has missed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Event, OutboundMessage, Symbol, Timestamp, Venue};

/// Reports that trades of a symbol at a venue were missed, and what became of them: one message for each state of the gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedGap {
    /// The venue whose trades were missed.
    pub venue: Venue,
    /// The symbol whose trades were missed.
    pub symbol: Symbol,
    /// The id of the gap: venue, symbol and the lower bound.
    pub gap_id: String,
    /// The number of this report about the gap, counted from 1: of two reports, that of the higher number is true.
    pub revision: u32,
    /// Whether the bounds are those of the venue's ids, or only times.
    pub bounds: GapBounds,
    /// The time of the last trade before the gap.
    pub from: Timestamp,
    /// The time of the first trade after it; null while it is open.
    pub to: Option<Timestamp>,
    /// The first id that is missing, or was; null where ids say nothing.
    pub first_missing_id: Option<u64>,
    /// The last id that is missing, or was; null where it is not known.
    pub last_missing_id: Option<u64>,
    /// The reason why trades were missed.
    pub reason: GapReason,
    /// The state of the gap.
    pub state: GapState,
    /// The number of trades that were filled in.
    pub filled: u64,
}

/// Defines words that are written in JSON and in the database as they are here.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Returns the word as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads the word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What the bounds of a gap rest on.
    GapBounds {
        /// The venue numbers its trades, so that the bounds are exact.
        Ids = "ids",
        /// The venue's ids say nothing about what was missed: the bounds are the times of the trades around the gap.
        Times = "times",
    }
}

words! {
    /// The reason why trades were missed.
    GapReason {
        /// The connection was lost.
        Disconnected = "disconnected",
        /// The connection was given up because nothing arrived.
        Stale = "stale",
        /// Ids were skipped although the connection was there.
        MissedIds = "missed_ids",
        /// Nobody followed the symbol.
        Down = "down",
    }
}

words! {
    /// What became of a gap.
    GapState {
        /// Its end is not known, or nothing was asked for yet.
        Open = "open",
        /// Its trades are being asked for.
        Filling = "filling",
        /// Nothing is missing any more.
        Filled = "filled",
        /// The venue does not offer what is still missing.
        Unfillable = "unfillable",
    }
}

impl GapState {
    /// Returns whether nothing more will be said about the gap.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Filled | Self::Unfillable)
    }
}

impl FeedGap {
    /// Returns the id of the gap that begins at a lower bound: an id of the venue, or a time in microseconds.
    pub fn id(venue: &Venue, symbol: &Symbol, lower_bound: u64) -> String {
        format!("{venue}:{symbol}:{lower_bound}")
    }

    /// Returns the message to publish, identified by the gap and the number of the report.
    pub fn to_message(&self) -> OutboundMessage {
        OutboundMessage::new(format!("{}-{}-{}", self.gap_id, self.state.as_str(), self.revision), self)
    }
}

impl Event for FeedGap {
    const TYPE: &'static str = "feed-gap.v1";
    const SOURCE: &'static str = "/tickbell/price-ingestor";

    fn subject(&self) -> String {
        format!("feeds.{}.{}", self.venue, self.symbol.subject_token())
    }

    fn ce_subject(&self) -> String {
        self.gap_id.clone()
    }

    fn ce_time(&self) -> Timestamp {
        self.to.unwrap_or(self.from)
    }
}
