//! What every random walk of this project has in common: the initial prices and the band that a price stays in.
//!
//! The steps themselves belong to the sources: the simulator of `price-ingestor` draws them one by one, and the sandbox
//! `coinnews` computes them from the time.

use std::str::FromStr;

use events::{Price, Symbol, money::PLACES};
use rust_decimal::Decimal;
use serde::Deserialize;
use thiserror::Error;

/// The symbols to quote, one or more, and the price at which the walk of each starts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct InitialPrices(Vec<(Symbol, Price)>);

/// The error for a text that is not a list of initial prices.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{item:?} in {text:?} must be a symbol and its first price, like BTC-USD=68000, each symbol once")]
pub struct InitialPricesError {
    item: String,
    text: String,
}

impl InitialPrices {
    /// Returns each symbol with its initial price, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&Symbol, Price)> {
        self.0.iter().map(|(symbol, price)| (symbol, *price))
    }
}

impl Default for InitialPrices {
    /// Returns four coins and a fund, so that a demo quotes small and large prices.
    fn default() -> Self {
        let text = "BTC-USD=68000.00,ETH-USD=3500.00,SOL-USD=150.00,DOGE-USD=0.16000,SPY=550.00";
        text.parse().expect("the text above is a list of initial prices")
    }
}

impl FromStr for InitialPrices {
    type Err = InitialPricesError;
    fn from_str(text: &str) -> Result<Self, InitialPricesError> {
        let mut prices: Vec<(Symbol, Price)> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let error = || InitialPricesError { item: item.to_owned(), text: text.to_owned() };
            let (symbol, price) = parse_item(item).ok_or_else(error)?;
            if prices.iter().any(|(other, _)| *other == symbol) {
                return Err(error());
            }
            prices.push((symbol, price));
        }
        Ok(Self(prices))
    }
}

fn parse_item(item: &str) -> Option<(Symbol, Price)> {
    let (symbol, price) = item.split_once('=')?;
    Some((symbol.trim().parse().ok()?, price.trim().parse().ok()?))
}

impl TryFrom<String> for InitialPrices {
    type Error = InitialPricesError;
    fn try_from(text: String) -> Result<Self, InitialPricesError> {
        text.parse()
    }
}

/// The fewest significant digits of a price, so that a step of one basis point is not rounded away.
const MIN_DIGITS: u32 = 5;

/// The range of a walk: from half to twice its initial price, so that the prices of a demo stay plausible for weeks.
#[derive(Debug, Clone)]
pub struct PriceBand {
    initial: Price,
    floor: Decimal,
    ceiling: Decimal,
    places: u32,
}

impl PriceBand {
    /// The distance from the initial price to an edge of the band, in millionths of that distance.
    pub const MAX_OFFSET: i64 = 1_000_000;

    /// Returns the band around an initial price.
    pub fn new(initial: Price) -> Self {
        let value = initial.decimal();
        let (floor, ceiling) = (value / Decimal::TWO, value * Decimal::TWO);
        Self { initial, floor, ceiling, places: decimal_places(value) }
    }

    /// Returns the price in the middle of the band, at which the walk starts.
    pub fn initial_price(&self) -> Price {
        self.initial
    }

    /// Rounds `value` to the decimal places of the walk; returns `None` when the result lies outside the band.
    pub fn round_within(&self, value: Decimal) -> Option<Price> {
        let value = value.round_dp(self.places);
        if value < self.floor || value > self.ceiling { None } else { Price::new(value).ok() }
    }

    /// Returns the price at an offset from the initial price, in millionths of the distance to the upper edge, or, when
    /// it is negative, to the lower edge. A larger offset gives the edge. An initial price too small to be halved, or
    /// too large to be doubled, is returned as it is.
    pub fn price_at(&self, offset: i64) -> Price {
        let edge = if offset < 0 { self.floor } else { self.ceiling };
        let share = Decimal::new(offset.abs().min(Self::MAX_OFFSET), 6);
        let initial = self.initial.decimal();
        (edge - initial)
            .checked_mul(share)
            .and_then(|change| self.round_within(initial + change))
            .unwrap_or(self.initial)
    }
}

/// Returns the decimal places of a walk: those of its initial price, or as many as give it [`MIN_DIGITS`] digits.
fn decimal_places(initial: Decimal) -> u32 {
    let (mantissa, scale) = (initial.mantissa().unsigned_abs(), initial.scale());
    let digits = mantissa.checked_ilog10().map_or(1, |log| log + 1);
    (scale + MIN_DIGITS.saturating_sub(digits)).min(PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().expect("a price")
    }

    #[test]
    fn a_small_price_has_enough_places_to_move() {
        let places = |text: &str| decimal_places(price(text).decimal());
        let found =
            ["68000", "68000.00", "0.16", "1", "0.00001234", "0.000000000001", "0.000000000000000001"].map(places);
        assert_eq!(found, [0, 2, 5, 4, 9, 16, 18]);
    }

    #[test]
    fn a_band_reaches_from_half_to_twice_the_initial_price() {
        let band = PriceBand::new(price("0.16"));
        let max = PriceBand::MAX_OFFSET;
        let prices = [-2_000_000, -max, -500_000, 0, 1, 500_000, max, 2_000_000].map(|offset| band.price_at(offset));
        let expected = ["0.08", "0.08", "0.12", "0.16", "0.16", "0.24", "0.32", "0.32"].map(price);
        assert_eq!(prices, expected);
        assert_eq!(
            band.round_within(Decimal::new(79_999, 6)).map(|price| price.to_string()).as_deref(),
            Some("0.08000")
        );
        for outside in [Decimal::new(7_999, 5), Decimal::new(32_001, 5)] {
            assert_eq!(band.round_within(outside), None);
        }
    }

    #[test]
    fn the_smallest_and_the_largest_initial_price_have_prices_in_their_bands() {
        let offsets = [-PriceBand::MAX_OFFSET, 0, PriceBand::MAX_OFFSET];
        let smallest = PriceBand::new(price("0.000000000000000001"));
        assert_eq!(offsets.map(|offset| smallest.price_at(offset).units()), [1, 1, 2]);
        let largest = PriceBand::new(price("99999999999999.99999999999999"));
        let [lowest, middle, highest] = offsets.map(|offset| largest.price_at(offset));
        let initial = largest.initial_price();
        assert_eq!((middle, highest), (initial, initial), "twice as much is too large for a price");
        assert!(lowest < middle);
    }

    #[test]
    fn initial_prices_are_symbols_with_prices_each_once() {
        assert_eq!("BTC-USD=1, SPY=2.50".parse::<InitialPrices>().map(|prices| prices.iter().count()), Ok(2));
        for bad in ["", "BTC-USD", "BTC-USD=0", "btc=1", "SPY=1,", "SPY=1,SPY=2"] {
            assert!(bad.parse::<InitialPrices>().is_err(), "{bad}");
        }
    }
}
