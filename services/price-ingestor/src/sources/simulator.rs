//! The source `simulator`: a seeded random walk per symbol, so that a demo has prices that move and rules that fire.

use std::time::Duration;

use events::{
    Price, Size, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use market_data::{InitialPrices, PriceBand};
use platform::{
    ServiceError, Shutdown, clock,
    settings::{SettingsError, duration, require_range},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rust_decimal::Decimal;
use serde::Deserialize;
use tokio::time::MissedTickBehavior;

use crate::{
    publisher::Publisher,
    sources::{RunMode, with_derived_id},
};

/// Section `price_ingestor.simulator` of the settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The seed of the walks; the same seed gives the same prices.
    pub seed: u64,
    /// The symbols and their initial prices, like `BTC-USD=68000,ETH-USD=3500`.
    pub symbols: InitialPrices,
    /// The time from one price of a symbol to the next, like `250ms`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// The largest change of a price in one step, in basis points, 1 to 1000.
    pub volatility_bp: u32,
}

impl Default for Settings {
    /// Returns steps of up to 0.8 %, four per second: a rule on 1 % fires within 15 seconds but for a few runs in a
    /// million.
    fn default() -> Self {
        Self { seed: 1, symbols: InitialPrices::default(), interval: Duration::from_millis(250), volatility_bp: 80 }
    }
}

impl Settings {
    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        require_range("price_ingestor.simulator.volatility_bp", self.volatility_bp, 1, 1_000)?;
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(3_600));
        duration::require_range("price_ingestor.simulator.interval", self.interval, least, most)
    }
}

/// Publishes one step of every walk per interval, until shutdown or once.
pub(crate) async fn run(
    publisher: &mut Publisher,
    settings: &Settings,
    mode: RunMode,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut walks = Walks::new(settings);
    let mut timer = tokio::time::interval(settings.interval);
    // After an outage of the broker the prices go on from now, without a burst of the missed steps.
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        // The id contains the time, so that a restart with the same seed repeats prices and not ids.
        let ticks = walks.step(publisher.venue(), clock::now());
        publisher.publish(ticks.into_iter().map(with_derived_id)).await?;
        if mode == RunMode::Once {
            return Ok(());
        }
    }
}

/// The walks of all symbols, which share one random number generator.
struct Walks {
    rng: StdRng,
    volatility_bp: i64,
    walks: Vec<RandomWalk>,
}

impl Walks {
    fn new(settings: &Settings) -> Self {
        let walks = settings.symbols.iter().map(|(symbol, initial)| RandomWalk::new(symbol, initial)).collect();
        let volatility_bp = settings.volatility_bp.into();
        Self { rng: StdRng::seed_from_u64(settings.seed), volatility_bp, walks }
    }

    /// Draws the next tick of every symbol.
    fn step(&mut self, venue: &Venue, at: Timestamp) -> Vec<Tick> {
        let Self { rng, volatility_bp, walks } = self;
        let max_step = *volatility_bp;
        let mut draw = |walk: &mut RandomWalk| Tick {
            venue: venue.clone(),
            symbol: walk.symbol.clone(),
            price: walk.step(rng.random_range(-max_step..=max_step)),
            size: Size::new(Decimal::new(rng.random_range(1..=2_000), 3)).ok(),
            at,
            received_at: at,
            kind: TickKind::Trade,
            source: TickSource::Simulator,
        };
        walks.iter_mut().map(&mut draw).collect()
    }
}

/// The walk of one symbol.
struct RandomWalk {
    symbol: Symbol,
    price: Price,
    band: PriceBand,
}

impl RandomWalk {
    fn new(symbol: &Symbol, initial: Price) -> Self {
        Self { symbol: symbol.clone(), price: initial, band: PriceBand::new(initial) }
    }

    /// Moves the price by a number of basis points, or in the other direction where that would leave the band. Returns
    /// the new price.
    fn step(&mut self, basis_points: i64) -> Price {
        let next = self.price_after(basis_points).or_else(|| self.price_after(-basis_points));
        self.price = next.unwrap_or(self.price);
        self.price
    }

    fn price_after(&self, basis_points: i64) -> Option<Price> {
        let factor = Decimal::new(10_000 + basis_points, 4);
        self.band.round_within(self.price.decimal().checked_mul(factor)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(settings: &Settings, steps: usize) -> Vec<Vec<Price>> {
        let venue = Venue::parse("simulator").expect("a venue");
        let mut walks = Walks::new(settings);
        let step = |_| walks.step(&venue, Timestamp::EPOCH).iter().map(|tick| tick.price).collect();
        (0..steps).map(step).collect()
    }

    fn settings(seed: u64, symbols: &str) -> Settings {
        Settings { seed, symbols: symbols.parse().expect("initial prices"), ..Settings::default() }
    }

    #[test]
    fn equal_seeds_give_equal_walks_and_other_seeds_give_others() {
        let walk = |seed| prices(&settings(seed, "BTC-USD=68000,SPY=550"), 50);
        assert_eq!(walk(1), walk(1));
        assert_ne!(walk(1), walk(2));
    }

    #[test]
    fn a_rule_on_one_percent_fires_within_fifteen_seconds_of_the_default_walk() {
        let steps = 15 * 4;
        for seed in 0..1_000 {
            let walk = prices(&Settings { seed, ..Settings::default() }, steps);
            let btc: Vec<Price> = walk.iter().map(|step| step[0]).collect();
            let fires = |price: &&Price| events::money::change_percent(**price, btc[0]).abs() >= Decimal::ONE;
            assert!(btc.iter().find(fires).is_some(), "seed {seed}: {btc:?}");
        }
    }

    #[test]
    fn a_walk_moves_by_no_more_than_its_volatility_and_stays_in_its_band() {
        let walk = prices(&settings(7, "DOGE-USD=0.16"), 20_000);
        let (low, high) = (Decimal::new(8, 2), Decimal::new(32, 2));
        for pair in walk.windows(2) {
            let (before, after) = (pair[0][0].decimal(), pair[1][0].decimal());
            // 1 % of the price before, and half a unit of its last place for the rounding.
            assert!((after - before).abs() <= before * Decimal::new(1, 2) + Decimal::new(5, 6), "{before} {after}");
            assert!(after >= low && after <= high);
        }
        assert!(walk.iter().any(|step| step[0].decimal() > Decimal::new(24, 2)), "the walk uses its band");
    }
}
