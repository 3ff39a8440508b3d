//! The venues that are known, by name.

use super::{
    adapter::Adapter, binance::Binance, bitstamp::Bitstamp, bybit::Bybit, coinbase::Coinbase,
    coinbase_advanced::CoinbaseAdvanced, kraken::Kraken, okx::Okx,
};

/// All venues.
pub const VENUES: [&dyn Adapter; 8] =
    [&Coinbase, &CoinbaseAdvanced, &Binance::COM, &Binance::US, &Kraken, &Okx, &Bitstamp, &Bybit];

/// Returns the venue of a name.
pub fn venue(name: &str) -> Option<&'static dyn Adapter> {
    VENUES.into_iter().find(|adapter| adapter.profile().venue == name)
}
