//! Single decisions of the order book.

use std::collections::HashMap;

use events::{
    OrderStatus::{Cancelled, Expired, Filled, Open, Rejected},
    RejectReason,
    order::AlertTrigger,
};
use ledger::order_book::{OrderBook, OrderEvent, PriceAge};
use market_data::StoredTick;
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use crate::harness::{ADA, Harness, POLICY, deposit, second};

const RULE: Uuid = Uuid::from_u128(0x70);

fn after(expires_at: Option<i64>) -> Option<AlertTrigger> {
    Some(AlertTrigger { rule_id: RULE, expires_at: expires_at.map(second) })
}

#[test]
fn a_market_buy_fills_at_the_latest_price_plus_half_the_spread() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "buy", "type": "market", "size": "0.5" }));
    assert_eq!(harness.status(order), (Filled, None));
    // 0.5 × 5,000 × 1.0005 = 2,501.25, and a tenth of a percent of that is 2.50125, rounded up.
    assert_eq!(harness.balances(), ["7496.24", "0", "2.5", "0"]);
    let trade = &harness.store.trades.values().next().expect("a trade");
    assert_eq!((trade.price.to_string(), trade.quote_amount.to_string()), ("5002.5".into(), "2501.25".into()));
    assert_eq!((trade.fee.to_string(), trade.tick_sequence, trade.tick_id.as_str()), ("2.51".into(), 1, "1"));
    assert_eq!(harness.store.balance("fees", None, "USD").to_string(), "2.51");
    assert_eq!(harness.store.balance("house", None, "USD").to_string(), "2501.25");
    assert!(
        matches!(&harness.events[..], [OrderEvent::Traded(_), OrderEvent::Updated(update)] if update.revision == 1)
    );
}

#[test]
fn a_market_sell_gets_half_the_spread_less() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "sell", "type": "market", "size": "1" }));
    assert_eq!(harness.status(order), (Filled, None));
    // 5,000 × 0.9995 = 4,997.50, less a fee of 5.00 (4.9975).
    assert_eq!(harness.balances(), ["14992.5", "0", "1", "0"]);
}

#[test]
fn a_market_buy_with_funds_never_spends_more() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "buy", "type": "market", "funds": "100" }));
    assert_eq!(harness.status(order), (Filled, None));
    let trade = harness.store.trades.values().next().expect("a trade");
    assert_eq!((trade.quote_amount + trade.fee).to_string(), "100.00");
    assert_eq!(trade.size.to_string(), "0.01997001");
}

#[test]
fn a_limit_waits_for_its_price_and_fills_at_the_price_of_the_tick() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "buy", "type": "limit", "size": "1", "price": "4900" }));
    assert_eq!(harness.status(order), (Open, None));
    assert_eq!(harness.balances(), ["5095.1", "4904.9", "2", "0"]);
    harness.restart();
    harness.tick("4900.01", 2);
    assert_eq!(harness.status(order), (Open, None));
    harness.tick("4800", 3);
    assert_eq!(harness.status(order), (Filled, None));
    assert_eq!(harness.balances(), ["5195.2", "0", "3", "0"]);
}

#[test]
fn a_limit_that_the_price_meets_already_fills_at_once() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "4000" }));
    assert_eq!(harness.status(order), (Filled, None));
    assert_eq!(harness.balances(), ["14995", "0", "1", "0"]);
}

#[test]
fn an_ioc_limit_that_cannot_fill_at_once_expires() {
    let mut harness = Harness::funded();
    let ioc = json!({ "side": "buy", "type": "limit", "size": "1", "price": "4000", "time_in_force": "ioc" });
    let order = harness.place(ioc);
    assert_eq!((harness.status(order), harness.balances()[1].as_str()), ((Expired, None), "0"));
    assert!(harness.store.postings.iter().all(|posting| posting.kind == "deposit"));
}

