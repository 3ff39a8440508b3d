//! Compares a trade with its order.

use events::{
    OrderRequest, Price, Side,
    order_request::{OrderKind, OrderSize},
};

use crate::{
    amounts::{self, Notional, Scales},
    rows::TradeRow,
    trigger_book::Trigger,
};

/// Returns true when an order of this request could have traded so. The settler's settings are not known here, so the spread
/// and the fee of a market order are not checked.
pub(super) fn matches_request(trade: &TradeRow, request: &OrderRequest) -> bool {
    let Ok(tick) = Price::new(trade.tick_price) else { return false };
    let reached = |trigger: Trigger| trigger.is_reached(request.side, tick);
    // Half the spread, which is never for the customer.
    let is_market_price = match request.side {
        Side::Buy => trade.price >= trade.tick_price,
        Side::Sell => trade.price <= trade.tick_price,
    };
    let spent = trade.quote_amount.checked_add(trade.fee);
    let (size, at_right_price) = match request.execution {
        OrderKind::Market(OrderSize::Size(size)) => (Some(size), is_market_price),
        OrderKind::Market(OrderSize::Funds(funds)) => {
            (None, is_market_price && spent.is_some_and(|spent| spent <= funds.decimal()))
        }
        OrderKind::Limit { size, price, .. } => {
            (Some(size), trade.price == trade.tick_price && reached(Trigger::Limit(price)))
        }
        OrderKind::Stop { size, stop_price } => (Some(size), is_market_price && reached(Trigger::Stop(stop_price))),
    };
    (trade.symbol.as_str(), &*trade.side) == (request.symbol.as_str(), request.side.as_str())
        && size.is_none_or(|size| size.decimal() == trade.size)
        && at_right_price
}

/// Returns true when the trade is rounded against its customer, as the settler rounds: the quote amount is size × price, up
/// for a buyer and down for a seller, and the fee is that of its rate, rounded up.
pub(super) fn is_rounded_right(trade: &TradeRow, side: Side, scales: Scales) -> bool {
    let amounts = (
        Price::new(trade.price).ok(),
        amounts::to_minor_units(trade.size, scales.base),
        amounts::to_minor_units(trade.quote_amount, scales.quote),
        amounts::to_minor_units(trade.fee, scales.quote),
        u32::try_from(trade.fee_bp).ok(),
    );
    let (Some(price), Some(size), Some(quote), Some(fee), Some(fee_bp)) = amounts else { return false };
    scales.notional(side, size, price, fee_bp) == Some(Notional { quote, fee })
}

#[cfg(test)]
mod tests {
    use events::Timestamp;
    use rust_decimal::Decimal;
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
            fee_bp: 10,
            tick_id: "1".into(),
            tick_sequence: 1,
            tick_index: 0,
            tick_price: Decimal::new(4_000, 0),
            tick_at: Timestamp::EPOCH,
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
    fn a_trade_is_rounded_against_its_customer() {
        let scales = Scales { base: 8, quote: 2 };
        let cents = |cents| Decimal::new(cents, 2);
        // 0.33333333 × 68000 = 22,666.66644; a fee of a tenth of a percent is 22.66666644.
        let third = |quote, fee| TradeRow {
            size: Decimal::new(33_333_333, 8),
            price: 68_000.into(),
            quote_amount: cents(quote),
            fee: cents(fee),
            ..trade()
        };
        for (trade, side, expected) in [
            (trade(), Side::Buy, true),
            (trade(), Side::Sell, true),
            (TradeRow { quote_amount: cents(200_001), ..trade() }, Side::Buy, false),
            (TradeRow { price: Decimal::new(4_001, 0), ..trade() }, Side::Buy, false),
            (third(2_266_667, 2_267), Side::Buy, true),
            (third(2_266_666, 2_267), Side::Buy, false),
            (third(2_266_666, 2_267), Side::Sell, true),
            (third(2_266_667, 2_267), Side::Sell, false),
            (third(2_266_667, 0), Side::Buy, false),
            (TradeRow { fee_bp: 0, ..third(2_266_667, 0) }, Side::Buy, true),
            (TradeRow { fee_bp: 11, ..third(2_266_667, 2_267) }, Side::Buy, false),
            (TradeRow { fee_bp: -1, ..third(2_266_667, 0) }, Side::Buy, false),
            (third(2_266_667, 2_266), Side::Buy, false),
            (third(2_266_667, 2_268), Side::Buy, false),
            (TradeRow { fee: Decimal::MAX, ..trade() }, Side::Buy, false),
        ] {
            assert_eq!(is_rounded_right(&trade, side, scales), expected, "{side:?} {trade:?}");
        }
    }
}
