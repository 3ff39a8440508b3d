//! Ticks collected into pages, each of one symbol.

use std::collections::HashMap;

use events::{OutboundMessage, Symbol, Tick, TickPage};
use foldhash::fast::RandomState;

/// The ticks that go out together, collected into as few pages as the order of each symbol allows.
#[derive(Debug, Default)]
pub struct PageCollector {
    /// The pages in the order of their first ticks.
    pages: Vec<TickPage>,
    /// The newest page of each symbol.
    newest: HashMap<Symbol, usize, RandomState>,
    ticks: u64,
}

impl PageCollector {
    /// Adds the next tick under its id.
    pub fn push(&mut self, tick: Tick, id: String) {
        self.ticks += 1;
        let newest = self.newest.get(&tick.symbol).and_then(|index| self.pages.get_mut(*index));
        match newest.filter(|page| page.takes(&tick)) {
            Some(page) => page.push(tick, id),
            None => {
                self.newest.insert(tick.symbol.clone(), self.pages.len());
                self.pages.push(TickPage::of(tick, id));
            }
        }
    }

    /// Returns the number of ticks that were added.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Returns the messages of the pages. Published in their order, they have the ticks of each symbol in the order in which
    /// they came.
    pub fn into_messages(self) -> Vec<OutboundMessage> {
        self.pages.into_iter().flat_map(TickPage::into_messages).collect()
    }
}

impl Extend<(Tick, String)> for PageCollector {
    fn extend<T: IntoIterator<Item = (Tick, String)>>(&mut self, ticks: T) {
        ticks.into_iter().for_each(|(tick, id)| self.push(tick, id));
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Timestamp, Venue,
        tick::{TickKind, TickSource},
    };
    use proptest::prelude::*;

    use super::*;

    fn tick(symbol: &str, source: TickSource) -> Tick {
        Tick {
            venue: Venue::parse("test").expect("a venue"),
            symbol: Symbol::parse(symbol).expect("a symbol"),
            price: "5".parse().expect("a price"),
            size: None,
            at: Timestamp::EPOCH,
            received_at: Timestamp::EPOCH,
            kind: TickKind::Trade,
            source,
        }
    }

    fn collect(ticks: impl IntoIterator<Item = (Tick, String)>) -> Vec<TickPage> {
        let mut collector = PageCollector::default();
        collector.extend(ticks);
        collector.into_messages().iter().map(|message| serde_json::from_slice(&message.body).expect("a page")).collect()
    }

    #[test]
    fn ticks_of_one_symbol_share_a_page_up_to_its_bound() {
        let ticks = (0..1_200).map(|n| (tick(["SPY", "QQQ"][n % 2], TickSource::File), n.to_string()));
        let pages = collect(ticks);
        let shapes: Vec<_> = pages.iter().map(|page| (page.symbol.as_str(), page.ticks.len())).collect();
        assert_eq!(shapes, [("SPY", 500), ("QQQ", 500), ("SPY", 100), ("QQQ", 100)]);
    }

    proptest! {
        #[test]
        fn the_order_of_each_symbol_stays_whatever_is_collected_together(ticks in prop::collection::vec((0..4_usize, any::<bool>()), 0..200)) {
            let ticks: Vec<_> = ticks.into_iter().enumerate().map(|(number, (symbol, backfilled))| {
                let source = if backfilled { TickSource::Backfill } else { TickSource::Live };
                (tick(["SPY", "QQQ", "BTC-USD", "BRK.B"][symbol], source), number.to_string())
            }).collect();
            let pages = collect(ticks.clone());
            for symbol in ["SPY", "QQQ", "BTC-USD", "BRK.B"] {
                let expected = ticks.iter().filter(|(tick, _)| tick.symbol.as_str() == symbol).map(|(tick, id)| (id.clone(), tick.source));
                let of_symbol = pages.iter().filter(|page| page.symbol.as_str() == symbol);
                let found = of_symbol.flat_map(|page| page.ticks.iter().map(|tick| (tick.id.clone(), page.source)));
                prop_assert!(expected.eq(found));
            }
        }
    }
}
