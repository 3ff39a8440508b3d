//! The currencies and coins in which prices are quoted.
//!
//! `BTC-USD` is a pair and `BRK-B` is a class of share, although both are spelled alike: what decides is whether the word behind
//! the dash is a currency or a coin. A price in a currency "B" would be an invention.

use std::collections::BTreeSet;

/// The assets that may be the quote of a pair: the currencies and coins that everybody knows, and those that the caller adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownQuotes {
    added: BTreeSet<String>,
}

impl KnownQuotes {
    /// Returns the well-known currencies and coins together with the codes of `added`: the assets of the database, or what a
    /// venue quotes in.
    pub fn with(added: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { added: added.into_iter().map(Into::into).collect() }
    }

    /// Returns whether this is the code of a currency or a coin.
    pub fn contains(&self, code: &str) -> bool {
        is_currency(code) || COINS.binary_search(&code).is_ok() || self.added.contains(code)
    }
}

/// Returns whether this is the code of a currency or metal of ISO 4217, also of one that was withdrawn.
pub fn is_currency(code: &str) -> bool {
    CURRENCIES.binary_search(&code).is_ok()
}

/// The currencies and metals of ISO 4217, sorted, with those that were withdrawn since 1999, because recordings are older than
/// the list, and with the offshore yuan, which ISO does not list.
const CURRENCIES: [&str; 192] = [
    "AED", "AFA", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZM", "AZN", "BAM", "BBD", "BDT", "BGL",
    "BGN", "BHD", "BIF", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BYR", "BZD", "CAD", "CDF", "CHF",
    "CLF", "CLP", "CNH", "CNY", "COP", "CRC", "CSD", "CUC", "CUP", "CVE", "CYP", "CZK", "DJF", "DKK", "DOP", "DZD",
    "EEK", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHC", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD",
    "HKD", "HNL", "HRK", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS",
    "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LTL", "LVL", "LYD", "MAD",
    "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRO", "MRU", "MTL", "MUR", "MVR", "MWK", "MXN", "MYR", "MZM", "MZN",
    "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR", "ROL",
    "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDD", "SDG", "SEK", "SGD", "SHP", "SIT", "SKK", "SLE", "SLL",
    "SOS", "SRD", "SRG", "SSP", "STD", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMM", "TMT", "TND", "TOP", "TRL",
    "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VEB", "VED", "VEF", "VES", "VND", "VUV", "WST",
    "XAF", "XAG", "XAU", "XCD", "XCG", "XDR", "XOF", "XPD", "XPF", "XPT", "YER", "ZAR", "ZMK", "ZMW", "ZWG", "ZWL",
];

/// Coins that exchanges quote other coins in, or that are known to everybody who trades, sorted.
const COINS: [&str; 76] = [
    "AAVE", "ADA", "ALGO", "APT", "ARB", "ATOM", "AVAX", "BCH", "BGB", "BNB", "BSV", "BTC", "BUSD", "CRO", "DAI",
    "DASH", "DOGE", "DOT", "ENA", "EOS", "ETC", "ETH", "EURC", "EURI", "EURS", "EURT", "FDUSD", "FIL", "FRAX", "GUSD",
    "HBAR", "HYPE", "ICP", "KCS", "LEO", "LINK", "LTC", "LUSD", "MATIC", "NEAR", "NEO", "OKB", "PAXG", "PEPE", "POL",
    "PYUSD", "RLUSD", "SHIB", "SOL", "STETH", "SUI", "TAO", "TON", "TRX", "TUSD", "UNI", "USD1", "USDC", "USDD",
    "USDE", "USDG", "USDP", "USDS", "USDT", "USTC", "VET", "WBTC", "WETH", "XAUT", "XBT", "XEC", "XLM", "XMR", "XRP",
    "XTZ", "ZEC",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_have_no_word_that_is_a_class_of_share() {
        for list in [&CURRENCIES[..], &COINS[..]] {
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
            // Classes and series are A, B, U, WS, PR, RT: one or two letters.
            assert!(list.iter().all(|code| code.len() >= 3), "{list:?}");
        }
    }

    #[test]
    fn a_quote_is_a_currency_or_a_coin_that_is_known() {
        let quotes = KnownQuotes::default();
        for good in ["USD", "EUR", "TRY", "KRW", "XAU", "HRK", "CNH", "USDT", "USDC", "BTC", "ETH", "BNB", "EURC"] {
            assert!(quotes.contains(good), "{good}");
        }
        for bad in ["", "A", "B", "K", "U", "WS", "PR", "usd", "XXX", "SPY", "BARS"] {
            assert!(!quotes.contains(bad), "{bad}");
        }
        let added = KnownQuotes::with(["BARS"]);
        assert!(added.contains("BARS") && added.contains("USD") && !added.contains("B"));
    }
}
