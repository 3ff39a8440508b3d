//! The filter of repeats and late ticks, one for everybody who decides from the stream of ticks.
//!
//! A tick may be stored more than once: a file is published again, a venue's page is read twice, the broker forgets ids after
//! its deduplication window. A repeat changes nothing, however late it comes. To recognise one, the filter needs to know of
//! each market only the newest time and the ids of the ticks at that time: what is older is late, repeated or not, and a late
//! tick changes nothing either.
//!
//! The history does not use this filter, because it keeps late ticks: its unique key recognises repeats of any age.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::{Symbol, Timestamp, Venue};
use foldhash::fast::RandomState;

use crate::ticks::stored::StoredTick;

/// The most ticks of one market and one instant that are distinguished. Ticks beyond are not admitted: which of them are repeats
/// could not be said.
const MAX_IDS: usize = 20_000;

/// The number of ids whose memory a market uses again after an instant that had more.
const REUSED_CAPACITY: usize = 256;

/// What a tick is to its market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The tick is new and not older than the newest one.
    New,
    /// The tick was admitted before.
    Repeat,
    /// The tick is older than the newest one.
    Late,
    /// The market has so many ticks of this instant that repeats among them could not be recognised.
    Crowded,
}

/// The ticks of one market that have its newest time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestTicks {
    at: Timestamp,
    /// One of the ids. In most markets it is the only one, and its memory is used again for the next.
    first: String,
    others: HashSet<Box<str>, RandomState>,
}

impl NewestTicks {
    /// Begins with the first tick of a market.
    pub fn new(at: Timestamp, id: &str) -> Self {
        Self { at, first: id.to_owned(), others: HashSet::default() }
    }

    /// Restores what [`NewestTicks::at`] and [`NewestTicks::ids`] have returned.
    pub fn restore(at: Timestamp, ids: Vec<String>) -> Self {
        let mut ids = ids.into_iter();
        let first = ids.next().unwrap_or_default();
        Self { at, first, others: ids.map(String::into_boxed_str).collect() }
    }

    /// Returns the newest time.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns the ids of the ticks that have the newest time, sorted.
    pub fn ids(&self) -> Vec<String> {
        let others = self.others.iter().map(|id| String::from(&**id));
        let mut ids: Vec<_> = std::iter::once(self.first.clone()).chain(others).collect();
        ids.sort_unstable();
        ids
    }

    /// Says what a tick is to the market, and remembers it when it is new.
    pub fn admit(&mut self, at: Timestamp, id: &str) -> Admission {
        if at < self.at {
            return Admission::Late;
        }
        if at > self.at {
            self.at = at;
            self.first.clear();
            self.first.push_str(id);
            self.others.clear();
            self.others.shrink_to(REUSED_CAPACITY);
            return Admission::New;
        }
        if self.first == id || self.others.contains(id) {
            return Admission::Repeat;
        }
        if self.others.len() + 1 >= MAX_IDS {
            return Admission::Crowded;
        }
        self.others.insert(id.into());
        Admission::New
    }
}

/// The number of ticks that were not admitted, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SkippedTicks {
    /// The ticks that had been admitted before.
    pub repeated: u64,
    /// The ticks that were older than the newest of their market.
    pub late: u64,
    /// The ticks of an instant that had too many.
    pub crowded: u64,
}

impl SkippedTicks {
    /// The words that stand for the reasons in metrics, also for those of a [`crate::TickRefusal`].
    pub const REASONS: [&str; 6] = ["repeat", "late", "crowded", "future", "id", "malformed"];

    /// Counts a tick, and returns true when it is admitted.
    pub fn count(&mut self, admission: Admission) -> bool {
        match admission {
            Admission::New => return true,
            Admission::Repeat => self.repeated += 1,
            Admission::Late => self.late += 1,
            Admission::Crowded => self.crowded += 1,
        }
        false
    }

    /// Returns how many ticks were not admitted.
    pub fn total(self) -> u64 {
        self.repeated + self.late + self.crowded
    }