#[test]
fn a_stop_fills_at_the_market_price_and_may_need_more_than_its_hold() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "buy", "type": "stop", "size": "1", "stop_price": "5100" }));
    assert_eq!(harness.balances(), ["4843.84", "5156.16", "2", "0"]); // 5,100 × 1.01 = 5,151.00 and 5.151.
    harness.tick("5500", 2);
    assert_eq!(harness.status(order), (Filled, None));
    assert_eq!(harness.balances(), ["4491.74", "0", "3", "0"]); // 5,502.75 and 5.51.
    let other = harness.place(json!({ "side": "buy", "type": "stop", "size": "0.8", "stop_price": "5510" }));
    harness.tick("6000", 3);
    assert_eq!(harness.status(other), (Rejected, Some(RejectReason::InsufficientFunds)));
    assert_eq!(harness.balances(), ["4491.74", "0", "3", "0"]);
}

#[test]
fn a_stop_loss_sells_below() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "sell", "type": "stop", "size": "2", "stop_price": "4500" }));
    assert_eq!(harness.balances()[2..], ["0", "2"]);
    harness.tick("4400", 2);
    assert_eq!(harness.status(order), (Filled, None));
    assert_eq!(harness.balances(), ["18786.8", "0", "0", "0"]); // 8,795.60 less 8.80.
}

#[test]
fn an_impossible_order_is_rejected_with_the_reason() {
    for (terms, why) in [
        (json!({ "side": "buy", "type": "market", "size": "2" }), RejectReason::InsufficientFunds),
        (
            json!({ "side": "sell", "type": "limit", "size": "2.00000001", "price": "9000" }),
            RejectReason::InsufficientFunds,
        ),
        (json!({ "side": "buy", "type": "market", "size": "0.000000001" }), RejectReason::TooPrecise),
        (json!({ "side": "buy", "type": "market", "funds": "1.001" }), RejectReason::TooPrecise),
        (json!({ "side": "buy", "type": "market", "funds": "0.01" }), RejectReason::TooSmall),
        (json!({ "side": "sell", "type": "market", "size": "0.00000199" }), RejectReason::TooSmall),
        (json!({ "side": "sell", "type": "limit", "size": "0.00000299", "price": "5000" }), RejectReason::TooSmall),
        (json!({ "side": "sell", "type": "stop", "size": "0.000002", "stop_price": "4000" }), RejectReason::TooSmall),
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
        let mut harness = Harness::funded();
        let before = harness.balances();
        let order = harness.place(terms.clone());
        assert_eq!(harness.status(order), (Rejected, Some(why)), "{terms}");
        assert_eq!(harness.balances(), before);
        harness.restart();
    }
}

#[test]
fn a_price_that_is_old_when_the_order_is_stored_fills_nothing() {
    let mut harness = Harness::funded();
    harness.now = 60;
    let in_time = harness.place(json!({ "side": "sell", "type": "market", "size": "0.1" }));
    assert_eq!(harness.status(in_time), (Filled, None));
    // No other symbol has a newer price either: the whole feed is dead.
    harness.now = 61;
    harness.restart();
    let order = harness.place(json!({ "side": "sell", "type": "market", "size": "0.1" }));
    assert_eq!(harness.status(order), (Rejected, Some(RejectReason::StalePrice)));
    let limit = harness.place(json!({ "side": "sell", "type": "limit", "size": "0.1", "price": "1" }));
    assert_eq!(harness.status(limit), (Open, None));
    let after_alert = harness.place_after(json!({ "side": "sell", "type": "market", "size": "0.1" }), after(None));
    harness.fire(RULE);
    assert_eq!(harness.status(after_alert), (Rejected, Some(RejectReason::StalePrice)));
}

#[test]
fn a_tick_that_is_old_when_it_is_stored_fills_no_resting_order() {
    let mut harness = Harness::funded();
    let waits = harness.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "4000" }));
    harness.tick_stored("BTC-USD", "3000", 100, 161);
    assert_eq!(harness.status(waits), (Open, None));
    harness.tick_stored("BTC-USD", "3000", 101, 161);
    assert_eq!(harness.status(waits), (Filled, None));
}

