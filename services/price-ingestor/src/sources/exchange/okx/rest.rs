//! The REST API of OKX: <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history>.

use events::Symbol;

use super::{
    messages::{Answer, Instrument, Trade},
    parse::trade,
};
use crate::sources::exchange::{
    adapter::{NextPage, Product, TradePage, Window},
    message::{DecodeError, VenueTrade},
};

pub(super) const PRODUCTS: &str = "/api/v5/public/instruments?instType=SPOT";

pub(super) fn parse_products(body: &str) -> Result<Vec<Product>, DecodeError> {
    let Answer { code, msg, data } = serde_json::from_str::<Answer<Instrument>>(body)?;
    require_success(&code, &msg)?;
    let live = data.iter().filter(|listed| listed.state == "live");
    let product = |listed: &Instrument| {
        let symbol = Symbol::parse(&format!("{}-{}", listed.base_ccy, listed.quote_ccy)).ok()?;
        Some(Product { name: listed.inst_id.to_string(), rest_name: listed.inst_id.to_string(), symbol })
    };
    Ok(live.filter_map(product).collect())
}

/// A page ends below the number of `after`; without one it is the newest page.
pub(super) fn trades_query(product: &Product, window: &Window, page_trades: u64) -> String {
    let path = format!("/api/v5/market/history-trades?instId={}&type=1&limit={page_trades}", product.rest_name);
    match (window.first_id, window.last_id) {
        (Some(first), Some(last)) => {
            let after = first.saturating_add(page_trades).min(last.saturating_add(1));
            format!("{path}&after={after}")
        }
        _ => path,
    }
}

pub(super) fn parse_trades<'body>(_: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError> {
    let Answer { code, msg, data } = serde_json::from_str::<Answer<Trade>>(body)?;
    require_success(&code, &msg)?;
    let mut trades = data.into_iter().map(trade).collect::<Result<Vec<_>, _>>()?;
    trades.sort_by_key(VenueTrade::number);
    Ok(TradePage { trades, next: NextPage::ByNumber })
}

fn require_success(code: &str, msg: &str) -> Result<(), DecodeError> {
    if code == "0" { Ok(()) } else { Err(DecodeError::Answer(format!("{msg} (code {code})"))) }
}
