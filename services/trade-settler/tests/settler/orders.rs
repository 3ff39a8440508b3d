//! Single decisions.

use std::collections::HashMap;

use events::{
    OrderStatus::{Cancelled, Expired, Filled, Open, Rejected},
    RejectReason,
    order::AlertTrigger,
};
use rust_decimal::Decimal;
use serde_json::json;
use trade_settler::book::{Book, Fact};
use uuid::Uuid;

use crate::desk::{ADA, Desk, POLICY, deposit, second};

const RULE: Uuid = Uuid::from_u128(0x70);

fn after(expires_at: Option<i64>) -> Option<AlertTrigger> {
    Some(AlertTrigger { rule_id: RULE, expires_at: expires_at.map(second) })
}

#[test]
fn a_market_buy_fills_at_the_latest_price_plus_half_the_spread() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "buy", "type": "market", "size": "0.5" }));
    assert_eq!(desk.status(order), (Filled, None));
    // 0.5 × 5,000 × 1.0005 = 2,501.25, and a tenth of a percent of that is 2.50, half to even.
    assert_eq!(desk.purse(), ["7496.25", "0", "2.5", "0"]);
    let trade = &desk.kept.trades.values().next().expect("a trade");
    assert_eq!((trade.price.to_string(), trade.quote_amount.to_string()), ("5002.5".into(), "2501.25".into()));
    assert_eq!((trade.fee.to_string(), trade.tick_sequence), ("2.50".into(), 1));
    assert_eq!(desk.kept.balance("fees", None, "USD").to_string(), "2.5");
    assert_eq!(desk.kept.balance("house", None, "USD").to_string(), "2501.25");
    assert!(matches!(&desk.facts[..], [Fact::Trade(_), Fact::Update(update)] if update.revision == 1));
}

#[test]
fn a_market_sell_gets_half_the_spread_less() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "sell", "type": "market", "size": "1" }));
    assert_eq!(desk.status(order), (Filled, None));
    // 5,000 × 0.9995 = 4,997.50, less a fee of 5.00 (4.9975).
    assert_eq!(desk.purse(), ["14992.5", "0", "1", "0"]);
}

#[test]
fn a_market_buy_with_funds_never_spends_more() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "buy", "type": "market", "funds": "100" }));
    assert_eq!(desk.status(order), (Filled, None));
    let trade = desk.kept.trades.values().next().expect("a trade");
    assert_eq!((trade.quote_amount + trade.fee).to_string(), "100.00");
    assert_eq!(trade.size.to_string(), "0.01997003");
}

#[test]
fn a_limit_waits_for_its_price_and_gets_the_ticks() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "buy", "type": "limit", "size": "1", "price": "4900" }));
    assert_eq!(desk.status(order), (Open, None));
    assert_eq!(desk.purse(), ["5095.1", "4904.9", "2", "0"]);
    desk.restart();
    desk.tick("4900.01", 2);
    assert_eq!(desk.status(order), (Open, None));
    desk.tick("4800", 3);
    assert_eq!(desk.status(order), (Filled, None));
    assert_eq!(desk.purse(), ["5195.2", "0", "3", "0"]);
}

#[test]
fn a_limit_that_the_price_meets_already_fills_at_once() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "4000" }));
    assert_eq!(desk.status(order), (Filled, None));
    assert_eq!(desk.purse(), ["14995", "0", "1", "0"]);
}

#[test]
fn what_cannot_fill_at_once_and_may_not_wait_expires() {
    let mut desk = Desk::funded();
    let ioc = json!({ "side": "buy", "type": "limit", "size": "1", "price": "4000", "time_in_force": "ioc" });
    let order = desk.place(ioc);
    assert_eq!((desk.status(order), desk.purse()[1].as_str()), ((Expired, None), "0"));
    assert!(desk.kept.postings.iter().all(|posting| posting.kind == "deposit"));
}

