//! Whether a trade is what its order asked for.

use events::{
    OrderRequest, Price,
    order_request::{OrderKind, OrderSize},
};
use rust_decimal::Decimal;
use store::trading::settlement::TradeRow;

use crate::queue::Trigger;

/// Whether an order of these terms could have traded so. What the settler's settings say is not known here: how far a
/// market price is from its tick's, and the fee.
pub(super) fn is_asked_for(trade: &TradeRow, terms: &OrderRequest) -> bool {
    let Ok(tick) = Price::new(trade.tick_price) else { return false };
    let reached = |trigger: Trigger| trigger.is_reached(terms.side, tick);
    let (size, at_a_price) = match terms.execution {
        OrderKind::Market(OrderSize::Size(size)) => (Some(size), true),
        OrderKind::Market(OrderSize::Funds(funds)) => (None, trade.quote_amount + trade.fee <= funds.decimal()),
        OrderKind::Limit { size, price, .. } => {
            (Some(size), trade.price == trade.tick_price && reached(Trigger::Limit(price)))
        }
        OrderKind::Stop { size, stop_price } => (Some(size), reached(Trigger::Stop(stop_price))),
    };
    (trade.symbol.as_str(), &*trade.side) == (terms.symbol.as_str(), terms.side.as_str())
        && size.is_none_or(|size| size.decimal() == trade.size)
        && at_a_price
}

/// Whether size × price is what was paid. The price is rounded to twelve places, and what was paid to the quote's.
pub(super) fn is_its_worth(trade: &TradeRow, places: u32) -> bool {
    let rounding = trade.size * Decimal::new(1, 12) + Decimal::new(1, places);
    let worth = trade.size.checked_mul(trade.price);
    worth.is_some_and(|worth| (worth - trade.quote_amount).abs() <= rounding)
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
    fn a_trade_is_its_orders() {
        for (terms, asked) in [
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
            let terms: OrderRequest = serde_json::from_value(order).expect("terms");
            assert_eq!(is_asked_for(&trade(), &terms), asked, "{terms:?}");
        }
    }

    #[test]
    fn size_times_price_is_what_was_paid() {
        assert!(is_its_worth(&trade(), 2));
        assert!(is_its_worth(&TradeRow { quote_amount: Decimal::new(200_001, 2), ..trade() }, 2));
        assert!(!is_its_worth(&TradeRow { quote_amount: Decimal::new(200_002, 2), ..trade() }, 2));
        assert!(!is_its_worth(&TradeRow { price: Decimal::new(4_001, 0), ..trade() }, 2));
    }
}
