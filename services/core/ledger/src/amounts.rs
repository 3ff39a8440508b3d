//! Exact arithmetic of money: a product of size, price and rates is rounded once, to the decimal places of its asset.
//!
//! Everything is rounded against the customer: what a buyer pays and every fee up, what a seller gets down. A cost that is
//! rounded up is subadditive, so an order that is cut into pieces never costs less, or brings more, than the whole.

use events::{
    Price, Side, asset,
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
    /// The size times the price: rounded up for a buyer, who pays it, and down for a seller, who gets it.
    pub quote: MinorUnits,
    /// The fee of the value as it was before rounding, rounded up. It is above zero unless its rate is zero.
    pub fee: MinorUnits,
}

impl Notional {
    /// Returns the amount that a buyer pays.
    pub fn total(self) -> MinorUnits {
        self.quote + self.fee
    }

    /// Returns true when the trade would leave its customer nothing: the value, or what a seller keeps of it after the fee,
    /// rounds to zero.
    pub fn is_nothing(self, side: Side) -> bool {
        match side {
            Side::Buy => self.quote == 0,
            Side::Sell => self.quote <= self.fee,
        }
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
    /// Returns size × price and its fee of `fee_bp` basis points, each rounded once against the customer; none when the value
    /// with its fee exceeds the limit.
    pub fn notional(self, side: Side, size: MinorUnits, price: Price, fee_bp: u32) -> Option<Notional> {
        let product = U256::from(size.unsigned_abs())
            .checked_mul(U256::from(price.units().unsigned_abs()))?
            .checked_mul(power(self.quote))?;
        let denominator = power(self.base + PLACES);
        let fee = product.checked_mul(U256::from(fee_bp))?;
        let notional = Notional {
            quote: minor_units(against_customer(side, product, denominator))?,
            fee: minor_units(fee.div_ceil(denominator.checked_mul(U256::from(BASIS))?))?,
        };
        let total = notional.quote.checked_add(notional.fee)?;
        (U256::from(total.unsigned_abs()) < power(self.quote) * U256::from(LIMIT)).then_some(notional)
    }

    /// Returns the largest size whose cost with its fee fits into `funds`, so that funds in pieces never buy more than the
    /// whole; none when the size exceeds the limit.
    pub fn affordable(self, funds: MinorUnits, price: Price, fee_bp: u32) -> Option<MinorUnits> {
        // Two roundings up add less than two minor units, so the size for two less always fits.
        let mut fits = self.size_of(funds - 2, price, fee_bp)?;
        let mut too_large = self.size_of(funds, price, fee_bp)? + 1;
        while too_large - fits > 1 {
            let size = fits + (too_large - fits) / 2;
            let fits_funds =
                self.notional(Side::Buy, size, price, fee_bp).is_some_and(|notional| notional.total() <= funds);
            *(if fits_funds { &mut fits } else { &mut too_large }) = size;
        }
        Some(fits)
    }

    /// Returns `funds` / (price × (1 + fee)), rounded down.
    fn size_of(self, funds: MinorUnits, price: Price, fee_bp: u32) -> Option<MinorUnits> {
        let numerator = U256::from(funds.max(0).unsigned_abs())
            .checked_mul(power(self.base + PLACES))?
            .checked_mul(U256::from(BASIS))?;
        let denominator = U256::from(price.units().unsigned_abs())
            .checked_mul(power(self.quote))?
            .checked_mul(U256::from(BASIS + u64::from(fee_bp)))?;
        let size = numerator.checked_div(denominator)?;
        if size >= power(self.base) * U256::from(LIMIT) { None } else { minor_units(size) }
    }
}

/// Returns price × factor, rounded against the customer to as many decimal places as a price of its size has; none when the
/// product is not a valid price. A trade's value is computed from this price, so that the price times the size gives the value
/// exactly.
pub fn scale_price(side: Side, price: Price, factor: PriceFactor) -> Option<Price> {
    let product = U256::from(price.units().unsigned_abs()).checked_mul(U256::from(factor.numerator))?;
    let denominator = U256::from(factor.denominator);
    let digits = (product / denominator).checked_log(U256::from(10)).map_or(1, |log| log as u32 + 1);
    let cut = digits.saturating_sub(MAX_DIGITS);
    let units = minor_units(against_customer(side, product, denominator * power(cut)))?;
    Price::new(to_decimal(units, PLACES.checked_sub(cut)?)?.normalize()).ok()
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

/// Divides and rounds up what a buyer pays, and down what a seller gets.
fn against_customer(side: Side, numerator: U256, denominator: U256) -> U256 {
    match side {
        Side::Buy => numerator.div_ceil(denominator),
        Side::Sell => numerator / denominator,
    }
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
    fn a_notional_is_size_times_price_rounded_once_against_the_customer() {
        for (size, at, [buy, sell], fee) in [
            (100_000_000, "6804.91", [680_491, 680_491], 681),
            (100_000_000, "0.005", [1, 0], 1),
            (100_000_000, "0.01", [1, 1], 1),
            (100_000_000, "0.010000000001", [2, 1], 1),
            (1, "6804.91", [1, 0], 1),
            (1_000_000_000, "2500.5", [2_500_500, 2_500_500], 2_501), // A fee of 25.005.
            (1_000_000_000, "2500", [2_500_000, 2_500_000], 2_500),
            (22, "68000", [2, 1], 1),
            (8, "68000", [1, 0], 1),
        ] {
            for (side, quote) in [(Side::Buy, buy), (Side::Sell, sell)] {
                let notional = BTC_USD.notional(side, size, price(at), 10).expect("within the limit");
                assert_eq!((notional.quote, notional.fee), (quote, fee), "{side:?} {size} at {at}");
                assert_eq!(BTC_USD.notional(side, size, price(at), 0).expect("within the limit").fee, 0);
            }
        }
    }

    #[test]
    fn a_trade_that_leaves_its_customer_nothing_is_nothing() {
        for (size, is_nothing) in [(8, [false, true]), (15, [false, true]), (44, [false, false])] {
            for (side, expected) in [Side::Buy, Side::Sell].into_iter().zip(is_nothing) {
                let notional = BTC_USD.notional(side, size, price("68000"), 10).expect("within the limit");
                assert_eq!(notional.is_nothing(side), expected, "{side:?} {size}: {notional:?}");
            }
        }
    }

    #[test]
    fn a_market_price_includes_half_the_spread() {
        let (buying, selling) = (PriceFactor::buying(RATES), PriceFactor::selling(RATES));
        assert_eq!(scale_price(Side::Buy, price("6800"), buying), Some(price("6803.4")));
        assert_eq!(scale_price(Side::Sell, price("6800"), selling), Some(price("6796.6")));
        assert_eq!(scale_price(Side::Buy, price("6800"), PriceFactor::with_slippage(RATES)), Some(price("6868")));
        let smallest = Price::new(Decimal::new(1, PLACES)).expect("a price");
        assert_eq!(scale_price(Side::Buy, smallest, buying), Price::new(Decimal::new(2, PLACES)).ok());
        assert_eq!(scale_price(Side::Sell, smallest, selling), None);
        assert_eq!(scale_price(Side::Buy, price("99999999999999"), buying), None);
    }

    #[test]
    fn a_notional_beyond_the_limit_is_none() {
        let largest = 10_i128.pow(22);
        assert_eq!(BTC_USD.notional(Side::Buy, largest, price("99999999999999"), 10), None);
        // The value is below the limit, and with its fee it is not.
        assert_eq!(BTC_USD.notional(Side::Buy, 10_i128.pow(8), price("99999999999999"), 10), None);
        let smallest = Price::new(Decimal::new(1, PLACES)).expect("a price");
        assert_eq!(BTC_USD.affordable(10_i128.pow(16) - 1, smallest, 10), None);
    }

    #[test]
    fn an_amount_with_more_places_than_its_asset_is_refused() {
        let decimal = |text: &str| text.parse::<Decimal>().expect("a decimal");
        assert_eq!(to_minor_units(decimal("1.5"), 2), Some(150));
        assert_eq!(to_minor_units(decimal("1.5000"), 2), Some(150));
        assert_eq!(to_minor_units(decimal("1.505"), 2), None);
    }

    fn at(units: i128) -> Price {
        Price::new(to_decimal(units, PLACES).expect("fits")).expect("a price")
    }

    proptest! {
        #[test]
        fn an_affordable_size_fits_and_the_next_larger_one_does_not(
            funds in 1_i128..10_i128.pow(12), units in 1_i128..10_i128.pow(18), fee_bp in 0_u32..500,
        ) {
            if let Some(size) = BTC_USD.affordable(funds, at(units), fee_bp) {
                let total = |size| BTC_USD.notional(Side::Buy, size, at(units), fee_bp).map(Notional::total);
                prop_assert!(total(size).is_some_and(|total| total <= funds), "{:?}", total(size));
                prop_assert!(total(size + 1).is_none_or(|total| total > funds), "{:?}", total(size + 1));
            }
        }

        #[test]
        fn a_worse_price_never_costs_less(size in 1_i128..10_i128.pow(15), units in 1_i128..10_i128.pow(18)) {
            let notional =
                |units| BTC_USD.notional(Side::Buy, size, at(units), RATES.fee_bp).expect("within the limit");
            let (better, worse) = (notional(units), notional(units + 1));
            prop_assert!(better.quote <= worse.quote && better.fee <= worse.fee);
        }
    }
}
