//! The pairs that are quoted, which both surfaces of Coinbase list as products.

use events::{Price, Symbol};
use store::market::products::{self, Product};

use crate::{
    compat::market_data::{AssetPlaces, MOST_PRODUCTS, increment, unknown_symbol},
    http::problem::Problem,
    state::AppState,
};

/// A pair that is quoted.
pub(super) struct Pair {
    pub(super) symbol: Symbol,
    pub(super) base: String,
    pub(super) quote: String,
    /// The newest price that the history has.
    pub(super) price: Price,
    /// The smallest step of a size.
    pub(super) base_increment: String,
    /// The smallest step of a price, in the newest candles.
    pub(super) quote_increment: String,
}

impl Pair {
    /// Returns the pairs that are quoted, sorted by symbol.
    pub(super) async fn list(state: &AppState) -> Result<Vec<Self>, Problem> {
        let places = AssetPlaces::read(state).await?;
        let products = products::list(&state.store, MOST_PRODUCTS).await?;
        Ok(products.into_iter().filter_map(|product| Self::new(product, &places)).collect())
    }

    /// Returns the pair of a symbol.
    pub(super) async fn find(state: &AppState, symbol: &Symbol) -> Result<Self, Problem> {
        let product = products::find(&state.store, symbol).await?.ok_or_else(unknown_symbol)?;
        Self::new(product, &AssetPlaces::read(state).await?).ok_or_else(unknown_symbol)
    }

    /// Returns a product as a pair; none of a symbol that is no pair, which the clients of Coinbase cannot read.
    fn new(product: Product, places: &AssetPlaces) -> Option<Self> {
        let (base, quote) = product.symbol.pair()?;
        Some(Self {
            base_increment: places.increment(base),
            quote_increment: increment(product.price_places),
            base: base.to_owned(),
            quote: quote.to_owned(),
            price: product.price,
            symbol: product.symbol,
        })
    }
}
