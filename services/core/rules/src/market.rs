//! One symbol at one venue: its last evaluated tick, and the prices that windows look back to.

use std::collections::VecDeque;

use events::{Period, Price, Timestamp};
use market_data::{Admission, NewestTicks, StoredTick};

use crate::state::{ExpiredSamples, MarketState, Reference, Sample};

/// Windows up to this long look back in whole seconds, longer ones in whole minutes.
const FINE_WINDOW: Period = Period::HOUR;
const LONGEST_WINDOW: Period = Period::seconds(7 * 86_400);
/// Old samples are deleted only so many at a time, because each deletion is a statement of its own.
const PRUNE_AT_LEAST: usize = 256;

/// The memory of one market.
#[derive(Debug)]
pub(crate) struct Market {
    /// Whether the market has changed since its state was taken to be saved.
    pub(crate) is_dirty: bool,
    /// The state without the ids, which are in `newest`.
    state: MarketState,
    newest: NewestTicks,
    fine: Samples,
    coarse: Samples,
}

impl Market {
    /// Opens a market at its first tick.
    pub(crate) fn open(tick: &StoredTick<'_>, is_primary: bool) -> Self {
        let state = MarketState {
            symbol: tick.symbol.clone(),
            venue: tick.venue.clone(),
            is_primary,
            last_sequence: tick.position.sequence,
            last_at: tick.at,
            last_price: tick.price,
            newest_ids: vec![tick.id.to_owned()],
        };
        let mut market = Self::restore(state);
        market.add_sample(tick.price, tick.at);
        market
    }

    /// Restores a market from its saved state; its samples follow by [`Market::restore_sample`].
    pub(crate) fn restore(mut state: MarketState) -> Self {
        let newest = NewestTicks::restore(state.last_at, std::mem::take(&mut state.newest_ids));
        Self {
            is_dirty: false,
            state,
            newest,
            fine: Samples::new(Period::SECOND, FINE_WINDOW),
            coarse: Samples::new(Period::MINUTE, LONGEST_WINDOW),
        }
    }

    /// Restores a saved sample; samples come in the order of their slots.
    pub(crate) fn restore_sample(&mut self, sample: &Sample) {
        let samples = if sample.grain_seconds == 1 { &mut self.fine } else { &mut self.coarse };
        samples.entries.push_back(SampleEntry { slot: sample.slot, price: sample.price, at: sample.at });
    }

    /// Returns the state to save.
    pub(crate) fn state(&self) -> MarketState {
        MarketState { newest_ids: self.newest.ids(), ..self.state.clone() }
    }

