//! The REST API of Binance: <https://developers.binance.com/docs/binance-spot-api-docs/rest-api>.

use std::borrow::Cow;

use events::Symbol;

use super::messages::{ExchangeInfo, PastTrade};
use crate::sources::exchange::{
    adapter::{NextPage, Product, TradePage, Window},
    fields::{TradeFields, millis},
    message::{DecodeError, TradeId},
};

/// Without the permissions of accounts, which are most of the answer.
pub(super) const PRODUCTS: &str = "/api/v3/exchangeInfo?permissions=SPOT&showPermissionSets=false";

pub(super) fn parse_products(body: &str) -> Result<Vec<Product>, DecodeError> {
    let ExchangeInfo { symbols } = serde_json::from_str(body)?;
    let trading = symbols.iter().filter(|listed| listed.status == "TRADING");
    let product = |listed: &super::messages::ListedSymbol| {
        let symbol = Symbol::parse(&format!("{}-{}", listed.base_asset, listed.quote_asset)).ok()?;
        Some(Product { name: listed.symbol.to_string(), rest_name: listed.symbol.to_string(), symbol })
    };
    Ok(trading.filter_map(product).collect())
}

/// Pages ascend from an id. Without one, the newest page.
pub(super) fn trades_query(product: &Product, window: &Window, page_trades: u64) -> String {
    let path = format!("/api/v3/aggTrades?symbol={}&limit={page_trades}", product.rest_name);
    match window.cursor.or(window.first_id) {
        Some(id) => format!("{path}&fromId={id}"),
        None => path,
    }
}

pub(super) fn parse_trades<'body>(
    product: &'body Product,
    body: &'body str,
    page_trades: u64,
) -> Result<TradePage<'body>, DecodeError> {
    let past: Vec<PastTrade> = serde_json::from_str(body)?;
    let next = match past.last() {
        Some(last) if past.len() as u64 >= page_trades => NextPage::Cursor(last.id.saturating_add(1)),
        _ => NextPage::End,
    };
    let trade = |PastTrade { id, price, quantity, traded_at }| {
        let (product, at) = (Cow::Borrowed(product.name.as_str()), millis("T", traded_at)?);
        let (price, size) = (price.named("p")?, quantity.named("q")?);
        Ok(TradeFields { product, id: TradeId::number(id), price, size, at }.trade())
    };
    Ok(TradePage { trades: past.into_iter().map(trade).collect::<Result<_, DecodeError>>()?, next })
}
