//! A random walk that is a function of its seed and the time. Every replica returns the same prices, also after a
//! restart, and past prices need no storage.
//!
//! A walk of single steps would have to be computed from its beginning. This one is a sum of *octaves*, as in value
//! noise: each octave draws a random height at every multiple of its period and interpolates linearly between them. An
//! octave of four times the period has twice the amplitude, because the spread of a random walk grows with the square
//! root of time.

use std::time::Duration;

use events::{Price, Symbol, Timestamp};
use market_data::PriceBand;

/// The number of octaves, with periods from a second to 18 hours: a rule on 1 % mostly fires within minutes, and one on
/// 5 % within hours.
const OCTAVES: u32 = 9;
/// The period of the shortest octave, in microseconds.
const SHORTEST_PERIOD_MICROS: i64 = 1_000_000;
/// The amplitude of the shortest octave, as an offset of [`PriceBand::price_at`]; all octaves together just reach its
/// edge.
const LEAST_AMPLITUDE: i64 = PriceBand::MAX_OFFSET / ((1 << OCTAVES) - 1);

/// The random walk of one coin.
#[derive(Debug)]
pub(crate) struct RandomWalk {
    seed: u64,
    interval_micros: i64,
    band: PriceBand,
}

impl RandomWalk {
    /// Returns the walk around `initial`, with a price every `interval`.
    pub(crate) fn new(seed: u64, interval: Duration, symbol: &Symbol, initial: Price) -> Self {
        // Each symbol has a seed of its own, so that coins do not move together.
        let seed = symbol.as_str().bytes().fold(mix(seed), |seed, byte| mix(seed ^ u64::from(byte)));
        let interval_micros = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
        Self { seed, interval_micros, band: PriceBand::new(initial) }
    }

    /// Returns the number of the current price, counted from 1970.
    pub(crate) fn current_number(&self, now: Timestamp) -> u64 {
        now.micros().div_euclid(self.interval_micros).unsigned_abs()
    }

    /// Returns a price by its number, and the time of that price.
    pub(crate) fn price_by_number(&self, number: u64) -> (Timestamp, Price) {
        let micros = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(self.interval_micros);
        let at = Timestamp::from_micros(micros).unwrap_or(Timestamp::LAST);
        (at, self.band.price_at(self.offset_at(at.micros())))
    }

    /// Returns the offset from the initial price at a time, as [`PriceBand::price_at`] takes it.
    fn offset_at(&self, micros: i64) -> i64 {
        let octave_offset = |octave: u32| {
            let (period, amplitude) = (SHORTEST_PERIOD_MICROS << (2 * octave), LEAST_AMPLITUDE << octave);
            let (index, elapsed) = (micros.div_euclid(period), micros.rem_euclid(period));
            let [from, to] = [index, index + 1].map(|index| self.draw(octave, index, amplitude));
            from + (to - from) * elapsed / period
        };
        (0..OCTAVES).map(octave_offset).sum()
    }

    /// Returns the height of an octave at a multiple of its period, from `-amplitude` to `amplitude`.
    fn draw(&self, octave: u32, index: i64, amplitude: i64) -> i64 {
        let random = mix(mix(self.seed ^ u64::from(octave)) ^ index.unsigned_abs());
        (random % (2 * amplitude + 1).unsigned_abs()).cast_signed() - amplitude
    }
}

/// Returns the next output of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
///
/// It is not taken from `rand`, whose generators may return other numbers in a later version: a replica of the next
/// version would then return another history.
fn mix(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use events::money::change_percent;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn walk(seed: u64, symbol: &str, seconds: u64) -> RandomWalk {
        let (symbol, initial) = (symbol.parse().expect("a symbol"), "68000.00".parse().expect("a price"));
        RandomWalk::new(seed, Duration::from_secs(seconds), &symbol, initial)
    }

    fn prices(walk: &RandomWalk, from: u64, count: u64) -> Vec<Price> {
        (from..from + count).map(|number| walk.price_by_number(number).1).collect()
    }

    /// The number of the price at 2026-01-01T00:00:00Z with an interval of 30 seconds.
    const NEW_YEAR: u64 = 1_767_225_600 / 30;

    #[test]
    fn a_seed_gives_the_same_history_in_every_version() {
        let history = prices(&walk(1, "BTC-USD", 30), NEW_YEAR, 4);
        let history: Vec<_> = history.iter().map(Price::to_string).collect();
        assert_eq!(history, ["60802.74", "60780.78", "60472.30", "60296.28"], "replicas of two versions must agree");
    }

    #[test]
    fn another_seed_or_symbol_gives_another_walk() {
        let one = prices(&walk(1, "BTC-USD", 30), NEW_YEAR, 50);
        assert_ne!(one, prices(&walk(2, "BTC-USD", 30), NEW_YEAR, 50));
        assert_ne!(one, prices(&walk(1, "ETH-USD", 30), NEW_YEAR, 50));
    }

    #[test]
    fn a_rule_on_one_percent_fires_within_half_an_hour() {
        for seed in 0..1_000 {
            let prices = prices(&walk(seed, "BTC-USD", 30), NEW_YEAR, 60);
            let fires = prices.iter().any(|price| change_percent(*price, prices[0]).abs() >= Decimal::ONE);
            assert!(fires, "seed {seed}: {prices:?}");
        }
    }

    #[test]
    fn the_prices_of_a_month_spread_over_the_band() {
        let month = prices(&walk(7, "BTC-USD", 180), NEW_YEAR / 6, 20 * 24 * 30);
        let (lowest, highest) = (month.iter().min().expect("prices"), month.iter().max().expect("prices"));
        assert!(change_percent(*highest, *lowest) > Decimal::from(50), "{lowest} to {highest}");
    }

    proptest! {
        #[test]
        fn a_price_depends_on_its_time_and_not_on_the_interval(
            seed: u64, seconds in 1_u64..86_400, number in 0_u64..80_000,
        ) {
            let (at, price) = walk(seed, "BTC-USD", seconds).price_by_number(number);
            prop_assert_eq!(at.micros(), i64::try_from(number * seconds).expect("small") * 1_000_000);
            prop_assert_eq!(walk(seed, "BTC-USD", 1).price_by_number(number * seconds), (at, price));
        }

        #[test]
        fn the_current_price_is_not_older_than_the_interval(
            seconds in 1_i64..86_400, micros in 0_i64..253_402_300_799_999_999,
        ) {
            let now = Timestamp::from_micros(micros).expect("a time");
            let walk = walk(1, "BTC-USD", seconds.unsigned_abs());
            let age = now.micros() - walk.price_by_number(walk.current_number(now)).0.micros();
            prop_assert!((0..seconds * 1_000_000).contains(&age), "{}", age);
        }

        #[test]
        fn a_price_changes_by_less_than_six_percent_in_half_a_minute_and_stays_in_its_band(seed: u64, number in 0..NEW_YEAR) {
            let [before, after] = [number, number + 1].map(|number| walk(seed, "BTC-USD", 30).price_by_number(number).1);
            prop_assert!(change_percent(after, before).abs() < Decimal::from(6), "{} {}", before, after);
            prop_assert!(after.decimal() >= Decimal::from(34_000) && after.decimal() <= Decimal::from(136_000));
        }
    }
}