    /// Returns the sequence of the last evaluated tick.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.state.last_sequence
    }

    /// Says whether a tick is to be evaluated: it is not when it is a repeat, or older than the last one.
    pub(crate) fn admit(&mut self, at: Timestamp, id: &str) -> Admission {
        self.newest.admit(at, id)
    }

    /// Returns the last evaluated price.
    pub(crate) fn last(&self) -> Reference {
        (self.state.last_price, self.state.last_at)
    }

    /// Records an evaluated tick, which is not older than the last one.
    pub(crate) fn record(&mut self, tick: &StoredTick<'_>) {
        self.state.last_sequence = tick.position.sequence;
        self.state.last_price = tick.price;
        self.state.last_at = tick.at;
        self.add_sample(tick.price, tick.at);
    }

    /// Returns the last evaluated price at or before one window before `at`, on the window's grain.
    pub(crate) fn window_ago(&self, window: Period, at: Timestamp) -> Option<Reference> {
        self.at_or_before(window, self.window_start(window, at)?)
    }

    /// Returns the time of one window before `at`, on the window's grain; none before 1970.
    pub(crate) fn window_start(&self, window: Period, at: Timestamp) -> Option<Timestamp> {
        at.before(window, self.samples(window).grain)
    }

    /// Returns the last evaluated price at or before the start of a window. Ticks behind the end of the window do not change it.
    pub(crate) fn at_or_before(&self, window: Period, start: Timestamp) -> Option<Reference> {
        self.samples(window).at_or_before(start)
    }

    fn samples(&self, window: Period) -> &Samples {
        if window <= FINE_WINDOW { &self.fine } else { &self.coarse }
    }

    /// Takes the samples that were added or replaced since the last call.
    pub(crate) fn take_unsaved_samples(&mut self) -> Vec<Sample> {
        let MarketState { symbol, venue, .. } = &self.state;
        [&mut self.fine, &mut self.coarse]
            .into_iter()
            .flat_map(|samples| {
                let grain_seconds = samples.grain.as_seconds() as i32;
                samples.unsaved.drain(..).map(move |entry| (grain_seconds, entry))
            })
            .map(|(grain_seconds, SampleEntry { slot, price, at })| Sample {
                symbol: symbol.clone(),
                venue: venue.clone(),
                grain_seconds,
                slot,
                at,
                price,
            })
            .collect()
    }

    /// Returns the samples of ticks up to a time, in the order of their slots within each grain.
    pub(crate) fn samples_until(&self, at: Timestamp) -> Vec<Sample> {
        let MarketState { symbol, venue, .. } = &self.state;
        let grains = [&self.fine, &self.coarse].into_iter().map(|samples| (samples.grain.as_seconds() as i32, samples));
        grains
            .flat_map(|(grain_seconds, samples)| samples.entries.iter().map(move |entry| (grain_seconds, *entry)))
            .filter(|(_, entry)| entry.at <= at)
            .map(|(grain_seconds, SampleEntry { slot, price, at })| Sample {
                symbol: symbol.clone(),
                venue: venue.clone(),
                grain_seconds,
                slot,
                at,
                price,
            })
            .collect()
    }

    /// Drops the samples that no window looks back to any more from `needed_from` on, and returns what to delete.
    pub(crate) fn prune(&mut self, needed_from: Timestamp) -> Vec<ExpiredSamples> {
        let MarketState { symbol, venue, .. } = &self.state;
        [&mut self.fine, &mut self.coarse]
            .into_iter()
            .filter_map(|samples| {
                let before_slot = samples.prune(needed_from)?;
                let grain_seconds = samples.grain.as_seconds() as i32;
                Some(ExpiredSamples { symbol: symbol.clone(), venue: venue.clone(), grain_seconds, before_slot })
            })
            .collect()
    }

    fn add_sample(&mut self, price: Price, at: Timestamp) {
        self.fine.add(price, at);
        self.coarse.add(price, at);
    }
}

/// At most one price per slot of a grain: the last one at or before the slot's end.
#[derive(Debug)]
struct Samples {
    grain: Period,
    longest: Period,
    entries: VecDeque<SampleEntry>,
    unsaved: Vec<SampleEntry>,
}

#[derive(Debug, Clone, Copy)]
struct SampleEntry {
    /// The end of the slot, in grains since 1970.
    slot: i64,
    price: Price,
    at: Timestamp,
}

impl Samples {
    fn new(grain: Period, longest: Period) -> Self {
        Self { grain, longest, entries: VecDeque::new(), unsaved: Vec::new() }
    }

    fn add(&mut self, price: Price, at: Timestamp) {
        // The slot is rounded up: a window that ends at the end of the slot sees the price, one that ends at its start does not.
        let slot = (at.micros() + self.grain.micros() - 1).div_euclid(self.grain.micros());
        let entry = SampleEntry { slot, price, at };
        if self.entries.back().is_some_and(|last| last.slot == slot) {
            self.entries.pop_back();
        }
        if self.unsaved.last().is_some_and(|last| last.slot == slot) {
            self.unsaved.pop();
        }
        self.entries.push_back(entry);
        self.unsaved.push(entry);
    }

    /// Returns the last price at or before `cut`, which is a multiple of the grain.
    fn at_or_before(&self, cut: Timestamp) -> Option<Reference> {
        let slot = cut.micros() / self.grain.micros();
        let behind = self.entries.partition_point(|entry| entry.slot <= slot);
        let entry = self.entries.get(behind.checked_sub(1)?)?;
        Some((entry.price, entry.at))
    }

    fn prune(&mut self, now: Timestamp) -> Option<i64> {
        let cut = now.before(self.longest, self.grain)?.micros() / self.grain.micros();
        // The longest window may still look back to the last sample at or before the cut.
        let old = self.entries.partition_point(|entry| entry.slot <= cut).saturating_sub(1);
        if old < PRUNE_AT_LEAST {
            return None;
        }
        self.entries.drain(..old);
        self.entries.front().map(|first| first.slot)
    }
}
