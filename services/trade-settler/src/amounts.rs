//! Exact arithmetic of money: a product of size, price and rates is rounded once, to the places of its asset.

use events::{Price, asset, money::PLACES};
use ruint::aliases::U256;
use rust_decimal::Decimal;

/// What is traded and what it is worth are below this many whole units of their asset, like every amount that comes in.
const LIMIT: u128 = events::money::LIMIT as u128;
/// A balance is nearer to zero than this many whole units: with the most places that an asset can have, 28 digits.
const MOST: Minor = 10_i128.pow(16);
/// One whole in basis points.
const BASIS: u64 = 10_000;

/// An amount of an asset in its smallest units: cents of USD, satoshi of BTC.
pub type Minor = i128;

/// How many decimal places amounts of an asset have.
pub type Scale = u32;

/// What is taken for a trade, in basis points (hundredths of a percent).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of what a trade is worth.
    pub fee_bp: u32,
    /// Between buying and selling; half of it is added to the price of a market buy and taken from that of a market sell.
    pub spread_bp: u32,
    /// How much further than the latest price a market order is held for.
    pub slippage_bp: u32,
}

/// A factor as a fraction of whole numbers, for a price or a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    over: u64,
    under: u64,
}

impl Factor {
    /// One.
    pub const ONE: Self = Self { over: 1, under: 1 };

    /// A market buy's price by the latest one.
    pub fn buying(rates: Rates) -> Self {
        Self { over: 2 * BASIS + u64::from(rates.spread_bp), under: 2 * BASIS }
    }

    /// A market sell's price by the latest one.
    pub fn selling(rates: Rates) -> Self {
        Self { over: 2 * BASIS - u64::from(rates.spread_bp), under: 2 * BASIS }
    }

    /// The price that a market buy is held for, by the latest one.
    pub fn slipping(rates: Rates) -> Self {
        Self { over: BASIS + u64::from(rates.slippage_bp), under: BASIS }
    }
}

/// What a trade is worth in the quote asset, and the fee for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worth {
    /// Size × price.
    pub quote: Minor,
    /// Of that, before it was rounded.
    pub fee: Minor,
}

impl Worth {
    /// What a buyer needs.
    pub fn total(self) -> Minor {
        self.quote + self.fee
    }
}

/// One pair of assets, and how exact they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scales {
    /// Of what is traded.
    pub base: Scale,
    /// Of what it is paid with.
    pub quote: Scale,
}

impl Scales {
    /// Size × price × factor and the fee of it, each rounded half-even once; none when it is more than is counted here.
    pub fn worth(self, size: Minor, price: Price, factor: Factor, rates: Rates) -> Option<Worth> {
        let product = U256::from(size.unsigned_abs())
            .checked_mul(U256::from(price.units().unsigned_abs()))?
            .checked_mul(U256::from(factor.over))?
            .checked_mul(power(self.quote))?;
        let under = power(self.base + PLACES) * U256::from(factor.under);
        let fee = product.checked_mul(U256::from(rates.fee_bp))?;
        let quote = half_even(product, under);
        if quote >= power(self.quote) * U256::from(LIMIT) {
            return None;
        }
        Some(Worth { quote: minor(quote)?, fee: minor(half_even(fee, under * U256::from(BASIS)))? })
    }

    /// The largest size whose worth and fee fit into `funds`; none when that is more than is counted here.
    pub fn affordable(self, funds: Minor, price: Price, factor: Factor, rates: Rates) -> Option<Minor> {
        let size = self.size_of(funds, price, factor, rates)?;
        if self.worth(size, price, factor, rates)?.total() <= funds {
            return Some(size);
        }
        // Two roundings up add at most one smallest unit, so a size that is worth one less surely fits.
        self.size_of(funds - 1, price, factor, rates)
    }

    /// `funds` / (price × factor × (1 + fee)), rounded down.
    fn size_of(self, funds: Minor, price: Price, factor: Factor, rates: Rates) -> Option<Minor> {
        let over = U256::from(funds.max(0).unsigned_abs())
            .checked_mul(power(self.base + PLACES))?
            .checked_mul(U256::from(factor.under))?
            .checked_mul(U256::from(BASIS))?;
        let under = U256::from(price.units().unsigned_abs())
            * U256::from(factor.over)
            * power(self.quote)
            * U256::from(BASIS + u64::from(rates.fee_bp));
        let size = over / under;
        if size >= power(self.base) * U256::from(LIMIT) { None } else { minor(size) }
    }
}

/// Price × factor to 12 places, rounded half-even; none when that is no price.
pub fn scaled(price: Price, factor: Factor) -> Option<Price> {
    let units = U256::from(price.units().unsigned_abs()) * U256::from(factor.over);
    Price::new(decimal(minor(half_even(units, U256::from(factor.under)))?, PLACES)?.normalize()).ok()
}

