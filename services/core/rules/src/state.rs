//! What the engine remembers of each market and each rule, as it is saved and loaded.

use events::{Price, Rule, RuleStatus, Symbol, Timestamp, Venue};
use market_data::TickPosition;
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::gaps::MarketGap;

/// A price and its time, which a change is measured from.
pub type Reference = (Price, Timestamp);

/// The last evaluated tick of one symbol at one venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketState {
    /// The symbol that the venue quotes.
    pub symbol: Symbol,
    /// The venue that made the price.
    pub venue: Venue,
    /// Whether the venue quoted the symbol first: rules without a venue watch it.
    pub is_primary: bool,
    /// The stream sequence of the page that has the last evaluated tick.
    pub last_sequence: u64,
    /// The time of the last evaluated tick.
    pub last_at: Timestamp,
    /// The price of the last evaluated tick.
    pub last_price: Price,
    /// The ids of the evaluated ticks that have the time of the last one. By them a repeat is recognised.
    pub newest_ids: Vec<String>,
}

/// The last evaluated price at or before the time `slot * grain_seconds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The symbol that the venue quotes.
    pub symbol: Symbol,
    /// The venue that made the price.
    pub venue: Venue,
    /// The width of a slot in seconds: 1 for windows up to an hour, 60 for longer ones.
    pub grain_seconds: i32,
    /// The Unix time of the price divided by the grain, rounded up.
    pub slot: i64,
    /// The time of the price.
    pub at: Timestamp,
    /// The price of the sample.
    pub price: Price,
}

/// The samples of one market and grain that are older than every window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredSamples {
    /// The symbol of the market.
    pub symbol: Symbol,
    /// The venue of the market.
    pub venue: Venue,
    /// The width of a slot in seconds.
    pub grain_seconds: i32,
    /// The first slot that stays; samples of smaller slots are deleted.
    pub before_slot: i64,
}

/// What the engine remembers of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleState {
    /// The id of the rule.
    pub rule_id: Uuid,
    /// The number of the last change of the rule that was applied.
    pub revision: i64,
    /// The status of the rule.
    pub status: RuleStatus,
    /// The venue that the rule names since that change. The owner's rule may name another one already.
    pub venue: Option<Venue>,
    /// The sequence in stream `TICKS` up to which ticks are not evaluated.
    pub active_after: u64,
    /// The time of the change that made the rule active, by the gateway's clock.
    pub active_since: Timestamp,
    /// The anchor: the price that an anchored rule measures its change from.
    pub reference: Option<Reference>,
    /// The number of firings so far, suppressed ones included.
    pub firings: i64,
    /// The time of the last firing that was not suppressed.
    pub last_fired_at: Option<Timestamp>,
}

/// One occurrence of a rule's condition being met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// The id of the rule that fired.
    pub rule_id: Uuid,
    /// The number of the firing within its rule, from 1.
    pub number: i64,
    /// The symbol that the rule watches.
    pub symbol: Symbol,
    /// The venue whose price fired the rule.
    pub venue: Venue,
    /// The time of the tick.
    pub fired_at: Timestamp,
    /// The price of the tick.
    pub price: Price,
    /// The price that the change was measured from; none for a price threshold.
    pub reference: Option<Reference>,
    /// The change from the reference in percent, to 4 decimal places.
    pub change_percent: Option<Decimal>,
    /// The id of the tick.
    pub trade_id: String,
    /// The position of the tick in stream `TICKS`.
    pub position: TickPosition,
    /// The reason why nobody is notified; none when the firing is published.
    pub suppressed: Option<Suppression>,
    /// The time since which ticks of the market were missing when the rule fired; none when none were.
    pub incomplete_since: Option<Timestamp>,
}

/// The reason why a firing is recorded and not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppression {
    /// The firing came within the cooldown of the last published one.
    Cooldown,
}

impl Suppression {
    /// Returns the word that stands for the reason in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cooldown => "cooldown",
        }
    }

    /// Reads the word that [`Suppression::as_str`] returns.
    pub fn parse(text: &str) -> Option<Self> {
        (text == "cooldown").then_some(Self::Cooldown)
    }
}

/// All that the engine remembers, loaded when a consumer run starts.
#[derive(Debug, Default)]
pub struct EngineState {
    /// Every market that has ticked.
    pub markets: Vec<MarketState>,
    /// The samples of all markets, in the order of slots within each market and grain.
    pub samples: Vec<Sample>,
    /// Every rule that is not deleted, with its state. Rules that are done are among them, so that a change that crosses
    /// with the last firing does not start them anew.
    pub rules: Vec<(Rule, RuleState)>,
    /// The gaps that are not judged.
    pub gaps: Vec<MarketGap>,
}

/// What a batch has changed and the store has to save.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    /// The markets that ticked.
    pub markets: Vec<MarketState>,
    /// The samples that were added or replaced.
    pub samples: Vec<Sample>,
    /// The samples that are too old.
    pub expired_samples: Vec<ExpiredSamples>,
    /// The rules whose state changed.
    pub rules: Vec<RuleState>,
    /// The new firings, suppressed ones included.
    pub firings: Vec<Firing>,
    /// The gaps that have changed.
    pub gaps: Vec<MarketGap>,
}
