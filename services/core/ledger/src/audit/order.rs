//! Compares a trade with its order.

use events::{
    OrderRequest, Price,
    order_request::{OrderKind, OrderSize},
};
use rust_decimal::Decimal;

use crate::{rows::TradeRow, trigger_book::Trigger};

/// Returns true when an order of this request could have traded so. The settler's settings are not known here, so the spread
/// and the fee of a market order are not checked.
pub(super) fn matches_request(trade: &TradeRow, request: &OrderRequest) -> bool {
    let Ok(tick) = Price::new(trade.tick_price) else { return false };
    let reached = |trigger: Trigger| trigger.is_reached(request.side, tick);
    let (size, at_right_price) = match request.execution {
        OrderKind::Market(OrderSize::Size(size)) => (Some(size), true),
        OrderKind::Market(OrderSize::Funds(funds)) => (None, trade.quote_amount + trade.fee <= funds.decimal()),
        OrderKind::Limit { size, price, .. } => {
            (Some(size), trade.price == trade.tick_price && reached(Trigger::Limit(price)))
        }
        OrderKind::Stop { size, stop_price } => (Some(size), reached(Trigger::Stop(stop_price))),
    };
    (trade.symbol.as_str(), &*trade.side) == (request.symbol.as_str(), request.side.as_str())
        && size.is_none_or(|size| size.decimal() == trade.size)
        && at_right_price
}

/// Returns true when size × price is the quote amount, within rounding: the price is rounded to 12 decimal places, and the
/// quote amount to those of the quote asset.
pub(super) fn has_right_notional(trade: &TradeRow, places: u32) -> bool {
    let rounding = trade.size * Decimal::new(1, 12) + Decimal::new(1, places);
    let notional = trade.size.checked_mul(trade.price);
    notional.is_some_and(|notional| (notional - trade.quote_amount).abs() <= rounding)
}

#[cfg(test)]
mod tests {
    use events::Timestamp;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn trade() -> TradeRow {
        TradeRow {
            order_id: Uuid::nil(),
            posting_id: 1,
            user_id: Uuid::nil(),
            symbol: "BTC-USD".into(),
            side: "buy".into(),
            size: Decimal::new(5, 1),
            price: Decimal::new(4_000, 0),
            quote_amount: Decimal::new(2_000, 0),
            fee: Decimal::new(2, 0),
            tick_sequence: 1,
            tick_price: Decimal::new(4_000, 0),
            at: Timestamp::EPOCH,
            hash: Vec::new(),
        }
    }

    #[test]
    fn a_trade_matches_its_order() {
        for (terms, expected) in [
            (json!({ "type": "market", "size": "0.5" }), true),
            (json!({ "type": "market", "size": "0.50001" }), false),
            (json!({ "type": "market", "funds": "2002" }), true),
            (json!({ "type": "market", "funds": "2001.99" }), false),
            (json!({ "type": "limit", "size": "0.5", "price": "4000" }), true),
            (json!({ "type": "limit", "size": "0.5", "price": "3999.99" }), false),
            (json!({ "type": "stop", "size": "0.5", "stop_price": "4000" }), true),
            (json!({ "type": "stop", "size": "0.5", "stop_price": "4000.01" }), false),
            (json!({ "type": "market", "size": "0.5", "side": "sell" }), false),
            (json!({ "type": "market", "size": "0.5", "symbol": "ETH-USD" }), false),
        ] {
            let mut order = json!({ "symbol": "BTC-USD", "side": "buy" });
            order.as_object_mut().expect("an object").extend(terms.as_object().expect("an object").clone());
            let request: OrderRequest = serde_json::from_value(order).expect("a request");
            assert_eq!(matches_request(&trade(), &request), expected, "{request:?}");
        }
    }

    #[test]
    fn the_quote_amount_is_size_times_price() {
        assert!(has_right_notional(&trade(), 2));
        assert!(has_right_notional(&TradeRow { quote_amount: Decimal::new(200_001, 2), ..trade() }, 2));
        assert!(!has_right_notional(&TradeRow { quote_amount: Decimal::new(200_002, 2), ..trade() }, 2));
        assert!(!has_right_notional(&TradeRow { price: Decimal::new(4_001, 0), ..trade() }, 2));
    }
}
