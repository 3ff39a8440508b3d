//! A made-up market: numbered trades of a few products, and what the venue does with each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A trade of the market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarketTrade {
    pub(crate) id: u64,
    pub(crate) price: String,
    pub(crate) size: String,
    /// The time in microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) made_at: Instant,
}

/// Everything that was traded, by product.
#[derive(Debug, Default)]
pub(crate) struct Market {
    pub(crate) trades: BTreeMap<String, Vec<MarketTrade>>,
    /// Ids of which the REST API knows nothing.
    pub(crate) not_offered: BTreeMap<String, Vec<u64>>,
}

impl Market {
    /// Makes the next trade of a product.
    pub(crate) fn trade(&mut self, product: &str, at: i64) -> MarketTrade {
        let trades = self.trades.entry(product.to_owned()).or_default();
        let id = trades.last().map_or(1_000, |trade| trade.id + 1);
        let trade = MarketTrade {
            id,
            price: format!("{}.{:02}", 100 + id % 7, id % 100),
            size: format!("0.{}", id % 9 + 1),
            at,
            made_at: Instant::now(),
        };
        trades.push(trade.clone());
        trade
    }

    /// Returns the trades of a product that the REST API offers, oldest first.
    pub(crate) fn offered(&self, product: &str) -> Vec<MarketTrade> {
        self.offered_behind(product, Duration::ZERO)
    }

    /// Returns the same for a REST API that is behind the market.
    pub(crate) fn offered_behind(&self, product: &str, lag: Duration) -> Vec<MarketTrade> {
        let gone = self.not_offered.get(product).cloned().unwrap_or_default();
        let all = self.trades.get(product).cloned().unwrap_or_default();
        all.into_iter().filter(|trade| !gone.contains(&trade.id) && trade.made_at.elapsed() >= lag).collect()
    }
}
