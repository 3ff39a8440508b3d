//! A walk that is a function of its seed and the time: who asks twice, after a restart or another replica, is told the
//! same, and the past is there without having been kept.
//!
//! A walk of steps would have to be taken from its beginning. This one adds up *octaves*: each draws a height at
//! every multiple of its period and runs straight between them. Where a period is four times another its heights reach
//! twice as far, because a random walk's spread grows with the square root of time.

use std::time::Duration;

use events::{Price, Symbol, Timestamp};
use market_data::Band;

/// From a second to 18 hours: a rule on 1 % mostly rings within minutes, and one on 5 % within hours.
const OCTAVES: u32 = 9;
/// The period of the shortest octave.
const SHORTEST_MICROS: i64 = 1_000_000;
/// How far the shortest octave reaches, in millionths of the band; all of them together just fill it.
const LEAST_REACH: i64 = Band::EDGE / ((1 << OCTAVES) - 1);

/// The walk of one coin.
#[derive(Debug)]
pub(crate) struct Walk {
    seed: u64,
    interval_micros: i64,
    band: Band,
}

impl Walk {
    /// One that starts, or rather has its middle, at `start`. `interval` is from one price to the next.
    pub(crate) fn new(seed: u64, interval: Duration, symbol: &Symbol, start: Price) -> Self {
        // Each coin goes its own way.
        let seed = symbol.as_str().bytes().fold(mix(seed), |seed, byte| mix(seed ^ u64::from(byte)));
        let interval_micros = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
        Self { seed, interval_micros, band: Band::new(start) }
    }

    /// The number of the price that is current, counted from 1970.
    pub(crate) fn newest(&self, now: Timestamp) -> u64 {
        now.micros().div_euclid(self.interval_micros).unsigned_abs()
    }

    /// A price by its number, and its time.
    pub(crate) fn nth(&self, number: u64) -> (Timestamp, Price) {
        let micros = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(self.interval_micros);
        let at = Timestamp::from_micros(micros).unwrap_or(Timestamp::LAST);
        (at, self.band.at(self.way(at.micros())))
    }

    /// How far from the start, in millionths of the band.
    fn way(&self, micros: i64) -> i64 {
        let height_in = |octave: u32| {
            let (period, reach) = (SHORTEST_MICROS << (2 * octave), LEAST_REACH << octave);
            let (index, into) = (micros.div_euclid(period), micros.rem_euclid(period));
            let [from, to] = [index, index + 1].map(|index| self.draw(octave, index, reach));
            from + (to - from) * into / period
        };
        (0..OCTAVES).map(height_in).sum()
    }

    /// From `-reach` to `reach`.
    fn draw(&self, octave: u32, index: i64, reach: i64) -> i64 {
        let drawn = mix(mix(self.seed ^ u64::from(octave)) ^ index.unsigned_abs());
        (drawn % (2 * reach + 1).unsigned_abs()).cast_signed() - reach
    }
}

/// A step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). Written here:
/// those of `rand` may give other numbers in a later version, and a new replica would tell another past.
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

    fn walk(seed: u64, symbol: &str, seconds: u64) -> Walk {
        let (symbol, start) = (symbol.parse().expect("a symbol"), "68000.00".parse().expect("a price"));
        Walk::new(seed, Duration::from_secs(seconds), &symbol, start)
    }

    fn prices(walk: &Walk, from: u64, count: u64) -> Vec<Price> {
        (from..from + count).map(|number| walk.nth(number).1).collect()
    }

    /// The number of the price at 2026-01-01T00:00:00Z with an interval of 30 seconds.
    const NEW_YEAR: u64 = 1_767_225_600 / 30;

    #[test]
    fn the_same_seed_tells_the_same_past_in_every_version() {
        let past = prices(&walk(1, "BTC-USD", 30), NEW_YEAR, 4);
        let past: Vec<_> = past.iter().map(Price::to_string).collect();
        assert_eq!(past, ["60802.74", "60780.78", "60472.30", "60296.28"], "replicas of two versions must agree");
    }

    #[test]
    fn another_seed_or_symbol_goes_another_way() {
        let one = prices(&walk(1, "BTC-USD", 30), NEW_YEAR, 50);
        assert_ne!(one, prices(&walk(2, "BTC-USD", 30), NEW_YEAR, 50));
        assert_ne!(one, prices(&walk(1, "ETH-USD", 30), NEW_YEAR, 50));
    }

    #[test]
    fn a_rule_on_one_percent_rings_within_half_an_hour() {
        for seed in 0..1_000 {
            let prices = prices(&walk(seed, "BTC-USD", 30), NEW_YEAR, 60);
            let rings = prices.iter().any(|price| change_percent(*price, prices[0]).abs() >= Decimal::ONE);
            assert!(rings, "seed {seed}: {prices:?}");
        }
    }

    #[test]
    fn a_month_uses_the_band() {
        let month = prices(&walk(7, "BTC-USD", 180), NEW_YEAR / 6, 20 * 24 * 30);
        let (lowest, highest) = (month.iter().min().expect("prices"), month.iter().max().expect("prices"));
        assert!(change_percent(*highest, *lowest) > Decimal::from(50), "{lowest} to {highest}");
    }

    proptest! {
        #[test]
        fn a_price_depends_on_the_time_and_not_on_how_often_it_is_asked_for(
            seed: u64, seconds in 1_u64..86_400, number in 0_u64..80_000,
        ) {
            let (at, price) = walk(seed, "BTC-USD", seconds).nth(number);
            prop_assert_eq!(at.micros(), i64::try_from(number * seconds).expect("small") * 1_000_000);
            prop_assert_eq!(walk(seed, "BTC-USD", 1).nth(number * seconds), (at, price));
        }

        #[test]
        fn the_current_price_is_not_older_than_the_interval(
            seconds in 1_i64..86_400, micros in 0_i64..253_402_300_799_999_999,
        ) {
            let now = Timestamp::from_micros(micros).expect("a time");
            let walk = walk(1, "BTC-USD", seconds.unsigned_abs());
            let age = now.micros() - walk.nth(walk.newest(now)).0.micros();
            prop_assert!((0..seconds * 1_000_000).contains(&age), "{}", age);
        }

        #[test]
        fn half_a_minute_moves_a_price_by_less_than_six_percent_within_its_band(seed: u64, number in 0..NEW_YEAR) {
            let [before, after] = [number, number + 1].map(|number| walk(seed, "BTC-USD", 30).nth(number).1);
            prop_assert!(change_percent(after, before).abs() < Decimal::from(6), "{} {}", before, after);
            prop_assert!(after.decimal() >= Decimal::from(34_000) && after.decimal() <= Decimal::from(136_000));
        }
    }
}
