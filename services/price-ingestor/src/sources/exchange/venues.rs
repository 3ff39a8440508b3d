//! The venues that are known, by name.

use super::{
    adapter::Adapter, binance::Binance, bitstamp::Bitstamp, bybit::Bybit, coinbase::Coinbase,
    coinbase_advanced::CoinbaseAdvanced, kraken::Kraken, okx::Okx,
};

/// All venues that are known.
pub const VENUES: [&dyn Adapter; 8] =
    [&Coinbase, &CoinbaseAdvanced, &Binance::COM, &Binance::US, &Kraken, &Okx, &Bitstamp, &Bybit];

/// Returns the venue of a name.
pub fn venue(name: &str) -> Option<&'static dyn Adapter> {
    VENUES.into_iter().find(|adapter| adapter.profile().venue == name)
}

/// The name of a venue that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeName(&'static str);

impl ExchangeName {
    /// Returns the name, where a venue has it.
    pub fn parse(name: &str) -> Option<Self> {
        venue(name).map(|adapter| Self(adapter.profile().venue))
    }

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}
