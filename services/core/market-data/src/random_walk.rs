//! Where walks start and how far they may go.

use std::str::FromStr;

use events::{Price, Symbol, money::PLACES};
use rust_decimal::Decimal;
use serde::Deserialize;
use thiserror::Error;

/// Where walks start: symbols and prices, one or more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct InitialPrices(Vec<(Symbol, Price)>);

/// Text that is no list of starts.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{item:?} in {text:?} must be a symbol and its first price, like BTC-USD=68000, each symbol once")]
pub struct InitialPricesError {
    item: String,
    text: String,
}

impl InitialPrices {
    /// Each symbol with where its walk starts.
    pub fn iter(&self) -> impl Iterator<Item = (&Symbol, Price)> {
        self.0.iter().map(|(symbol, price)| (symbol, *price))
    }
}

impl Default for InitialPrices {
    /// What a demo quotes.
    fn default() -> Self {
        let starts = "BTC-USD=68000.00,ETH-USD=3500.00,SOL-USD=150.00,DOGE-USD=0.16000,SPY=550.00";
        starts.parse().expect("the text above is a list of starts")
    }
}

impl FromStr for InitialPrices {
    type Err = InitialPricesError;
    fn from_str(text: &str) -> Result<Self, InitialPricesError> {
        let mut starts: Vec<(Symbol, Price)> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let error = || InitialPricesError { item: item.to_owned(), text: text.to_owned() };
            let (symbol, price) = start(item).ok_or_else(error)?;
            if starts.iter().any(|(there, _)| *there == symbol) {
                return Err(error());
            }
            starts.push((symbol, price));
        }
        Ok(Self(starts))
    }
}

fn start(item: &str) -> Option<(Symbol, Price)> {
    let (symbol, price) = item.split_once('=')?;
    Some((symbol.trim().parse().ok()?, price.trim().parse().ok()?))
}

impl TryFrom<String> for InitialPrices {
    type Error = InitialPricesError;
    fn try_from(text: String) -> Result<Self, InitialPricesError> {
        text.parse()
    }
}

/// Digits that a price has at least, so that a basis point of it is not rounded away.
const DIGITS: u32 = 5;

/// Where a walk may go: from half to twice its start, so that a demo that runs for weeks still looks like one.
#[derive(Debug, Clone)]
pub struct Band {
    start: Price,
    floor: Decimal,
    ceiling: Decimal,
    places: u32,
}

impl Band {
    /// The whole way from the start to an edge, in what [`Band::at`] counts.
    pub const EDGE: i64 = 1_000_000;

    /// Around a start.
    pub fn new(start: Price) -> Self {
        let value = start.decimal();
        let (floor, ceiling) = (value / Decimal::TWO, value * Decimal::TWO);
        Self { start, floor, ceiling, places: places(value) }
    }

    /// The walk's first price.
    pub fn start(&self) -> Price {
        self.start
    }

    /// `value` with the decimal places of the walk; `None` when it is not in the band.
    pub fn price(&self, value: Decimal) -> Option<Price> {
        let value = value.round_dp(self.places);
        if value < self.floor || value > self.ceiling { None } else { Price::new(value).ok() }
    }

    /// The price so many millionths of the way from the start to twice the start, or, below zero, to its half. What
    /// lies beyond is the edge; a start too small to be halved stays where it is.
    pub fn at(&self, millionths: i64) -> Price {
        let edge = if millionths < 0 { self.floor } else { self.ceiling };
        let way = Decimal::new(millionths.abs().min(Self::EDGE), 6);
        let start = self.start.decimal();
        (edge - start).checked_mul(way).and_then(|moved| self.price(start + moved)).unwrap_or(self.start)
    }
}

/// The decimal places of a walk: those of its start, or as many as give it [`DIGITS`] digits.
fn places(start: Decimal) -> u32 {
    let (mantissa, scale) = (start.mantissa().unsigned_abs(), start.scale());
    let digits = mantissa.checked_ilog10().map_or(1, |log| log + 1);
    (scale + DIGITS.saturating_sub(digits)).min(PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().expect("a price")
    }

    #[test]
    fn a_small_price_has_enough_places_to_move() {
        let places = |text: &str| places(price(text).decimal());
        let of = ["68000", "68000.00", "0.16", "1", "0.00001234", "0.000000000001"].map(places);
        assert_eq!(of, [0, 2, 5, 4, 9, 12]);
    }

    #[test]
    fn a_band_is_from_half_to_twice_the_start() {
        let band = Band::new(price("0.16"));
        let at = [-2_000_000, -Band::EDGE, -500_000, 0, 1, 500_000, Band::EDGE, 2_000_000].map(|way| band.at(way));
        let expected = ["0.08", "0.08", "0.12", "0.16", "0.16", "0.24", "0.32", "0.32"].map(price);
        assert_eq!(at, expected);
        assert_eq!(band.price(Decimal::new(79_999, 6)).map(|price| price.to_string()).as_deref(), Some("0.08000"));
        for outside in [Decimal::new(7_999, 5), Decimal::new(32_001, 5)] {
            assert_eq!(band.price(outside), None);
        }
    }

    #[test]
    fn the_smallest_and_the_largest_start_have_prices_in_their_bands() {
        let smallest = Band::new(price("0.000000000001"));
        assert_eq!([-Band::EDGE, 0, Band::EDGE].map(|way| smallest.at(way).units()), [1, 1, 2]);
        let largest = Band::new(price("99999999999999.999999999999"));
        let [half, same, more] = [-Band::EDGE, 0, Band::EDGE].map(|way| largest.at(way));
        assert_eq!((same, more), (largest.start(), largest.start()), "twice as much is no price");
        assert!(half < same);
    }

    #[test]
    fn starts_are_symbols_with_prices_each_once() {
        assert_eq!("BTC-USD=1, SPY=2.50".parse::<InitialPrices>().map(|starts| starts.iter().count()), Ok(2));
        for bad in ["", "BTC-USD", "BTC-USD=0", "btc=1", "SPY=1,", "SPY=1,SPY=2"] {
            assert!(bad.parse::<InitialPrices>().is_err(), "{bad}");
        }
    }
}