    /// Returns the counts with the words that stand for the reasons in metrics.
    pub fn by_reason(self) -> [(&'static str, u64); 3] {
        [("repeat", self.repeated), ("late", self.late), ("crowded", self.crowded)]
    }
}

/// The newest ticks of one market, as they are saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketTicks {
    /// The symbol that the venue quotes.
    pub symbol: Symbol,
    /// The venue that made the prices.
    pub venue: Venue,
    /// The newest time.
    pub at: Timestamp,
    /// The ids of the ticks at that time.
    pub ids: Vec<String>,
}

/// The newest ticks of all markets.
#[derive(Debug, Default)]
pub struct TickFilter {
    markets: HashMap<Symbol, BTreeMap<Venue, FilteredMarket>, RandomState>,
    /// The markets that have changed since they were taken, each once.
    changed: Vec<(Symbol, Venue)>,
    skipped: SkippedTicks,
}

#[derive(Debug)]
struct FilteredMarket {
    newest: NewestTicks,
    is_changed: bool,
}

impl TickFilter {
    /// Restores the filter from the markets that were saved.
    pub fn restore(saved: Vec<MarketTicks>) -> Self {
        let mut filter = Self::default();
        for MarketTicks { symbol, venue, at, ids } in saved {
            let newest = NewestTicks::restore(at, ids);
            filter.markets.entry(symbol).or_default().insert(venue, FilteredMarket { newest, is_changed: false });
        }
        filter
    }

    /// Returns true when a tick is new and not older than the newest of its market.
    pub fn admits(&mut self, tick: &StoredTick<'_>) -> bool {
        let market = self.markets.get_mut(tick.symbol).and_then(|venues| venues.get_mut(tick.venue));
        let Some(market) = market else {
            let market = FilteredMarket { newest: NewestTicks::new(tick.at, tick.id), is_changed: true };
            self.markets.entry(tick.symbol.clone()).or_default().insert(tick.venue.clone(), market);
            self.changed.push((tick.symbol.clone(), tick.venue.clone()));
            return true;
        };
        let is_new = self.skipped.count(market.newest.admit(tick.at, tick.id));
        if is_new && !std::mem::replace(&mut market.is_changed, true) {
            self.changed.push((tick.symbol.clone(), tick.venue.clone()));
        }
        is_new
    }

    /// Returns the newest time of a market; none before its first tick.
    pub fn newest(&self, symbol: &Symbol, venue: &Venue) -> Option<Timestamp> {
        Some(self.markets.get(symbol)?.get(venue)?.newest.at())
    }

