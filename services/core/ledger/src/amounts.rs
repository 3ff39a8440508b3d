//! Exact arithmetic of money: a product of size, price and rates is rounded once, to the decimal places of its asset.

use events::{
    Price, asset,
    money::{MAX_DIGITS, PLACES},
};
use ruint::aliases::U256;
use rust_decimal::Decimal;

/// The size and the notional of a trade are below this many whole units of their asset, like every amount that comes in.
const LIMIT: u128 = events::money::LIMIT as u128;
/// A balance is nearer to zero than this many whole units. With the most decimal places of an asset that makes 28 digits,
/// as many as a `Decimal` holds.
const BALANCE_LIMIT: MinorUnits = 10_i128.pow(16);
/// One whole in basis points.
const BASIS: u64 = 10_000;

/// An amount of an asset in its minor units: cents of USD, satoshi of BTC.
pub type MinorUnits = i128;

/// The number of decimal places that amounts of an asset have.
pub type Scale = u32;

/// The rates that trades are charged, in basis points (hundredths of a percent).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// The fee, of the notional.
    pub fee_bp: u32,
    /// The spread between buying and selling. Half of it is added to the price of a market buy, and half is subtracted from
    /// the price of a market sell.
    pub spread_bp: u32,
    /// The slippage beyond the latest price that the hold of a market order covers.
    pub slippage_bp: u32,
}

/// A factor of a price, as a fraction of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceFactor {
    numerator: u64,
    denominator: u64,
}

impl PriceFactor {
    /// The factor that leaves a price as it is.
    pub const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// Returns the factor from the latest price to that of a market buy.
    pub fn buying(rates: Rates) -> Self {
        Self { numerator: 2 * BASIS + u64::from(rates.spread_bp), denominator: 2 * BASIS }
    }

    /// Returns the factor from the latest price to that of a market sell.
    pub fn selling(rates: Rates) -> Self {
        Self { numerator: 2 * BASIS - u64::from(rates.spread_bp), denominator: 2 * BASIS }
    }

    /// Returns the factor from the latest price to the one that the hold of a market order covers.
    pub fn with_slippage(rates: Rates) -> Self {
        Self { numerator: BASIS + u64::from(rates.slippage_bp), denominator: BASIS }
    }
}

/// The value of a trade in the quote asset, and its fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notional {
    /// The size times the price.
    pub quote: MinorUnits,
    /// The fee of the value as it was before rounding.
    pub fee: MinorUnits,
}

impl Notional {
    /// Returns the amount that a buyer pays.
    pub fn total(self) -> MinorUnits {
        self.quote + self.fee
    }
}

/// The scales of the two assets of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scales {
    /// The scale of the asset that is traded.
    pub base: Scale,
    /// The scale of the asset that pays.
    pub quote: Scale,
}

impl Scales {
    /// Returns size × price × factor and its fee, each rounded half to even once; none when the value exceeds the limit.
    pub fn notional(self, size: MinorUnits, price: Price, factor: PriceFactor, rates: Rates) -> Option<Notional> {
        let product = U256::from(size.unsigned_abs())
            .checked_mul(U256::from(price.units().unsigned_abs()))?
            .checked_mul(U256::from(factor.numerator))?
            .checked_mul(power(self.quote))?;
        let denominator = power(self.base + PLACES) * U256::from(factor.denominator);
        let fee = product.checked_mul(U256::from(rates.fee_bp))?;
        let quote = half_even(product, denominator);
        if quote >= power(self.quote) * U256::from(LIMIT) {
            return None;
        }
        Some(Notional {
            quote: minor_units(quote)?,
            fee: minor_units(half_even(fee, denominator * U256::from(BASIS)))?,
        })
    }

    /// Returns the largest size whose notional and fee fit into `funds`; none when the size exceeds the limit.
    pub fn affordable(self, funds: MinorUnits, price: Price, factor: PriceFactor, rates: Rates) -> Option<MinorUnits> {
        let size = self.size_of(funds, price, factor, rates)?;
        if self.notional(size, price, factor, rates)?.total() <= funds {
            return Some(size);
        }
        // Two roundings up add at most one minor unit, so the size for one minor unit less always fits.
        self.size_of(funds - 1, price, factor, rates)
    }

    /// Returns `funds` / (price × factor × (1 + fee)), rounded down.
    fn size_of(self, funds: MinorUnits, price: Price, factor: PriceFactor, rates: Rates) -> Option<MinorUnits> {
        let numerator = U256::from(funds.max(0).unsigned_abs())
            .checked_mul(power(self.base + PLACES))?
            .checked_mul(U256::from(factor.denominator))?
            .checked_mul(U256::from(BASIS))?;
        let denominator = U256::from(price.units().unsigned_abs())
            * U256::from(factor.numerator)
            * power(self.quote)
            * U256::from(BASIS + u64::from(rates.fee_bp));
        let size = numerator / denominator;
        if size >= power(self.base) * U256::from(LIMIT) { None } else { minor_units(size) }
    }
}

/// Returns price × factor, rounded half to even to as many decimal places as a price of its size has; none when the product is
/// not a valid price.
pub fn scale_price(price: Price, factor: PriceFactor) -> Option<Price> {
    let product = U256::from(price.units().unsigned_abs()) * U256::from(factor.numerator);
    let denominator = U256::from(factor.denominator);
    let digits = (product / denominator).checked_log(U256::from(10)).map_or(1, |log| log as u32 + 1);
    let cut = digits.saturating_sub(MAX_DIGITS);
    let units = minor_units(half_even(product, denominator * power(cut)))?;
    Price::new(to_decimal(units, PLACES - cut)?.normalize()).ok()
}

