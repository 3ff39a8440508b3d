//! The products of a venue, as its own list has them. A symbol is never guessed from a name.

use std::collections::BTreeMap;

use events::Symbol;
use market_data::near_symbols;
use thiserror::Error;

use crate::sources::exchange::adapter::Product;

/// A symbol that the venue does not trade.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{venue} does not trade {symbol}{}", hint(.near))]
pub(crate) struct ProductError {
    pub(crate) venue: &'static str,
    pub(crate) symbol: Symbol,
    pub(crate) near: Vec<Symbol>,
}

fn hint(near: &[Symbol]) -> String {
    match near {
        [] => String::new(),
        near => format!("; it trades {}", near.iter().map(Symbol::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// The products of a venue, by symbol.
pub(crate) struct Products {
    venue: &'static str,
    by_symbol: BTreeMap<Symbol, Product>,
}

impl Products {
    /// Takes the list of a venue. Of two products with one symbol the first is taken.
    pub(crate) fn new(venue: &'static str, listed: Vec<Product>) -> Self {
        let mut by_symbol = BTreeMap::new();
        for product in listed {
            by_symbol.entry(product.symbol.clone()).or_insert(product);
        }
        Self { venue, by_symbol }
    }

    /// Returns all symbols that the venue lists, sorted.
    pub(crate) fn symbols(&self) -> Vec<Symbol> {
        self.by_symbol.keys().cloned().collect()
    }

    /// Returns the product of a symbol.
    pub(crate) fn find(&self, symbol: &Symbol) -> Result<Product, ProductError> {
        self.by_symbol.get(symbol).cloned().ok_or_else(|| ProductError {
            venue: self.venue,
            symbol: symbol.clone(),
            near: near_symbols(symbol, self.by_symbol.keys()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_list_does_not_have_is_refused_with_near_names() {
        let product = |name: &str| Product {
            name: name.to_owned(),
            rest_name: name.to_owned(),
            symbol: Symbol::parse(name).expect("a symbol"),
        };
        let listed = ["BTC-USD", "BTC-EUR", "BTC-USDT", "BTC-GBP", "ETH-USD", "DOGE-USD"].map(product);
        let products = Products::new("coinbase", listed.to_vec());
        let find = |symbol: &str| products.find(&Symbol::parse(symbol).expect("a symbol"));
        assert_eq!(find("BTC-USD").map(|product| product.name), Ok("BTC-USD".to_owned()));
        for (symbol, said) in [
            ("BTC-USTD", "coinbase does not trade BTC-USTD; it trades BTC-USD, BTC-USDT, BTC-EUR"),
            ("DOG-USD", "coinbase does not trade DOG-USD; it trades DOGE-USD"),
            ("NOWHERE-TRY", "coinbase does not trade NOWHERE-TRY"),
        ] {
            assert_eq!(find(symbol).map_err(|error| error.to_string()), Err(said.to_owned()));
        }
    }
}