#[test]
fn in_a_replay_the_newest_tick_says_how_old_a_price_is() {
    let mut harness = Harness::funded();
    harness.policy.price_age = PriceAge::Event;
    harness.restart();
    harness.now = 1_000_000;
    let waits = harness.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "4000" }));
    harness.tick_stored("SPY", "200", 60, 1_000_000);
    let in_time = harness.place(json!({ "side": "sell", "type": "market", "size": "0.1" }));
    assert_eq!(harness.status(in_time), (Filled, None));
    harness.tick_stored("SPY", "200", 61, 1_000_000);
    let order = harness.place(json!({ "side": "sell", "type": "market", "size": "0.1" }));
    assert_eq!(harness.status(order), (Rejected, Some(RejectReason::StalePrice)));
    // A tick that is itself too old fills nothing either; a younger one does.
    harness.tick_stored("BTC-USD", "3000", 0, 1_000_000);
    assert_eq!(harness.status(waits).0, Open);
    harness.tick_stored("BTC-USD", "3000", 2, 1_000_000);
    assert_eq!(harness.status(waits).0, Filled);
}

#[test]
fn a_late_tick_and_one_from_the_future_change_nothing() {
    let mut harness = Harness::funded();
    harness.tick("5200", 10);
    harness.tick("4000", 9);
    let future = crate::harness::tick("BTC-USD", "1", 10_000);
    harness.book.apply_tick(&StoredTick::of(&future, "1", 4, 0), second(11));
    let order = harness.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "5200" }));
    assert_eq!(harness.status(order), (Filled, None));
}

#[test]
fn ticks_of_other_venues_never_price_an_order() {
    let mut harness = Harness::empty();
    harness.book.apply_deposit(&deposit(1, ADA, "BTC", "9")).expect("posted");
    let sell = |price: &str| json!({ "side": "sell", "type": "limit", "size": "1", "price": price });
    let elsewhere =
        harness.place(json!({ "venue": "two", "side": "sell", "type": "limit", "size": "1", "price": "6" }));
    let early = harness.place(sell("5"));
    let market = |venue: serde_json::Value| json!({ "venue": venue, "side": "sell", "type": "market", "size": "1" });
    harness.tick_at("one", "4", 1);
    let not_quoted = harness.place(market("two".into()));
    assert_eq!(harness.status(not_quoted), (Rejected, Some(RejectReason::NoPrice)));
    harness.restart();
    // The first venue is the primary one, whatever the others say, and also after a restart.
    harness.tick_at("two", "9", 1);
    assert_eq!((harness.status(early), harness.status(elsewhere)), ((Open, None), (Filled, None)));
    let late = harness.place(sell("5.5"));
    harness.tick_at("two", "9", 2);
    assert_eq!(harness.status(late), (Open, None));
    harness.restart();
    let tick_price = |harness: &Harness, order: Uuid| {
        let trade = harness.store.trades.values().find(|trade| trade.order_id == order);
        trade.expect("a trade").tick_price.to_string()
    };
    for (venue, expected) in [(serde_json::Value::Null, "4"), ("one".into(), "4"), ("two".into(), "9")] {
        let order = harness.place(market(venue));
        assert_eq!(tick_price(&harness, order), expected);
    }
    harness.tick_at("one", "6", 3);
    assert_eq!((harness.status(early), harness.status(late)), ((Filled, None), (Filled, None)));
    assert_eq!(tick_price(&harness, elsewhere), "9");
}

#[test]
fn only_the_owner_cancels_an_order_and_only_once() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "9000" }));
    harness.cancel(order, Uuid::from_u128(5));
    assert_eq!(harness.status(order), (Open, None));
    harness.cancel(order, ADA);
    harness.cancel(order, ADA);
    assert_eq!(harness.status(order), (Cancelled, None));
    assert_eq!(harness.balances(), ["10000", "0", "2", "0"]);
    harness.tick("9500", 2);
    assert!(harness.store.trades.is_empty());
}