#[test]
fn a_stop_becomes_a_market_order_and_may_need_more_than_it_held() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "buy", "type": "stop", "size": "1", "stop_price": "5100" }));
    assert_eq!(desk.purse(), ["4843.85", "5156.15", "2", "0"]); // 5,100 × 1.01 = 5,151.00 and 5.15.
    desk.tick("5500", 2);
    assert_eq!(desk.status(order), (Filled, None));
    assert_eq!(desk.purse(), ["4491.75", "0", "3", "0"]); // 5,502.75 and 5.50.
    let other = desk.place(json!({ "side": "buy", "type": "stop", "size": "0.8", "stop_price": "5510" }));
    desk.tick("6000", 3);
    assert_eq!(desk.status(other), (Rejected, Some(RejectReason::InsufficientFunds)));
    assert_eq!(desk.purse(), ["4491.75", "0", "3", "0"]);
}

#[test]
fn a_stop_loss_sells_below() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "sell", "type": "stop", "size": "2", "stop_price": "4500" }));
    assert_eq!(desk.purse()[2..], ["0", "2"]);
    desk.tick("4400", 2);
    assert_eq!(desk.status(order), (Filled, None));
    assert_eq!(desk.purse(), ["18786.8", "0", "0", "0"]); // 8,795.60 less 8.80.
}

#[test]
fn what_is_not_possible_is_said() {
    for (terms, why) in [
        (json!({ "side": "buy", "type": "market", "size": "2" }), RejectReason::InsufficientFunds),
        (
            json!({ "side": "sell", "type": "limit", "size": "2.00000001", "price": "9000" }),
            RejectReason::InsufficientFunds,
        ),
        (json!({ "side": "buy", "type": "market", "size": "0.000000001" }), RejectReason::TooPrecise),
        (json!({ "side": "buy", "type": "market", "funds": "1.001" }), RejectReason::TooPrecise),
        (json!({ "side": "buy", "type": "market", "size": "0.00000099" }), RejectReason::TooSmall),
        (json!({ "side": "sell", "type": "market", "size": "0.00000099" }), RejectReason::TooSmall),
        (json!({ "side": "buy", "type": "limit", "size": "99999999999999", "price": "9" }), RejectReason::TooLarge),
        (json!({ "symbol": "XYZ-USD", "side": "buy", "type": "market", "size": "1" }), RejectReason::UnknownSymbol),
        (json!({ "symbol": "BTC-XYZ", "side": "buy", "type": "market", "size": "1" }), RejectReason::UnknownSymbol),
        (json!({ "symbol": "USD-USD", "side": "buy", "type": "market", "size": "1" }), RejectReason::UnknownSymbol),
        (
            json!({ "symbol": "USD", "side": "sell", "type": "limit", "size": "1", "price": "2" }),
            RejectReason::UnknownSymbol,
        ),
        (json!({ "symbol": "ETH-USD", "side": "buy", "type": "market", "size": "1" }), RejectReason::NoPrice),
    ] {
        let mut desk = Desk::funded();
        let before = desk.purse();
        let order = desk.place(terms.clone());
        assert_eq!(desk.status(order), (Rejected, Some(why)), "{terms}");
        assert_eq!(desk.purse(), before);
        desk.restart();
    }
}

#[test]
fn an_old_price_fills_nothing() {
    let mut desk = Desk::funded();
    let waits = desk.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "4000" }));
    desk.tick_of("SPY", "200", 60);
    let in_time = desk.place(json!({ "side": "sell", "type": "market", "size": "0.1" }));
    assert_eq!(desk.status(in_time), (Filled, None));
    desk.tick_of("SPY", "200", 61);
    let order = desk.place(json!({ "side": "sell", "type": "market", "size": "0.1" }));
    assert_eq!(desk.status(order), (Rejected, Some(RejectReason::StalePrice)));
    let limit = desk.place(json!({ "side": "sell", "type": "limit", "size": "0.1", "price": "1" }));
    assert_eq!(desk.status(limit), (Open, None));
    // A tick that is itself too old fills nothing either; a younger one does.
    desk.tick("3000", 0);
    assert_eq!((desk.status(waits).0, desk.status(limit).0), (Open, Open));
    desk.tick("3000", 2);
    assert_eq!((desk.status(waits).0, desk.status(limit).0), (Filled, Filled));
}

#[test]
fn a_late_tick_and_one_from_the_future_change_nothing() {
    let mut desk = Desk::funded();
    desk.tick("5200", 10);
    desk.tick("4000", 9);
    let future = crate::desk::tick("BTC-USD", "1", 10_000);
    desk.book.tick(&future, 4, second(11));
    let order = desk.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "5200" }));
    assert_eq!(desk.status(order), (Filled, None));
}