/// An amount in smallest units; none when it has more places than the asset.
pub fn of_amount(amount: Decimal, scale: Scale) -> Option<Minor> {
    let plain = amount.normalize();
    asset::is_within(plain, scale).then(|| plain.mantissa() * 10_i128.pow(scale - plain.scale()))
}

/// Whether a balance can be kept: read again it must be the same decimal, and PostgreSQL has the same bound.
pub fn is_countable(balance: Minor, scale: Scale) -> bool {
    balance.abs() < MOST * 10_i128.pow(scale)
}

/// Smallest units as an amount with the places of its asset.
pub fn decimal(amount: Minor, scale: Scale) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(amount, scale).ok()
}

fn power(exponent: u32) -> U256 {
    U256::from(10).pow(U256::from(exponent))
}

fn half_even(over: U256, under: U256) -> U256 {
    let (quotient, rest) = over.div_rem(under);
    let up = match (rest * U256::from(2)).cmp(&under) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient.bit(0),
    };
    if up { quotient + U256::from(1) } else { quotient }
}

fn minor(value: U256) -> Option<Minor> {
    Minor::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATES: Rates = Rates { fee_bp: 10, spread_bp: 10, slippage_bp: 100 };
    const BTC_USD: Scales = Scales { base: 8, quote: 2 };

    fn price(text: &str) -> Price {
        text.parse().expect("a price")
    }

    #[test]
    fn a_trade_is_worth_its_size_times_its_price_rounded_once_half_to_even() {
        for (size, at, quote, fee) in [
            (100_000_000, "6804.91", 680_491, 680),
            (100_000_000, "0.005", 0, 0),
            (100_000_000, "0.015", 2, 0),
            (100_000_000, "0.025", 2, 0),
            (1, "6804.91", 0, 0),
            (1_000_000_000, "2500.5", 2_500_500, 2_500), // A fee of 25.005 is 25.00, the even one.
            (3_000_000_000, "2500.5", 7_501_500, 7_502),
        ] {
            let worth = BTC_USD.worth(size, price(at), Factor::ONE, RATES).expect("countable");
            assert_eq!((worth.quote, worth.fee), (quote, fee), "{size} at {at}");
        }
    }

    #[test]
    fn a_market_price_has_half_the_spread() {
        assert_eq!(scaled(price("6800"), Factor::buying(RATES)), Some(price("6803.4")));
        assert_eq!(scaled(price("6800"), Factor::selling(RATES)), Some(price("6796.6")));
        assert_eq!(scaled(price("6800"), Factor::slipping(RATES)), Some(price("6868")));
        assert_eq!(scaled(price("0.000000000001"), Factor::buying(RATES)), Some(price("0.000000000001")));
    }

    #[test]
    fn what_is_beyond_counting_is_no_worth() {
        let largest = 10_i128.pow(22);
        assert_eq!(BTC_USD.worth(largest, price("99999999999999"), Factor::ONE, RATES), None);
        assert_eq!(BTC_USD.affordable(10_i128.pow(16) - 1, price("0.000000000001"), Factor::ONE, RATES), None);
    }

    #[test]
    fn more_places_than_the_asset_has_are_no_amount_of_it() {
        let decimal = |text: &str| text.parse::<Decimal>().expect("a decimal");
        assert_eq!(of_amount(decimal("1.5"), 2), Some(150));
        assert_eq!(of_amount(decimal("1.5000"), 2), Some(150));
        assert_eq!(of_amount(decimal("1.505"), 2), None);
    }

    proptest! {
        #[test]
        fn what_is_affordable_fits_and_no_smallest_unit_more_would_be_worth_having(
            funds in 1_i128..10_i128.pow(12), units in 1_i128..10_i128.pow(18), fee_bp in 0_u32..500,
        ) {
            let rates = Rates { fee_bp, ..RATES };
            let price = Price::new(decimal(units, PLACES).expect("fits")).expect("a price");
            let factor = Factor::buying(rates);
            if let Some(size) = BTC_USD.affordable(funds, price, factor, rates) {
                let total = BTC_USD.worth(size, price, factor, rates).expect("countable").total();
                prop_assert!(total <= funds);
                // Beyond two smallest units of the quote nothing is left unspent that could have bought more.
                let more = BTC_USD.worth(size + 1, price, factor, rates).expect("countable").total();
                prop_assert!(more + 2 > funds, "{size} for {total} of {funds}, one more for {more}");
            }
        }

        #[test]
        fn a_worse_price_never_costs_less(size in 1_i128..10_i128.pow(15), units in 1_i128..10_i128.pow(18)) {
            let at = |units| Price::new(decimal(units, PLACES).expect("fits")).expect("a price");
            let worth = |units| BTC_USD.worth(size, at(units), Factor::ONE, RATES).expect("countable");
            let (better, worse) = (worth(units), worth(units + 1));
            prop_assert!(better.quote <= worse.quote && better.fee <= worse.fee);
        }
    }
}
