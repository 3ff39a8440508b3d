//! Pages of candles that have closed. They change only when a tick comes late, or when something else is known of missing trades.
//!
//! A page is cached with the number of late ticks and of changes of gaps that its market had before it was read, and is used only
//! while the market still has as many ([`ProgressReads`](super::progress_reads::ProgressReads)). So what is in memory is never
//! older than what was committed before the request, however long events are on their way. `candle-closed.v1` of a candle that has
//! changed drops the pages that have it, so that they do not fill the memory.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use events::{Interval, Symbol, Timestamp, Venue};
use store::market::markets::MarketProgress;

use crate::http::validators::Tagged;

/// The memory that a page takes beside its body, roughly: the key, the headers, and its share of the tables.
const OVERHEAD_BYTES: usize = 320;

/// The number of an instrument in the database.
type InstrumentId = i32;

/// What a page of candles is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    pub(crate) interval: Interval,
    /// The start of the first interval that may be on the page.
    pub(crate) from: Timestamp,
    /// The start of the first interval that may not be on it any more.
    pub(crate) to: Timestamp,
    pub(crate) limit: u16,
}

impl PageKey {
    /// Makes the key of a page. Times are those of the first intervals at or behind them, so that one page has one key.
    pub(crate) fn new(interval: Interval, from: Timestamp, to: Timestamp, limit: u16) -> Self {
        let ceil = |time: Timestamp| {
            let start = time.floor(interval);
            if start == time { start } else { start.after(interval.span()) }
        };
        Self { interval, from: ceil(from), to: ceil(to), limit }
    }
}

/// How often what has closed of a market has changed. While both numbers stay, so does every page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) late_ticks: i64,
    pub(crate) gaps: i64,
}

impl From<&MarketProgress> for Changes {
    fn from(market: &MarketProgress) -> Self {
        Self { late_ticks: market.late_ticks, gaps: market.gap_changes }
    }
}

#[derive(Debug)]
struct CachedPage {
    page: Tagged,
    changes: Changes,
}

/// The pages of one age.
#[derive(Debug, Default)]
struct Generation {
    pages: HashMap<InstrumentId, HashMap<PageKey, CachedPage>>,
    bytes: usize,
}

/// The pages in memory: those that were used since the last change of generations, and those that were used before it. When the
/// younger ones fill half of the memory, they become the older ones, and what was the older ones is forgotten.
#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
    /// The numbers of the instruments that pages were cached of.
    instruments: HashMap<(Symbol, Venue), InstrumentId>,
}

/// The pages that are cached, within a bound.
#[derive(Debug)]
pub(crate) struct CandlePages {
    max_bytes: usize,
    generations: Mutex<Generations>,
}