#[test]
fn an_order_is_taken_back_by_its_owner_alone_and_once() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "9000" }));
    desk.cancel(order, Uuid::from_u128(5));
    assert_eq!(desk.status(order), (Open, None));
    desk.cancel(order, ADA);
    desk.cancel(order, ADA);
    assert_eq!(desk.status(order), (Cancelled, None));
    assert_eq!(desk.purse(), ["10000", "0", "2", "0"]);
    desk.tick("9500", 2);
    assert!(desk.kept.trades.is_empty());
}

#[test]
fn an_order_and_a_deposit_that_come_again_change_nothing() {
    let mut desk = Desk::empty();
    for _ in 0..2 {
        desk.book.deposit(&deposit(1, ADA, "BTC", "1")).expect("posted");
    }
    desk.save();
    assert_eq!(desk.purse()[2], "1");
    for (asset, amount) in [("XYZ", "1"), ("USD", "0.001"), ("USD", "0")] {
        desk.book.deposit(&deposit(3, ADA, asset, amount)).expect_err(asset);
    }
}

#[test]
fn a_balance_never_grows_beyond_counting() {
    let mut desk = Desk::funded();
    let most = |number| deposit(number, ADA, "SPY", "99999999999999");
    for number in 10..110 {
        desk.book.deposit(&most(number)).expect("posted");
    }
    desk.book.deposit(&most(110)).expect_err("too much");
    desk.tick_of("SPY", "1", 1);
    let waits = desk.place(json!({ "symbol": "SPY", "side": "sell", "type": "limit", "size": "5000", "price": "9" }));
    let order = desk.place(json!({ "symbol": "SPY", "side": "buy", "type": "market", "size": "100" }));
    assert_eq!(desk.status(order), (Rejected, Some(RejectReason::TooLarge)));
    desk.cancel(waits, ADA);
    desk.restart();
    let order = desk.place(json!({ "symbol": "SPY", "side": "buy", "type": "market", "size": "99" }));
    assert_eq!(desk.status(order), (Filled, None));
}

#[test]
fn only_so_many_orders_of_one_user_wait() {
    let mut desk = Desk::funded();
    let limit = json!({ "side": "buy", "type": "limit", "size": "0.01", "price": "1000" });
    let orders: Vec<_> = (0..21).map(|_| desk.place(limit.clone())).collect();
    assert_eq!(desk.status(orders[19]), (Open, None));
    assert_eq!(desk.status(orders[20]), (Rejected, Some(RejectReason::TooManyOpenOrders)));
    desk.cancel(orders[0], ADA);
    let again = desk.place(limit);
    assert_eq!(desk.status(again), (Open, None));
}

#[test]
fn at_one_price_the_first_to_wait_is_the_first_to_fill() {
    let mut desk = Desk::funded();
    let limit = |price: &str| json!({ "side": "buy", "type": "limit", "size": "0.1", "price": price });
    let orders = ["4000", "4100", "4000", "4100"].map(|price| desk.place(limit(price)));
    desk.restart();
    desk.tick("3900", 2);
    let filled: Vec<Uuid> = desk.kept.trades.values().map(|trade| trade.order_id).collect();
    assert_eq!(filled, [orders[1], orders[3], orders[0], orders[2]]);
}

#[test]
fn a_stop_that_waited_before_a_limit_at_one_price_fills_before_it() {
    let mut desk = Desk::funded();
    let stop = desk.place(json!({ "side": "sell", "type": "stop", "size": "0.1", "stop_price": "4000" }));
    let limit = desk.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "4000" }));
    desk.restart();
    desk.tick("4000", 2);
    let filled: Vec<Uuid> = desk.kept.trades.values().map(|trade| trade.order_id).collect();
    assert_eq!(filled, [stop, limit]);
}

