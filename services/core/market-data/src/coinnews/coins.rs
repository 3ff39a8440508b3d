//! The mapping between the coin names of the coinnews API and our symbols, both ways.

use events::{Symbol, symbol::NameError};

/// The names that news sites give to coins, and their tickers. Where a ticker has several names, [`coin_of_symbol`]
/// returns the first.
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

/// Returns the symbol of a coin: the one of its known ticker, else `NAME-USD` of its letters and digits. Fails when
/// that is not a symbol.
pub fn symbol_of_coin(coin: &str) -> Result<Symbol, NameError> {
    let name = coin.to_ascii_lowercase();
    let known = TICKERS.iter().find(|(coin, _)| *coin == name).map(|(_, ticker)| (*ticker).to_owned());
    let ticker = known.unwrap_or_else(|| {
        name.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_uppercase()).collect()
    });
    Symbol::parse(&format!("{ticker}-USD"))
}

/// Returns the coin whose symbol this is, the inverse of [`symbol_of_coin`]. Returns `None` where there is none, as for
/// every symbol that is not quoted in dollars.
pub fn coin_of_symbol(symbol: &Symbol) -> Option<String> {
    let ticker = symbol.as_str().strip_suffix("-USD")?;
    let known = TICKERS.iter().find(|(_, known)| *known == ticker).map(|(coin, _)| (*coin).to_owned());
    let coin = known.unwrap_or_else(|| ticker.to_ascii_lowercase());
    (symbol_of_coin(&coin).as_ref() == Ok(symbol)).then_some(coin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(coin: &str) -> Result<String, NameError> {
        symbol_of_coin(coin).map(|symbol| symbol.to_string())
    }

    #[test]
    fn a_known_ticker_wins_over_the_name() {
        for (coin, expected) in [
            ("bitcoin", "BTC-USD"),
            ("Dogecoin", "DOGE-USD"),
            ("ripple", "XRP-USD"),
            ("pepe", "PEPE-USD"),
            ("wrapped bit_coin 2", "WRAPPEDBITCOIN2-USD"),
        ] {
            assert_eq!(read(coin), Ok(expected.into()));
        }
        for bad in ["", "币", "a-coin-with-a-very-long-name"] {
            assert_eq!(read(bad), Err(NameError::Symbol), "{bad}");
        }
    }

    #[test]
    fn a_coin_maps_back_to_its_symbol() {
        let coin = |text: &str| coin_of_symbol(&Symbol::parse(text).expect("a symbol"));
        for (symbol, expected) in
            [("BTC-USD", "bitcoin"), ("XRP-USD", "ripple"), ("BNB-USD", "binance-coin"), ("PEPE-USD", "pepe")]
        {
            assert_eq!(coin(symbol).as_deref(), Some(expected));
            assert_eq!(read(expected), Ok(symbol.into()));
        }
        for (_, ticker) in TICKERS {
            assert!(coin(&format!("{ticker}-USD")).is_some(), "{ticker}");
        }
        for other in ["SPY", "BTC-EUR", "BITCOIN-USD"] {
            assert_eq!(coin(other), None, "{other}");
        }
    }
}