#[test]
fn a_repeated_deposit_changes_nothing() {
    let mut harness = Harness::empty();
    for _ in 0..2 {
        harness.book.apply_deposit(&deposit(1, ADA, "BTC", "1")).expect("posted");
    }
    harness.save();
    assert_eq!(harness.balances()[2], "1");
    for (asset, amount) in [("XYZ", "1"), ("USD", "0.001"), ("USD", "0")] {
        harness.book.apply_deposit(&deposit(3, ADA, asset, amount)).expect_err(asset);
    }
}

#[test]
fn a_balance_never_exceeds_its_limit() {
    let mut harness = Harness::funded();
    let most = |number| deposit(number, ADA, "SPY", "99999999999999");
    for number in 10..110 {
        harness.book.apply_deposit(&most(number)).expect("posted");
    }
    harness.book.apply_deposit(&most(110)).expect_err("too much");
    harness.tick_of("SPY", "1", 1);
    let waits =
        harness.place(json!({ "symbol": "SPY", "side": "sell", "type": "limit", "size": "5000", "price": "9" }));
    let order = harness.place(json!({ "symbol": "SPY", "side": "buy", "type": "market", "size": "100" }));
    assert_eq!(harness.status(order), (Rejected, Some(RejectReason::TooLarge)));
    harness.cancel(waits, ADA);
    harness.restart();
    let order = harness.place(json!({ "symbol": "SPY", "side": "buy", "type": "market", "size": "99" }));
    assert_eq!(harness.status(order), (Filled, None));
}

#[test]
fn one_user_may_have_only_so_many_open_orders() {
    let mut harness = Harness::funded();
    let limit = json!({ "side": "buy", "type": "limit", "size": "0.01", "price": "1000" });
    let orders: Vec<_> = (0..21).map(|_| harness.place(limit.clone())).collect();
    assert_eq!(harness.status(orders[19]), (Open, None));
    assert_eq!(harness.status(orders[20]), (Rejected, Some(RejectReason::TooManyOpenOrders)));
    harness.cancel(orders[0], ADA);
    let again = harness.place(limit);
    assert_eq!(harness.status(again), (Open, None));
}

#[test]
fn at_one_price_the_first_to_wait_is_the_first_to_fill() {
    let mut harness = Harness::funded();
    let limit = |price: &str| json!({ "side": "buy", "type": "limit", "size": "0.1", "price": price });
    let orders = ["4000", "4100", "4000", "4100"].map(|price| harness.place(limit(price)));
    harness.restart();
    harness.tick("3900", 2);
    let filled: Vec<Uuid> = harness.store.trades.values().map(|trade| trade.order_id).collect();
    assert_eq!(filled, [orders[1], orders[3], orders[0], orders[2]]);
}

#[test]
fn a_stop_that_waited_before_a_limit_at_one_price_fills_before_it() {
    let mut harness = Harness::funded();
    let stop = harness.place(json!({ "side": "sell", "type": "stop", "size": "0.1", "stop_price": "4000" }));
    let limit = harness.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "4000" }));
    harness.restart();
    harness.tick("4000", 2);
    let filled: Vec<Uuid> = harness.store.trades.values().map(|trade| trade.order_id).collect();
    assert_eq!(filled, [stop, limit]);
}

#[test]
fn an_alert_places_its_order_once() {
    let mut harness = Harness::funded();
    let order = harness.place_after(json!({ "side": "buy", "type": "market", "size": "1" }), after(None));
    assert_eq!(harness.status(order), (Open, None));
    assert_eq!(harness.balances(), ["4944.95", "5055.05", "2", "0"]);
    harness.restart();
    harness.tick("4000", 2);
    let other_rule = Uuid::from_u128(5);
    assert_eq!([RULE, other_rule].map(|rule| harness.book.awaits_alert(rule)), [true, false]);
    harness.fire(other_rule);
    assert_eq!(harness.status(order), (Open, None));
    harness.fire(RULE);
    assert_eq!(harness.status(order), (Filled, None));
    assert!(!harness.book.awaits_alert(RULE), "its next alert places nothing");
    assert_eq!(harness.balances(), ["5993.99", "0", "3", "0"]);
    harness.fire(RULE);
    assert_eq!(harness.store.trades.len(), 1);
}

