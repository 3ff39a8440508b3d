//! The REST API of Coinbase Advanced Trade, which needs no key for public market data:
//! <https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-market-trades>.

use events::Symbol;

use super::{
    messages::{ListedProduct, PastTrades, Products},
    parse::trade,
};
use crate::sources::exchange::{
    adapter::{NextPage, Product, TradePage, Window},
    message::{DecodeError, VenueTrade},
};

pub(super) const PRODUCTS: &str = "/api/v3/brokerage/market/products?product_type=SPOT";

/// Leaves out products that are the alias of another: BTC-USDC would stream the trades of BTC-USD.
pub(super) fn parse_products(body: &str) -> Result<Vec<Product>, DecodeError> {
    let Products { products } = serde_json::from_str(body)?;
    let online = products.iter().filter(|listed| listed.alias.is_empty() && matches!(&*listed.status, "" | "online"));
    let product = |listed: &ListedProduct| {
        let symbol = Symbol::parse(&format!("{}-{}", listed.base_currency_id, listed.quote_currency_id)).ok()?;
        Some(Product { name: listed.product_id.to_string(), rest_name: listed.product_id.to_string(), symbol })
    };
    Ok(online.filter_map(product).collect())
}

/// Pages descend from a time in whole seconds; the cursor is that time.
pub(super) fn trades_query(product: &Product, window: &Window, page_trades: u64) -> String {
    let seconds = |micros: i64| micros / 1_000_000;
    let start = seconds(window.from.micros());
    let newest = seconds(window.to.unwrap_or(window.now).micros()) + 2;
    let end = window.cursor.and_then(|cursor| i64::try_from(cursor).ok()).unwrap_or(newest);
    let path = format!("/api/v3/brokerage/market/products/{}/ticker", product.rest_name);
    format!("{path}?limit={page_trades}&start={start}&end={end}")
}

pub(super) fn parse_trades<'body>(_: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
    let PastTrades { trades } = serde_json::from_str(body)?;
    let mut trades = trades.into_iter().map(trade).collect::<Result<Vec<_>, _>>()?;
    trades.sort_by_key(VenueTrade::number);
    // The second of the oldest trade is asked for again: the page may have only some of its trades.
    let next = trades.first().map(|oldest| NextPage::Older((oldest.at.micros() / 1_000_000 + 1).unsigned_abs()));
    Ok(TradePage { trades, next: next.unwrap_or(NextPage::End) })
}
