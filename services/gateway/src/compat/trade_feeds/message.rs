//! What the two protocols have in common: which products a client wants on which channels, and what it is sent.

use std::collections::BTreeSet;

use events::{Price, Size, Symbol, Timestamp, tick::TickKind};
use store::market::products::DayRange;

/// A channel of trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FeedChannel {
    /// Each price, with what its day is like.
    Ticker,
    /// Each trade, and no quote.
    Matches,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Subscribe(BTreeSet<(FeedChannel, String)>),
    Unsubscribe(BTreeSet<(FeedChannel, String)>),
}

/// A tick of a product.
#[derive(Debug, Clone, Copy)]
pub(super) struct FeedTick<'a> {
    pub(super) product: &'a Symbol,
    pub(super) id: &'a str,
    pub(super) price: Price,
    pub(super) size: Option<Size>,
    pub(super) at: Timestamp,
    pub(super) kind: TickKind,
    /// A number that is larger for each later tick.
    pub(super) sequence: u64,
}

impl FeedTick<'_> {
    /// Returns the traded quantity; none of a quote or a poll.
    pub(super) fn traded(&self) -> Option<Size> {
        self.size.filter(|_| self.kind == TickKind::Trade)
    }
}

/// What the day before a tick was like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) open: Option<Price>,
    pub(super) range: DayRange,
}

/// The protocol of a surface.
pub(super) trait Dialect: Default + Send + 'static {
    /// Reads a message of a client. The error says what is allowed.
    fn read(text: &str) -> Result<Command, String>;

    /// Writes what a client is subscribed to.
    fn subscriptions(&mut self, wanted: &BTreeSet<(FeedChannel, Symbol)>) -> String;

    /// Writes that a message was refused.
    fn refusal(reason: &str) -> String;

    /// Writes a tick; none where the channel does not show it.
    fn tick(&mut self, channel: FeedChannel, tick: &FeedTick<'_>, day: Option<&Day>) -> Option<String>;
}

/// Sample values for the tests of the protocols.
#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// Returns a trade of a product.
    pub(in super::super) fn tick(product: &Symbol) -> FeedTick<'_> {
        kind(product, TickKind::Trade)
    }

    /// Returns a tick of a kind.
    pub(in super::super) fn kind(product: &Symbol, kind: TickKind) -> FeedTick<'_> {
        FeedTick {
            product,
            id: "42",
            price: "6804.910".parse().expect("a price"),
            size: "0.250".parse().ok(),
            at: "2018-04-05T00:00:00Z".parse().expect("a time"),
            kind,
            sequence: 7_001,
        }
    }

    pub(in super::super) fn wanted(pairs: &[(FeedChannel, &str)]) -> BTreeSet<(FeedChannel, String)> {
        pairs.iter().map(|(channel, product)| (*channel, (*product).to_owned())).collect()
    }
}