#[test]
fn an_order_that_an_alert_places_may_then_wait_for_its_price() {
    let mut harness = Harness::funded();
    let order =
        harness.place_after(json!({ "side": "buy", "type": "limit", "size": "1", "price": "4500" }), after(None));
    harness.tick("4400", 2);
    harness.tick("4600", 3);
    assert_eq!(harness.status(order), (Open, None), "its price has no meaning before the alert");
    harness.fire(RULE);
    harness.restart();
    assert_eq!(harness.store.orders[&order].awaiting_alert, None);
    harness.tick("4500", 4);
    assert_eq!(harness.status(order), (Filled, None));
}

#[test]
fn the_end_of_an_alert_cancels_its_order_only_before_it_has_placed_it() {
    let mut harness = Harness::funded();
    let limit = json!({ "side": "buy", "type": "limit", "size": "1", "price": "4500" });
    let waiting = harness.place_after(limit.clone(), after(None));
    harness.end_alert(waiting);
    assert_eq!(harness.status(waiting), (Cancelled, None));
    let placed = harness.place_after(limit.clone(), after(None));
    harness.fire(RULE);
    // The end was requested before the firing was known, and is applied after it.
    harness.end_alert(placed);
    assert_eq!(harness.status(placed), (Open, None));
    harness.restart();
    harness.end_alert(placed);
    assert_eq!(harness.status(placed), (Open, None));
    harness.cancel(placed, ADA);
    assert_eq!(harness.status(placed), (Cancelled, None), "its owner may still cancel it");
}

#[test]
fn the_expiry_of_a_rule_expires_its_order() {
    let mut harness = Harness::funded();
    let order = harness.place_after(json!({ "side": "sell", "type": "market", "size": "1" }), after(Some(100)));
    harness.restart();
    harness.tick_of("SPY", "200", 3_700);
    assert_eq!(harness.status(order), (Open, None), "a firing may still be on its way");
    harness.tick_of("SPY", "200", 3_701);
    assert_eq!((harness.status(order), harness.balances()[2].as_str()), ((Expired, None), "2"));
    harness.fire(RULE);
    assert!(harness.store.trades.is_empty());
}

#[test]
fn a_late_firing_still_finds_its_order() {
    let mut harness = Harness::funded();
    let order = harness.place_after(json!({ "side": "sell", "type": "market", "size": "1" }), after(Some(100)));
    harness.tick("5000", 1_000);
    harness.fire(RULE);
    assert_eq!(harness.status(order), (Filled, None));
}

#[test]
fn the_tick_sequence_of_a_decision_does_not_depend_on_restarts() {
    let decided_after = |restart: bool| {
        let mut harness = Harness::funded();
        harness.skip_message();
        if restart {
            harness.restart();
        }
        let order = harness.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "9000" }));
        harness.store.orders[&order].tick_sequence
    };
    assert_eq!([decided_after(false), decided_after(true)], [2, 2]);
}

#[test]
fn an_open_order_whose_row_is_missing_is_named_and_not_left_out() {
    let mut harness = Harness::funded();
    let order = harness.place(json!({ "side": "sell", "type": "limit", "size": "1", "price": "9000" }));
    let error = OrderBook::restore(harness.store.load(&HashMap::new()), POLICY, 1).expect_err("an order is missing");
    assert!(error.to_string().contains(&format!("order {order} is open, and its row")), "{error}");
}

#[test]
fn every_total_is_zero() {
    let mut harness = Harness::funded();
    for terms in [
        json!({ "side": "buy", "type": "market", "funds": "33.33" }),
        json!({ "side": "sell", "type": "market", "size": "0.33333333" }),
        json!({ "side": "buy", "type": "limit", "size": "0.7", "price": "4000.01" }),
    ] {
        harness.place(terms);
        assert!(harness.totals().iter().all(Decimal::is_zero), "{:?}", harness.totals());
    }
}
