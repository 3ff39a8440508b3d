//! A seeded random walk, so that a demo has prices that move and rules that ring.

use std::time::Duration;

use events::{
    Price, Size, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use market_data::{Band, InitialPrices};
use platform::{
    ServiceError, Shutdown, clock,
    settings::{SettingsError, duration, require_range},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rust_decimal::Decimal;
use serde::Deserialize;
use tokio::time::MissedTickBehavior;

use crate::{
    Rounds,
    publisher::{Publisher, message},
};

/// What the simulator quotes.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The same seed gives the same walk.
    pub seed: u64,
    /// What is quoted and where each walk starts: `BTC-USD=68000,ETH-USD=3500`.
    pub symbols: InitialPrices,
    /// How long until each symbol has its next price, like `250ms`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// The most that a price moves in one step, in basis points.
    pub volatility_bp: u32,
}

impl Default for Settings {
    /// Steps of up to 1 %, four a second: a rule on 1 % rings within 15 seconds but for a few runs in a million.
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

/// Publishes one step of every walk per interval.
pub(crate) async fn run(
    publisher: &mut Publisher,
    settings: &Settings,
    rounds: Rounds,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut walks = Walks::new(settings);
    let mut timer = tokio::time::interval(settings.interval);
    // After the broker was away, prices go on from now; nobody wants the missed ones at once.
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        // The time makes the id, so that a restart with the same seed repeats prices and not ids.
        let ticks = walks.step(publisher.venue(), clock::now());
        let messages: Vec<_> = ticks.iter().map(|tick| message(tick, &tick.derived_trade_id())).collect();
        publisher.publish(&messages).await?;
        if rounds == Rounds::One {
            return Ok(());
        }
    }
}

/// The walks of all symbols, drawn from one seed.
struct Walks {
    rng: StdRng,
    volatility_bp: i64,
    walks: Vec<Walk>,
}

impl Walks {
    fn new(settings: &Settings) -> Self {
        let walks = settings.symbols.iter().map(|(symbol, start)| Walk::new(symbol, start)).collect();
        let volatility_bp = settings.volatility_bp.into();
        Self { rng: StdRng::seed_from_u64(settings.seed), volatility_bp, walks }
    }

    /// The next price of every symbol.
    fn step(&mut self, venue: &Venue, at: Timestamp) -> Vec<Tick> {
        let Self { rng, volatility_bp, walks } = self;
        let most = *volatility_bp;
        let mut draw = |walk: &mut Walk| Tick {
            venue: venue.clone(),
            symbol: walk.symbol.clone(),
            price: walk.step(rng.random_range(-most..=most)),
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
struct Walk {
    symbol: Symbol,
    price: Price,
    band: Band,
}

impl Walk {
    fn new(symbol: &Symbol, start: Price) -> Self {
        Self { symbol: symbol.clone(), price: start, band: Band::new(start) }
    }

    /// Moves by so many basis points, or the other way where that would leave the band.
    fn step(&mut self, basis_points: i64) -> Price {
        let moved = self.moved(basis_points).or_else(|| self.moved(-basis_points));
        self.price = moved.unwrap_or(self.price);
        self.price
    }

    fn moved(&self, basis_points: i64) -> Option<Price> {
        let factor = Decimal::new(10_000 + basis_points, 4);
        self.band.price(self.price.decimal().checked_mul(factor)?)
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
        Settings { seed, symbols: symbols.parse().expect("starts"), ..Settings::default() }
    }

    #[test]
    fn the_same_seed_gives_the_same_walk_and_another_gives_another() {
        let walk = |seed| prices(&settings(seed, "BTC-USD=68000,SPY=550"), 50);
        assert_eq!(walk(1), walk(1));
        assert_ne!(walk(1), walk(2));
    }

    #[test]
    fn a_rule_on_one_percent_rings_within_fifteen_seconds_of_the_default_walk() {
        let steps = 15 * 4;
        for seed in 0..1_000 {
            let walk = prices(&Settings { seed, ..Settings::default() }, steps);
            let btc: Vec<Price> = walk.iter().map(|step| step[0]).collect();
            let far = |price: &&Price| events::money::change_percent(**price, btc[0]).abs() >= Decimal::ONE;
            assert!(btc.iter().find(far).is_some(), "seed {seed}: {btc:?}");
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
        assert!(walk.iter().any(|step| step[0].decimal() > Decimal::new(24, 2)), "it uses the band");
    }
}
