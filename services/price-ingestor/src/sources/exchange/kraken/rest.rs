//! The REST API of Kraken: <https://docs.kraken.com/api/docs/rest-api/get-recent-trades>.

use std::{borrow::Cow, collections::BTreeMap};

use events::Symbol;
use serde_json::value::RawValue;

use super::messages::{Answer, Pair, Pairs, PastTrade};
use crate::sources::exchange::{
    adapter::{NextPage, Product, TradePage, Window},
    fields::{TradeFields, decimal_seconds, number_text, number_value},
    message::{DecodeError, TradeId, VenueTrade},
};

pub(super) const PRODUCTS: &str = "/0/public/AssetPairs";

/// The names of assets that version 2 of the WebSocket API writes in another way than the list.
const RENAMED: [(&str, &str); 2] = [("XBT", "BTC"), ("XDG", "DOGE")];

pub(super) fn parse_products(body: &str) -> Result<Vec<Product>, DecodeError> {
    let pairs: Pairs = serde_json::from_str(result(body)?.get())?;
    let online = pairs.values().filter(|pair| pair.status.is_empty() || pair.status == "online");
    let product = |pair: &Pair| {
        let (base, quote) = pair.wsname.split_once('/')?;
        let (base, quote) = (today(base), today(quote));
        let symbol = Symbol::parse(&format!("{base}-{quote}")).ok()?;
        Some(Product { name: format!("{base}/{quote}"), rest_name: pair.altname.to_string(), symbol })
    };
    Ok(online.filter_map(product).collect())
}

/// Pages ascend from a time in nanoseconds. The first one begins a little before the last trade that is known, because
/// several trades may have one time.
pub(super) fn trades_query(product: &Product, window: &Window, page_trades: u64) -> String {
    const MARGIN_MICROS: i64 = 1_000;
    let nanos = |micros: i64| u64::try_from(micros).unwrap_or(0).saturating_mul(1_000);
    let since = window.cursor.unwrap_or_else(|| nanos(window.from.micros() - MARGIN_MICROS));
    format!("/0/public/Trades?pair={}&since={since}&count={page_trades}", product.rest_name)
}

pub(super) fn parse_trades<'body>(
    product: &'body Product,
    body: &'body str,
    page_trades: u64,
) -> Result<TradePage<'body>, DecodeError> {
    // The trades are under the name of the pair, which the list does not use anywhere else.
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(result(body)?.get())?;
    let (last, trades): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(name, _)| name == "last");
    let past: Vec<PastTrade> = trades.first().map_or(Ok(Vec::new()), |(_, raw)| serde_json::from_str(raw.get()))?;
    let is_full = past.len() as u64 >= page_trades;
    let next = match last.first() {
        Some((_, raw)) if is_full => NextPage::Cursor(number_value("last", raw.get())?),
        _ => NextPage::End,
    };
    let trade = |(price, volume, time, _, _, _, id): PastTrade<'body>| {
        let at = decimal_seconds("time", number_text("time", time.get())?)?;
        let (price, size) = (number_value("price", price.get())?, number_value("volume", volume.get())?);
        let product = Cow::Borrowed(product.name.as_str());
        Ok(TradeFields { product, id: TradeId::number(id), price, size, at }.trade())
    };
    let mut trades = past.into_iter().map(trade).collect::<Result<Vec<_>, DecodeError>>()?;
    trades.sort_by_key(VenueTrade::number);
    Ok(TradePage { trades, next })
}

fn result(body: &str) -> Result<&RawValue, DecodeError> {
    let Answer { error, result } = serde_json::from_str(body)?;
    match result {
        Some(result) if error.is_empty() => Ok(result),
        _ => Err(DecodeError::Answer(error.join(", "))),
    }
}

fn today(asset: &str) -> &str {
    RENAMED.iter().find(|(old, _)| *old == asset).map_or(asset, |(_, name)| name)
}