impl CandlePages {
    /// Keeps pages of at most `max_bytes` together; with 0, none.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, generations: Mutex::default() }
    }

    /// Returns a page of which nothing has changed since it was cached: its market still has these `changes`.
    pub(crate) fn get(&self, instrument: InstrumentId, key: &PageKey, changes: Changes) -> Option<Tagged> {
        let mut generations = self.lock();
        if let Some(cached) = generations.young.get(instrument, key, changes) {
            return Some(cached);
        }
        let cached = generations.old.take(instrument, key).filter(|cached| cached.changes == changes)?;
        let page = cached.page.clone();
        generations.keep(self.max_bytes, instrument, *key, cached);
        Some(page)
    }

    /// Keeps a page of candles that have closed, and which was read after its market had these `changes`.
    pub(crate) fn keep(
        &self,
        market: (&Symbol, &Venue),
        instrument: InstrumentId,
        key: PageKey,
        changes: Changes,
        page: Tagged,
    ) {
        if page.len() + OVERHEAD_BYTES > self.max_bytes / 2 {
            return;
        }
        let mut generations = self.lock();
        generations.keep(self.max_bytes, instrument, key, CachedPage { page, changes });
        let market = (market.0.clone(), market.1.clone());
        generations.instruments.entry(market).or_insert(instrument);
    }

    /// Drops the pages that have, or would have, a candle which has changed.
    pub(crate) fn drop_changed(&self, market: &(Symbol, Venue), interval: Interval, start: Timestamp) {
        let mut generations = self.lock();
        let Some(&instrument) = generations.instruments.get(market) else { return };
        let Generations { young, old, .. } = &mut *generations;
        for generation in [young, old] {
            let is_other = |key: &PageKey| key.interval != interval || !(key.from..key.to).contains(&start);
            generation.retain(instrument, is_other);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn keep(&mut self, max_bytes: usize, instrument: InstrumentId, key: PageKey, cached: CachedPage) {
        self.old.take(instrument, &key);
        let bytes = cached.bytes();
        if self.young.bytes + bytes > max_bytes / 2 {
            self.old = mem::take(&mut self.young);
            let old = &self.old.pages;
            self.instruments.retain(|_, instrument| old.contains_key(instrument));
            self.old.take(instrument, &key);
        }
        self.young.put(instrument, key, cached);
    }
}

impl Generation {
    fn get(&self, instrument: InstrumentId, key: &PageKey, changes: Changes) -> Option<Tagged> {
        let cached = self.pages.get(&instrument)?.get(key)?;
        (cached.changes == changes).then(|| cached.page.clone())
    }

    fn take(&mut self, instrument: InstrumentId, key: &PageKey) -> Option<CachedPage> {
        let cached = self.pages.get_mut(&instrument)?.remove(key)?;
        self.bytes -= cached.bytes();
        Some(cached)
    }

    fn put(&mut self, instrument: InstrumentId, key: PageKey, cached: CachedPage) {
        self.bytes += cached.bytes();
        if let Some(before) = self.pages.entry(instrument).or_default().insert(key, cached) {
            self.bytes -= before.bytes();
        }
    }

    fn retain(&mut self, instrument: InstrumentId, holds: impl Fn(&PageKey) -> bool) {
        let Some(pages) = self.pages.get_mut(&instrument) else { return };
        let mut dropped = 0;
        pages.retain(|key, cached| {
            let holds = holds(key);
            dropped += if holds { 0 } else { cached.bytes() };
            holds
        });
        self.bytes -= dropped;
    }
}

impl CachedPage {
    fn bytes(&self) -> usize {
        self.page.len() + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTRUMENT: InstrumentId = 7;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000).expect("a time")
    }

    fn key(from: i64) -> PageKey {
        PageKey { interval: Interval::Minute, from: at(from), to: at(from + 10), limit: 100 }
    }

    fn market() -> (Symbol, Venue) {
        (Symbol::parse("SPY").expect("a symbol"), Venue::parse("file").expect("a venue"))
    }

    fn bytes(pages: &CandlePages) -> usize {
        let generations = pages.lock();
        generations.young.bytes + generations.old.bytes
    }

    fn keep(pages: &CandlePages, from: i64, late_ticks: i64, bytes: usize) {
        let (symbol, venue) = market();
        pages.keep((&symbol, &venue), INSTRUMENT, key(from), late(late_ticks), Tagged::new(vec![b' '; bytes]));
    }

    fn late(late_ticks: i64) -> Changes {
        Changes { late_ticks, gaps: 5 }
    }

    #[test]
    fn pages_of_the_same_intervals_have_the_same_key() {
        let text = |time: &str| time.parse::<Timestamp>().expect("a time");
        let key = |from, to| PageKey::new(Interval::FiveMinutes, text(from), text(to), 9);
        let expected = key("2024-08-11T00:05:00Z", "2024-08-11T00:10:00Z");
        assert_eq!(key("2024-08-11T00:00:00.000001Z", "2024-08-11T00:09:59Z"), expected);
        assert_ne!(key("2024-08-11T00:05:00.000001Z", "2024-08-11T00:10:00Z"), expected);
        assert_ne!(key("2024-08-11T00:05:00Z", "2024-08-11T00:10:00.000001Z"), expected);
        assert_eq!(PageKey::new(Interval::Day, Timestamp::EPOCH, Timestamp::LAST, 9).to, Timestamp::LAST);
    }

    #[test]
    fn a_page_is_used_until_its_market_has_one_more_late_tick_or_other_gaps() {
        let pages = CandlePages::new(1 << 20);
        keep(&pages, 0, 3, 10);
        assert!(pages.get(INSTRUMENT, &key(0), late(3)).is_some_and(|page| page.len() == 10));
        for (instrument, key, changes) in [
            (INSTRUMENT, key(0), late(4)),
            (INSTRUMENT, key(0), late(2)),
            (INSTRUMENT, key(0), Changes { gaps: 6, ..late(3) }),
            (INSTRUMENT, key(0), Changes { gaps: 4, ..late(3) }),
            (INSTRUMENT + 1, key(0), late(3)),
            (INSTRUMENT, key(1), late(3)),
            (INSTRUMENT, PageKey { limit: 99, ..key(0) }, late(3)),
            (INSTRUMENT, PageKey { interval: Interval::Hour, ..key(0) }, late(3)),
        ] {
            assert!(pages.get(instrument, &key, changes).is_none(), "{instrument} {key:?} {changes:?}");
        }
        keep(&pages, 0, 4, 20);
        assert!(pages.get(INSTRUMENT, &key(0), late(3)).is_none());
        assert!(pages.get(INSTRUMENT, &key(0), late(4)).is_some_and(|page| page.len() == 20));
    }

    #[test]
    fn a_candle_that_has_changed_drops_the_pages_that_have_it() {
        let pages = CandlePages::new(1 << 20);
        for from in [0, 5, 10, 20] {
            keep(&pages, from, 0, 10);
        }
        pages.drop_changed(&market(), Interval::Hour, at(12));
        pages.drop_changed(&(market().0, Venue::parse("other").expect("a venue")), Interval::Minute, at(12));
        assert_eq!(bytes(&pages), 4 * (10 + OVERHEAD_BYTES));
        pages.drop_changed(&market(), Interval::Minute, at(10));
        let left: Vec<_> =
            [0, 5, 10, 20].into_iter().filter(|from| pages.get(INSTRUMENT, &key(*from), late(0)).is_some()).collect();
        assert_eq!((left, bytes(&pages)), (vec![0, 20], 2 * (10 + OVERHEAD_BYTES)));
    }

    #[test]
    fn the_memory_is_bounded_and_what_is_used_stays() {
        let page = 10_000;
        let pages = CandlePages::new(10 * (page + OVERHEAD_BYTES));
        for from in 0..100 {
            keep(&pages, from, 0, page);
            assert!(pages.get(INSTRUMENT, &key(0), late(0)).is_some(), "the first page is used again and again");
            assert!(bytes(&pages) <= pages.max_bytes, "{}", bytes(&pages));
        }
        let is_cached = |from| pages.get(INSTRUMENT, &key(from), late(0)).is_some();
        assert!(is_cached(99) && !is_cached(50));
        keep(&pages, 0, 0, 9 * page);
        assert!(bytes(&pages) <= pages.max_bytes);
        let none = CandlePages::new(0);
        keep(&none, 0, 0, 1);
        assert_eq!(bytes(&none), 0);
    }

    #[test]
    fn a_page_is_counted_once_whatever_becomes_of_it() {
        let pages = CandlePages::new(1 << 20);
        keep(&pages, 0, 0, 10);
        keep(&pages, 0, 1, 30);
        assert_eq!(bytes(&pages), 30 + OVERHEAD_BYTES);
        assert!(pages.get(INSTRUMENT, &key(0), late(2)).is_none());
        assert_eq!(bytes(&pages), 30 + OVERHEAD_BYTES);
    }
}
