//! One symbol at one venue: its last judged tick, and the prices that windows look back to.

use std::collections::VecDeque;

use events::{Period, Price, Symbol, Timestamp, Venue};
use store::rules::engine_state::{ExpiredSamples, MarketState, Sample};

/// Windows up to this long look back in whole seconds, longer ones in whole minutes.
const FINE_WINDOW: Period = Period::HOUR;
const LONGEST_WINDOW: Period = Period::seconds(7 * 86_400);
/// Old samples are forgotten so many at a time.
const FORGET_AT_LEAST: usize = 256;

/// A price and when it was made.
pub type Reference = (Price, Timestamp);

/// What the engine remembers of a market.
#[derive(Debug)]
pub struct Market {
    state: MarketState,
    fine: Samples,
    coarse: Samples,
}

impl Market {
    /// A market at its first judged tick.
    pub fn opened(symbol: Symbol, venue: Venue, sequence: u64, price: Price, at: Timestamp) -> Self {
        let state = MarketState {
            symbol,
            venue,
            first_sequence: sequence,
            last_sequence: sequence,
            last_at: at,
            last_price: price,
        };
        let mut market = Self::recalled(state);
        market.sample(price, at);
        market
    }

    /// A market as it was saved; its samples follow by [`Market::recall`].
    pub fn recalled(state: MarketState) -> Self {
        Self {
            state,
            fine: Samples::new(Period::SECOND, FINE_WINDOW),
            coarse: Samples::new(Period::MINUTE, LONGEST_WINDOW),
        }
    }

    /// Puts a saved sample back; samples come in order of slot.
    pub fn recall(&mut self, sample: &Sample) {
        let samples = if sample.grain_seconds == 1 { &mut self.fine } else { &mut self.coarse };
        samples.kept.push_back(Taken { slot: sample.slot, price: sample.price, at: sample.at });
    }

    /// As it is to be saved.
    pub fn state(&self) -> &MarketState {
        &self.state
    }

    /// The last judged price.
    pub fn last(&self) -> Reference {
        (self.state.last_price, self.state.last_at)
    }

    /// Takes a judged tick; its time is not before the last one's.
    pub fn tick(&mut self, sequence: u64, price: Price, at: Timestamp) {
        self.state.last_sequence = sequence;
        self.state.last_price = price;
        self.state.last_at = at;
        self.sample(price, at);
    }

    /// The last judged price at or before one window before `at`, on the window's grain.
    pub fn window_ago(&self, window: Period, at: Timestamp) -> Option<Reference> {
        let samples = if window <= FINE_WINDOW { &self.fine } else { &self.coarse };
        samples.at_or_before(at.before(window, samples.grain)?)
    }

    /// Samples that were taken or replaced since the last call.
    pub fn take_samples(&mut self) -> Vec<Sample> {
        let MarketState { symbol, venue, .. } = &self.state;
        [&mut self.fine, &mut self.coarse]
            .into_iter()
            .flat_map(|samples| {
                let grain_seconds = samples.grain.as_seconds() as i32;
                samples.unsaved.drain(..).map(move |taken| (grain_seconds, taken))
            })
            .map(|(grain_seconds, Taken { slot, price, at })| Sample {
                symbol: symbol.clone(),
                venue: venue.clone(),
                grain_seconds,
                slot,
                at,
                price,
            })
            .collect()
    }

    /// Forgets samples that no window looks back to any more, and says which.
    pub fn forget(&mut self) -> Vec<ExpiredSamples> {
        let MarketState { symbol, venue, last_at, .. } = &self.state;
        [&mut self.fine, &mut self.coarse]
            .into_iter()
            .filter_map(|samples| {
                let before_slot = samples.forget(*last_at)?;
                let grain_seconds = samples.grain.as_seconds() as i32;
                Some(ExpiredSamples { symbol: symbol.clone(), venue: venue.clone(), grain_seconds, before_slot })
            })
            .collect()
    }

    fn sample(&mut self, price: Price, at: Timestamp) {
        self.fine.take(price, at);
        self.coarse.take(price, at);
    }
}

/// At most one price per slot of a grain: the last one at or before the slot's end.
#[derive(Debug)]
struct Samples {
    grain: Period,
    longest: Period,
    kept: VecDeque<Taken>,
    unsaved: Vec<Taken>,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    /// The slot's end, in grains since 1970.
    slot: i64,
    price: Price,
    at: Timestamp,
}

impl Samples {
    fn new(grain: Period, longest: Period) -> Self {
        Self { grain, longest, kept: VecDeque::new(), unsaved: Vec::new() }
    }

    fn take(&mut self, price: Price, at: Timestamp) {
        // Rounded up: a look back to the end of the slot sees the price, one to its start does not.
        let slot = (at.micros() + self.grain.micros() - 1).div_euclid(self.grain.micros());
        let taken = Taken { slot, price, at };
        if self.kept.back().is_some_and(|last| last.slot == slot) {
            self.kept.pop_back();
        }
        if self.unsaved.last().is_some_and(|last| last.slot == slot) {
            self.unsaved.pop();
        }
        self.kept.push_back(taken);
        self.unsaved.push(taken);
    }

    /// `cut` is a multiple of the grain.
    fn at_or_before(&self, cut: Timestamp) -> Option<Reference> {
        let slot = cut.micros() / self.grain.micros();
        let behind = self.kept.partition_point(|taken| taken.slot <= slot);
        let taken = self.kept.get(behind.checked_sub(1)?)?;
        Some((taken.price, taken.at))
    }

    fn forget(&mut self, now: Timestamp) -> Option<i64> {
        let cut = now.before(self.longest, self.grain)?.micros() / self.grain.micros();
        // The last sample at or before the cut is still looked at.
        let old = self.kept.partition_point(|taken| taken.slot <= cut).saturating_sub(1);
        if old < FORGET_AT_LEAST {
            return None;
        }
        self.kept.drain(..old);
        self.kept.front().map(|first| first.slot)
    }
}