    /// Takes the markets that have changed since the last call, to be saved, in the order of symbols and venues.
    pub fn take_changes(&mut self) -> Vec<MarketTicks> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        let saved = changed.into_iter().filter_map(|(symbol, venue)| {
            let market = self.markets.get_mut(&symbol)?.get_mut(&venue)?;
            market.is_changed = false;
            Some(MarketTicks { at: market.newest.at(), ids: market.newest.ids(), symbol, venue })
        });
        saved.collect()
    }

    /// Takes the number of ticks that were not admitted since the last call.
    pub fn take_skipped(&mut self) -> SkippedTicks {
        std::mem::take(&mut self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use events::{
        Tick,
        tick::{TickKind, TickSource},
    };
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).expect("a time")
    }

    fn tick(venue: &str, seconds: i64) -> Tick {
        Tick {
            venue: Venue::parse(venue).expect("a venue"),
            symbol: Symbol::parse("BTC-USD").expect("a symbol"),
            price: "5".parse().expect("a price"),
            size: None,
            at: at(seconds),
            received_at: at(seconds),
            kind: TickKind::Trade,
            source: TickSource::File,
        }
    }

    fn admits(filter: &mut TickFilter, tick: &Tick, id: &str) -> bool {
        filter.admits(&StoredTick::of(tick, id, 1, 0))
    }

    #[test]
    fn equal_times_are_admitted_once_for_each_id_and_what_is_older_is_late() {
        let mut newest = NewestTicks::new(at(5), "a");
        for (seconds, id, expected) in [
            (5, "a", Admission::Repeat),
            (5, "b", Admission::New),
            (5, "b", Admission::Repeat),
            (5, "a", Admission::Repeat),
            (4, "c", Admission::Late),
            (4, "a", Admission::Late),
            (6, "a", Admission::New),
            (6, "b", Admission::New),
            (5, "b", Admission::Late),
            (6, "a", Admission::Repeat),
        ] {
            assert_eq!(newest.admit(at(seconds), id), expected, "{id} at {seconds}");
        }
        assert_eq!((newest.at(), newest.ids()), (at(6), vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn an_instant_admits_a_bounded_number_of_ticks_and_the_next_one_begins_anew() {
        let mut newest = NewestTicks::new(at(5), "0");
        assert!((1..MAX_IDS).all(|id| newest.admit(at(5), &id.to_string()) == Admission::New));
        assert_eq!(newest.admit(at(5), "one more"), Admission::Crowded);
        assert_eq!(newest.admit(at(5), "17"), Admission::Repeat);
        assert_eq!(newest.admit(at(6), "one more"), Admission::New);
        assert_eq!(newest.ids(), ["one more"]);
    }

    #[test]
    fn markets_do_not_affect_each_other_and_only_changed_ones_are_saved() {
        let mut filter = TickFilter::default();
        assert!(admits(&mut filter, &tick("one", 5), "a") && admits(&mut filter, &tick("two", 3), "a"));
        assert_eq!(filter.take_changes().len(), 2);
        assert!(!admits(&mut filter, &tick("one", 5), "a") && !admits(&mut filter, &tick("one", 4), "b"));
        assert_eq!(filter.take_changes(), []);
        let skipped = filter.take_skipped();
        assert_eq!((skipped, skipped.total()), (SkippedTicks { repeated: 1, late: 1, crowded: 0 }, 2));
        assert!(admits(&mut filter, &tick("two", 3), "b"));
        let saved = filter.take_changes();
        assert_eq!(
            saved.iter().map(|market| (market.venue.as_str(), market.ids.len())).collect::<Vec<_>>(),
            [("two", 2)]
        );
        let mut restored = TickFilter::restore(saved);
        assert!(!admits(&mut restored, &tick("two", 3), "a") && admits(&mut restored, &tick("two", 3), "c"));
    }

    proptest! {
        #[test]
        fn repeats_inserted_anywhere_change_nothing_also_across_restarts(
            seconds in prop::collection::vec((0..3_usize, -1..3_i64), 1..60),
            repeats in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
            restart_every in 1..20_usize,
        ) {
            let mut now = 100;
            let ticks: Vec<_> = seconds.iter().enumerate().map(|(number, (venue, step))| {
                now += step;
                (number, tick(["one", "two", "three"][*venue], now))
            }).collect();
            // A repeat stands anywhere behind its original.
            let mut with_repeats: Vec<_> = ticks.iter().map(|(number, tick)| (*number, *number, tick)).collect();
            for (original, behind) in repeats {
                let original = original.index(ticks.len());
                let behind = original + behind.index(ticks.len() - original);
                let place = with_repeats.iter().rposition(|(position, ..)| *position == behind).expect("it is there");
                with_repeats.insert(place + 1, (behind, original, &ticks[original].1));
            }
            let mut plain = TickFilter::default();
            let expected: Vec<_> = ticks.iter().filter(|(n, tick)| admits(&mut plain, tick, &n.to_string())).map(|(n, _)| *n).collect();
            let (mut filter, mut saved, mut admitted) = (TickFilter::default(), BTreeMap::new(), Vec::new());
            for (index, (_, number, tick)) in with_repeats.into_iter().enumerate() {
                if index % restart_every == 0 {
                    saved.extend(filter.take_changes().into_iter().map(|market| (market.venue.clone(), market)));
                    filter = TickFilter::restore(saved.values().cloned().collect());
                }
                if admits(&mut filter, tick, &number.to_string()) {
                    admitted.push(number);
                }
            }
            prop_assert_eq!(admitted, expected);
        }
    }
}