/// Converts an amount to minor units; none when it has more decimal places than the asset.
pub fn to_minor_units(amount: Decimal, scale: Scale) -> Option<MinorUnits> {
    let plain = amount.normalize();
    asset::is_within(plain, scale).then(|| plain.mantissa() * 10_i128.pow(scale - plain.scale()))
}

/// Returns true when a balance can be saved: read again it must be the same decimal, and PostgreSQL has the same bound.
pub fn is_within_bounds(balance: MinorUnits, scale: Scale) -> bool {
    balance.abs() < BALANCE_LIMIT * 10_i128.pow(scale)
}

/// Converts minor units to an amount with the decimal places of its asset; none when it has too many digits.
pub fn to_decimal(amount: MinorUnits, scale: Scale) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(amount, scale).ok()
}

fn power(exponent: u32) -> U256 {
    U256::from(10).pow(U256::from(exponent))
}

fn half_even(numerator: U256, denominator: U256) -> U256 {
    let (quotient, rest) = numerator.div_rem(denominator);
    let up = match (rest * U256::from(2)).cmp(&denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => quotient.bit(0),
    };
    if up { quotient + U256::from(1) } else { quotient }
}

fn minor_units(value: U256) -> Option<MinorUnits> {
    MinorUnits::try_from(value).ok()
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
    fn a_notional_is_size_times_price_rounded_once_half_to_even() {
        for (size, at, quote, fee) in [
            (100_000_000, "6804.91", 680_491, 680),
            (100_000_000, "0.005", 0, 0),
            (100_000_000, "0.015", 2, 0),
            (100_000_000, "0.025", 2, 0),
            (1, "6804.91", 0, 0),
            (1_000_000_000, "2500.5", 2_500_500, 2_500), // A fee of 25.005 is 25.00, the even one.
            (3_000_000_000, "2500.5", 7_501_500, 7_502),
        ] {
            let notional = BTC_USD.notional(size, price(at), PriceFactor::ONE, RATES).expect("within the limit");
            assert_eq!((notional.quote, notional.fee), (quote, fee), "{size} at {at}");
        }
    }

    #[test]
    fn a_market_price_includes_half_the_spread() {
        assert_eq!(scale_price(price("6800"), PriceFactor::buying(RATES)), Some(price("6803.4")));
        assert_eq!(scale_price(price("6800"), PriceFactor::selling(RATES)), Some(price("6796.6")));
        assert_eq!(scale_price(price("6800"), PriceFactor::with_slippage(RATES)), Some(price("6868")));
        let smallest = price("0.000000000000000001");
        assert_eq!(scale_price(smallest, PriceFactor::buying(RATES)), Some(smallest));
        // 28 digits are as many as a price has, so that a large one has fewer places.
        let scaled = scale_price(price("99999999999.123456789"), PriceFactor::buying(RATES));
        assert_eq!(scaled, Some(price("100049999999.1230185173945")));
    }

    #[test]
    fn a_notional_beyond_the_limit_is_none() {
        let largest = 10_i128.pow(22);
        assert_eq!(BTC_USD.notional(largest, price("99999999999999"), PriceFactor::ONE, RATES), None);
        assert_eq!(BTC_USD.affordable(10_i128.pow(16) - 1, price("0.000000000001"), PriceFactor::ONE, RATES), None);
    }

    #[test]
    fn an_amount_with_more_places_than_its_asset_is_refused() {
        let decimal = |text: &str| text.parse::<Decimal>().expect("a decimal");
        assert_eq!(to_minor_units(decimal("1.5"), 2), Some(150));
        assert_eq!(to_minor_units(decimal("1.5000"), 2), Some(150));
        assert_eq!(to_minor_units(decimal("1.505"), 2), None);
    }

    proptest! {
        #[test]
        fn an_affordable_size_fits_and_the_next_larger_one_does_not(
            funds in 1_i128..10_i128.pow(12), units in 1_i128..10_i128.pow(18), fee_bp in 0_u32..500,
        ) {
            let rates = Rates { fee_bp, ..RATES };
            let price = Price::new(to_decimal(units, PLACES).expect("fits")).expect("a price");
            let factor = PriceFactor::buying(rates);
            if let Some(size) = BTC_USD.affordable(funds, price, factor, rates) {
                let total = BTC_USD.notional(size, price, factor, rates).expect("within the limit").total();
                prop_assert!(total <= funds);
                // At most two minor units of the quote are left unspent that could have bought more.
                let more = BTC_USD.notional(size + 1, price, factor, rates).expect("within the limit").total();
                prop_assert!(more + 2 > funds, "{size} costs {total} of {funds}, one more costs {more}");
            }
        }

        #[test]
        fn a_worse_price_never_costs_less(size in 1_i128..10_i128.pow(15), units in 1_i128..10_i128.pow(18)) {
            let at = |units| Price::new(to_decimal(units, PLACES).expect("fits")).expect("a price");
            let notional = |units| BTC_USD.notional(size, at(units), PriceFactor::ONE, RATES).expect("within the limit");
            let (better, worse) = (notional(units), notional(units + 1));
            prop_assert!(better.quote <= worse.quote && better.fee <= worse.fee);
        }
    }
}