#[test]
fn an_alert_places_its_order_once() {
    let mut desk = Desk::funded();
    let order = desk.place_after(json!({ "side": "buy", "type": "market", "size": "1" }), after(None));
    assert_eq!(desk.status(order), (Open, None));
    assert_eq!(desk.purse(), ["4944.95", "5055.05", "2", "0"]);
    desk.restart();
    desk.tick("4000", 2);
    desk.fire(Uuid::from_u128(5));
    assert_eq!(desk.status(order), (Open, None));
    desk.fire(RULE);
    assert_eq!(desk.status(order), (Filled, None));
    assert_eq!(desk.purse(), ["5994", "0", "3", "0"]);
    desk.fire(RULE);
    assert_eq!(desk.kept.trades.len(), 1);
}

#[test]
fn an_order_that_an_alert_places_may_wait_on_for_its_price() {
    let mut desk = Desk::funded();
    let order = desk.place_after(json!({ "side": "buy", "type": "limit", "size": "1", "price": "4500" }), after(None));
    desk.tick("4400", 2);
    desk.tick("4600", 3);
    assert_eq!(desk.status(order), (Open, None), "its price has no meaning before the alert");
    desk.fire(RULE);
    desk.restart();
    assert_eq!(desk.kept.orders[&order].parked, None);
    desk.tick("4500", 4);
    assert_eq!(desk.status(order), (Filled, None));
}

#[test]
fn an_alert_that_ends_takes_its_order_with_it_only_before_it_has_placed_it() {
    let mut desk = Desk::funded();
    let limit = json!({ "side": "buy", "type": "limit", "size": "1", "price": "4500" });
    let waiting = desk.place_after(limit.clone(), after(None));
    desk.end_alert(waiting);
    assert_eq!(desk.status(waiting), (Cancelled, None));
    let placed = desk.place_after(limit.clone(), after(None));
    desk.fire(RULE);
    // Asked for before the firing was known, and come after it.
    desk.end_alert(placed);
    assert_eq!(desk.status(placed), (Open, None));
    desk.restart();
    desk.end_alert(placed);
    assert_eq!(desk.status(placed), (Open, None));
    desk.cancel(placed, ADA);
    assert_eq!(desk.status(placed), (Cancelled, None), "its owner may still take it back");
}

#[test]
fn the_end_of_a_rule_is_the_end_of_its_order() {
    let mut desk = Desk::funded();
    let order = desk.place_after(json!({ "side": "sell", "type": "market", "size": "1" }), after(Some(100)));
    desk.restart();
    desk.tick_of("SPY", "200", 3_700);
    assert_eq!(desk.status(order), (Open, None), "a firing may still be on its way");
    desk.tick_of("SPY", "200", 3_701);
    assert_eq!((desk.status(order), desk.purse()[2].as_str()), ((Expired, None), "2"));
    desk.fire(RULE);
    assert!(desk.kept.trades.is_empty());
}

#[test]
fn a_firing_that_an_engine_far_behind_tells_late_finds_its_order() {
    let mut desk = Desk::funded();
    let order = desk.place_after(json!({ "side": "sell", "type": "market", "size": "1" }), after(Some(100)));
    desk.tick("5000", 1_000);
    desk.fire(RULE);
    assert_eq!(desk.status(order), (Filled, None));
}

#[test]
fn the_tick_that_an_order_was_decided_after_does_not_depend_on_restarts() {
    let decided_after = |restart: bool| {
        let mut desk = Desk::funded();
        desk.pass();
        if restart {
            desk.restart();
        }
        let order = desk.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "9000" }));
        desk.kept.orders[&order].tick_sequence
    };
    assert_eq!([decided_after(false), decided_after(true)], [2, 2]);
}

#[test]
fn an_open_order_whose_row_is_missing_is_named_and_not_left_out() {
    let mut desk = Desk::funded();
    let order = desk.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "9000" }));
    let error = Book::recall(desk.kept.memory(&HashMap::new()), POLICY, 1).expect_err("an order is missing");
    assert!(error.to_string().contains(&format!("order {order} is open, and its row")), "{error}");
}

#[test]
fn every_total_is_zero() {
    let mut desk = Desk::funded();
    for terms in [
        json!({ "side": "buy", "type": "market", "funds": "33.33" }),
        json!({ "side": "sell", "type": "market", "size": "0.33333333" }),
        json!({ "side": "buy", "type": "limit", "size": "0.7", "price": "4000.01" }),
    ] {
        desk.place(terms);
        assert!(desk.totals().iter().all(Decimal::is_zero), "{:?}", desk.totals());
    }
}
