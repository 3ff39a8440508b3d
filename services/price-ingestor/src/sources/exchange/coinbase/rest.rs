//! The REST API of Coinbase Exchange: <https://docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getproducttrades>.

use std::borrow::Cow;

use events::Symbol;

use super::messages::{ListedProduct, PastTrade};
use crate::sources::exchange::{
    adapter::{NextPage, Product, TradePage, Window},
    fields::TradeFields,
    message::{DecodeError, TradeId},
};

pub(super) const PRODUCTS: &str = "/products";

pub(super) fn parse_products(body: &str) -> Result<Vec<Product>, DecodeError> {
    let listed: Vec<ListedProduct> = serde_json::from_str(body)?;
    let online = listed.iter().filter(|product| product.status == "online");
    let product = |listed: &ListedProduct| {
        let symbol = Symbol::parse(&format!("{}-{}", listed.base_currency, listed.quote_currency)).ok()?;
        Some(Product { name: listed.id.to_string(), rest_name: listed.id.to_string(), symbol })
    };
    Ok(online.filter_map(product).collect())
}

/// A page ends below the number of `after`. So the window is read upwards, page by page, by saying where each page ends:
/// `before` would give the newest page above a number, and not the next.
pub(super) fn trades_query(product: &Product, window: &Window, page_trades: u64) -> String {
    let path = format!("/products/{}/trades?limit={page_trades}", product.rest_name);
    match (window.first_id, window.last_id) {
        (Some(first), Some(last)) => {
            let after = first.saturating_add(page_trades).min(last.saturating_add(1));
            format!("{path}&after={after}")
        }
        // The newest page says how far the window goes.
        _ => path,
    }
}

pub(super) fn parse_trades<'body>(product: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
    let newest_first: Vec<PastTrade> = serde_json::from_str(body)?;
    let trade = |PastTrade { trade_id, price, size, time }| {
        let at = time.named("time")?;
        let (price, size) = (price.named("price")?, size.named("size")?);
        let product = Cow::Borrowed(product.name.as_str());
        Ok(TradeFields { product, id: TradeId::number(trade_id), price, size, at }.trade())
    };
    let trades = newest_first.into_iter().rev().map(trade).collect::<Result<_, DecodeError>>()?;
    Ok(TradePage { trades, next: NextPage::ByNumber })
}
