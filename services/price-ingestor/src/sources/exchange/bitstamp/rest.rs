//! The REST API of Bitstamp: <https://www.bitstamp.net/api/#tag/Transactions-public>.

use std::borrow::Cow;

use events::Symbol;

use super::{
    messages::{Pair, PastTrade},
    parse::trade_id,
};
use crate::sources::exchange::{
    adapter::{NextPage, Product, TradePage, Window},
    fields::{TradeFields, UnixTime, number_value},
    message::{DecodeError, VenueTrade},
};

pub(super) const PRODUCTS: &str = "/api/v2/trading-pairs-info/";

/// The spans that the API offers, and their lengths in microseconds.
const SPANS: [(&str, i64); 3] = [("minute", 60_000_000), ("hour", 3_600_000_000), ("day", 86_400_000_000)];
/// What a span must be longer than the window, because the answer may be some seconds old.
const MARGIN_MICROS: i64 = 10_000_000;

pub(super) fn parse_products(body: &str) -> Result<Vec<Product>, DecodeError> {
    let pairs: Vec<Pair> = serde_json::from_str(body)?;
    let enabled = pairs.iter().filter(|pair| pair.trading == "Enabled");
    let product = |pair: &Pair| {
        let symbol = Symbol::parse(&pair.name.replacen('/', "-", 1)).ok()?;
        Some(Product { name: pair.url_symbol.to_string(), rest_name: pair.url_symbol.to_string(), symbol })
    };
    Ok(enabled.filter_map(product).collect())
}

/// The shortest span that reaches back to the beginning of the window; none where a day is too short.
pub(super) fn trades_query(product: &Product, window: &Window) -> Option<String> {
    let age = window.now.micros() - window.from.micros() + MARGIN_MICROS;
    let (span, _) = SPANS.iter().find(|(_, length)| age <= *length)?;
    Some(format!("/api/v2/transactions/{}/?time={span}", product.rest_name))
}

pub(super) fn parse_trades<'body>(product: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
    let past: Vec<PastTrade> = serde_json::from_str(body)?;
    let trade = |PastTrade { tid, price, amount, date }: PastTrade<'body>| {
        let ((number, id), UnixTime::<1>(at)) = (trade_id("tid", tid.json())?, number_value("date", date.json())?);
        let (price, size) = (number_value("price", price.json())?, number_value("amount", amount.json())?);
        let product = Cow::Borrowed(product.name.as_str());
        Ok((number, TradeFields { product, id, price, size, at }.trade()))
    };
    let mut trades: Vec<(u64, VenueTrade)> = past.into_iter().map(trade).collect::<Result<_, DecodeError>>()?;
    trades.sort_by_key(|(id, _)| *id);
    Ok(TradePage { trades: trades.into_iter().map(|(_, trade)| trade).collect(), next: NextPage::End })
}
