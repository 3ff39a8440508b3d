//! The identity of ticks.
//!
//! A tick's id is unique within its venue and symbol for ever, and derived from what the tick is, so that a source that is read
//! again, whole or in part, gives each trade the id that it had: the id of the source itself where it has one, else the time,
//! the price, the size, and how many equal ticks of that instant came before it in the source.
//!
//! The last part is counted within a bound: a tick is compared with the 65,536 different ones before it, or more. What cannot
//! be recognised is a cut through equal ticks of one instant: the part behind the cut is counted from zero again, and its first ticks
//! count as repeats of the ones before the cut.

use std::collections::HashMap;

use events::{Price, Size, Symbol, Tick, Timestamp};
use foldhash::fast::RandomState;
use thiserror::Error;

/// The number of different ticks after which the older half of what is remembered is forgotten.
const GENERATION: usize = 65_536;

/// The id of a trade was the id of another one before.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error(
    "id {id:?} was that of another trade before; if the column does not hold the ids of trades, leave it out with --columns id=none"
)]
pub struct RepeatedId {
    /// The id that both trades have.
    pub id: String,
}

/// Gives the ticks of one source their ids.
#[derive(Debug)]
pub struct TickIds {
    equal: Recent<(Symbol, Content), u32>,
    by_id: Recent<(Symbol, String), Content>,
}

/// What a trade is, apart from its id.
type Content = (Timestamp, Price, Option<Size>);

impl Default for TickIds {
    fn default() -> Self {
        Self::with_generation(GENERATION)
    }
}

impl TickIds {
    fn with_generation(generation: usize) -> Self {
        Self { equal: Recent::new(generation), by_id: Recent::new(generation) }
    }

    /// Returns the id of the next tick of the source; `own` is the one that the source itself gives it. Fails where the source
    /// has given that id to another trade: the two would be taken for one.
    pub fn next(&mut self, tick: &Tick, own: Option<String>) -> Result<String, RepeatedId> {
        let content = (tick.at, tick.price, tick.size);
        let Some(id) = own else {
            let count = self.equal.entry((tick.symbol.clone(), content), || 0);
            let id = tick.nth_derived_trade_id(*count);
            *count += 1;
            return Ok(id);
        };
        let known = self.by_id.entry((tick.symbol.clone(), id.clone()), || content);
        if *known == content { Ok(id) } else { Err(RepeatedId { id }) }
    }
}

/// A map that forgets: it has two generations, and drops the older one when the younger one is full.
#[derive(Debug)]
struct Recent<K, V> {
    younger: HashMap<K, V, RandomState>,
    older: HashMap<K, V, RandomState>,
    generation: usize,
}

impl<K: std::hash::Hash + Eq, V> Recent<K, V> {
    fn new(generation: usize) -> Self {
        Self { younger: HashMap::default(), older: HashMap::default(), generation }
    }

    fn entry(&mut self, key: K, default: impl FnOnce() -> V) -> &mut V {
        if self.younger.len() == self.generation && !self.younger.contains_key(&key) {
            self.older = std::mem::take(&mut self.younger);
        }
        let older = &mut self.older;
        let remembered = if self.younger.contains_key(&key) { None } else { older.remove(&key) };
        self.younger.entry(key).or_insert_with(|| remembered.unwrap_or_else(default))
    }
}

#[cfg(test)]
mod tests {
    use events::{
        Venue,
        tick::{TickKind, TickSource},
    };

    use super::*;

    fn tick(micros: i64, symbol: &str, price: &str, size: Option<&str>) -> Tick {
        let at = Timestamp::from_micros(micros).expect("a time");
        Tick {
            venue: Venue::parse("file").expect("a venue"),
            symbol: Symbol::parse(symbol).expect("a symbol"),
            price: price.parse().expect("a price"),
            size: size.map(|size| size.parse().expect("a size")),
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::File,
        }
    }

    fn ids<'tick>(ticks: impl IntoIterator<Item = &'tick Tick>) -> Vec<String> {
        let mut ids = TickIds::default();
        ticks.into_iter().map(|tick| ids.next(tick, None).expect("an id")).collect()
    }

    #[test]
    fn a_derived_id_says_what_the_tick_is_and_which_of_equal_ones() {
        let ticks = [
            tick(1_000_000, "SPY", "167.4100", Some("100")),
            tick(1_000_000, "SPY", "167.41", Some("100.0")),
            tick(1_000_000, "SPY", "167.41", None),
            tick(1_000_000, "QQQ", "167.41", Some("100")),
            tick(1_000_001, "SPY", "167.41", Some("100")),
            tick(1_000_000, "SPY", "167.41", Some("100")),
        ];
        let expected = [
            "1000000/167.41/100/0",
            "1000000/167.41/100/1",
            "1000000/167.41//0",
            "1000000/167.41/100/0",
            "1000001/167.41/100/0",
            "1000000/167.41/100/2",
        ];
        assert_eq!(ids(&ticks), expected);
    }

    #[test]
    fn a_source_that_is_cut_extended_or_turned_round_gives_each_tick_its_id() {
        // Of each second two equal ticks and one other.
        let second = |n: i64| [("1", n), ("1", n), ("2", n)].map(|(price, n)| tick(n * 1_000_000, "SPY", price, None));
        let whole: Vec<Tick> = (0..100).flat_map(second).collect();
        let all = ids(&whole);
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), whole.len());
        for cut in [3, 30, 150] {
            assert_eq!(ids(&whole[..cut]), all[..cut]);
            assert_eq!(ids(&whole[cut..]), all[cut..]);
        }
        let mut reversed = ids(whole.iter().rev());
        let mut sorted = all.clone();
        reversed.sort();
        sorted.sort();
        assert_eq!(reversed, sorted);
        // A cut through equal ticks cannot be recognised: the second of them is taken for the first.
        assert_eq!(ids(&whole[1..])[0], all[0]);
    }

    #[test]
    fn an_id_of_the_source_is_used_and_names_one_trade() {
        let mut ids = TickIds::default();
        let (one, other) = (tick(1, "SPY", "1", None), tick(1, "SPY", "2", None));
        assert_eq!(ids.next(&one, Some("7".into())), Ok("7".into()));
        assert_eq!(ids.next(&one, Some("7".into())), Ok("7".into()), "the same trade again");
        assert_eq!(ids.next(&other, Some("7".into())), Err(RepeatedId { id: "7".into() }));
        assert_eq!(ids.next(&tick(1, "QQQ", "2", None), Some("7".into())), Ok("7".into()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut ids = TickIds::with_generation(10);
        let first = tick(0, "SPY", "1", None);
        for n in 0..100 {
            ids.next(&tick(n, "SPY", "1", None), None).expect("an id");
            assert!(ids.equal.younger.len() <= 10 && ids.equal.older.len() <= 10);
        }
        assert!(ids.next(&first, None).is_ok_and(|id| id.ends_with("/0")), "forgotten");
        assert!(ids.next(&tick(95, "SPY", "1", None), None).is_ok_and(|id| id.ends_with("/1")), "remembered");
    }
}
