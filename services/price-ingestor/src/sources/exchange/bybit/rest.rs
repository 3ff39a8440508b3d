//! The REST API of Bybit: <https://bybit-exchange.github.io/docs/v5/market/instrument>.

use events::Symbol;

use super::messages::{Answer, Instrument};
use crate::sources::exchange::{adapter::Product, message::DecodeError};

pub(super) const PRODUCTS: &str = "/v5/market/instruments-info?category=spot";

pub(super) fn parse_products(body: &str) -> Result<Vec<Product>, DecodeError> {
    let Answer { ret_code, ret_msg, result } = serde_json::from_str(body)?;
    if ret_code != 0 {
        return Err(DecodeError::Answer(format!("{ret_msg} (code {ret_code})")));
    }
    let trading = result.list.iter().filter(|listed| listed.status == "Trading");
    let product = |listed: &Instrument| {
        let symbol = Symbol::parse(&format!("{}-{}", listed.base_coin, listed.quote_coin)).ok()?;
        Some(Product { name: listed.symbol.to_string(), rest_name: listed.symbol.to_string(), symbol })
    };
    Ok(trading.filter_map(product).collect())
}
