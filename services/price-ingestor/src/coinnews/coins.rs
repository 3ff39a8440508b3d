//! Which symbol a coin is.

use std::collections::BTreeMap;

use events::{Symbol, symbol::NameError};

/// Coins by the names that news sites use, and their tickers.
const TICKERS: [(&str, &str); 30] = [
    ("algorand", "ALGO"),
    ("aptos", "APT"),
    ("avalanche", "AVAX"),
    ("binance-coin", "BNB"),
    ("bitcoin", "BTC"),
    ("bitcoin-cash", "BCH"),
    ("bnb", "BNB"),
    ("cardano", "ADA"),
    ("chainlink", "LINK"),
    ("cosmos", "ATOM"),
    ("dai", "DAI"),
    ("dogecoin", "DOGE"),
    ("ethereum", "ETH"),
    ("ethereum-classic", "ETC"),
    ("filecoin", "FIL"),
    ("litecoin", "LTC"),
    ("monero", "XMR"),
    ("near", "NEAR"),
    ("polkadot", "DOT"),
    ("polygon", "POL"),
    ("ripple", "XRP"),
    ("shiba-inu", "SHIB"),
    ("solana", "SOL"),
    ("stellar", "XLM"),
    ("tether", "USDT"),
    ("toncoin", "TON"),
    ("tron", "TRX"),
    ("uniswap", "UNI"),
    ("usd-coin", "USDC"),
    ("xrp", "XRP"),
];

/// The symbol that a setting gives the coin, else the one it is known by, else `NAME-USD` of its letters and digits.
pub(super) fn symbol(coin: &str, settings: &BTreeMap<String, Symbol>) -> Result<Symbol, NameError> {
    if let Some(symbol) = settings.get(coin) {
        return Ok(symbol.clone());
    }
    let name = coin.to_ascii_lowercase();
    let known = TICKERS.iter().find(|(coin, _)| *coin == name).map(|(_, ticker)| (*ticker).to_owned());
    let ticker = known.unwrap_or_else(|| {
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
    });
    Symbol::parse(&format!("{ticker}-USD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_wins_over_what_is_known_and_what_is_known_over_the_name() {
        let euro = BTreeMap::from([("bitcoin".to_owned(), Symbol::parse("BTC-EUR").expect("a symbol"))]);
        let read = |coin, settings| symbol(coin, settings).map(|symbol| symbol.to_string());
        assert_eq!(read("bitcoin", &euro), Ok("BTC-EUR".into()));
        let none = BTreeMap::new();
        for (coin, expected) in [
            ("bitcoin", "BTC-USD"),
            ("Dogecoin", "DOGE-USD"),
            ("ripple", "XRP-USD"),
            ("pepe", "PEPE-USD"),
            ("wrapped bit_coin 2", "WRAPPEDBITCOIN2-USD"),
        ] {
            assert_eq!(read(coin, &none), Ok(expected.into()));
        }
        for bad in ["", "币", "a-coin-with-a-very-long-name"] {
            assert_eq!(read(bad, &none), Err(NameError::Symbol), "{bad}");
        }
    }
}
