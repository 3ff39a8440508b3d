//! An order book with a store in memory, and short functions to drive it.

use std::collections::HashMap;

use events::{
    AlertFired, DepositRequested, OrderCancelRequested, OrderPlaced, OrderRequest, OrderStatus, Period, RejectReason,
    Symbol, Tick, Timestamp, Venue,
    order::AlertTrigger,
    tick::{TickKind, TickSource},
};
use ledger::{
    amounts::Rates,
    order_book::{OrderBook, OrderEvent, Policy, PriceAge},
};
use market_data::StoredTick;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::memory_store::{self, MemoryStore};

pub(crate) const POLICY: Policy = Policy {
    rates: Rates { fee_bp: 10, spread_bp: 10, slippage_bp: 100 },
    max_price_age: Period::seconds(60),
    price_age: PriceAge::Stored,
    max_open_orders: 20,
};

/// Returns a time, in seconds after the first one.
pub(crate) fn second(second: i64) -> Timestamp {
    Timestamp::from_micros(1_500_000_000_000_000 + second * 1_000_000).expect("a time")
}

pub(crate) fn tick(symbol: &str, price: &str, at: i64) -> Tick {
    tick_at("test", symbol, price, at)
}

/// Returns a tick at a venue.
pub(crate) fn tick_at(venue: &str, symbol: &str, price: &str, at: i64) -> Tick {
    Tick {
        venue: Venue::parse(venue).expect("a venue"),
        symbol: Symbol::parse(symbol).expect("a symbol"),
        price: price.parse().expect("a price"),
        size: None,
        at: second(at),
        received_at: second(at),
        kind: TickKind::Trade,
        source: TickSource::File,
    }
}

pub(crate) fn deposit(number: u128, user: Uuid, asset: &str, amount: &str) -> DepositRequested {
    DepositRequested {
        deposit_id: Uuid::from_u128(number),
        user_id: user,
        asset: asset.parse().expect("an asset"),
        amount: amount.parse().expect("an amount"),
        requested_at: second(0),
    }
}

/// Returns the first firing of a rule.
pub(crate) fn alert(rule_id: Uuid) -> AlertFired {
    let alert = json!({
        "id": format!("{rule_id}-1"), "rule_id": rule_id, "number": 1, "symbol": "BTC-USD", "venue": "test",
        "condition": {"price": {"above": "1"}}, "fired_at": second(2), "price": "5000", "reference_price": null,
        "reference_at": null, "change_percent": null, "trade_id": "1", "stream_sequence": 1, "stream_index": 0, "targets": [],
    });
    serde_json::from_value(alert).expect("an alert")
}

/// An order book with its store.
pub(crate) struct Harness {
    pub(crate) book: OrderBook,
    pub(crate) store: MemoryStore,
    pub(crate) terms: HashMap<Uuid, OrderRequest>,
    pub(crate) events: Vec<OrderEvent>,
    ticks: u64,
    orders: u128,
    /// The time at which the broker stores orders and alerts, in seconds.
    pub(crate) now: i64,
    /// The policy of the next restart.
    pub(crate) policy: Policy,
}

pub(crate) const ADA: Uuid = Uuid::from_u128(0xada);

impl Harness {
    /// Returns a harness with a user who has 10,000 USD and 2 BTC, and a price of 5,000 USD per BTC.
    pub(crate) fn funded() -> Self {
        let mut harness = Self::empty();
        for (number, asset, amount) in [(1, "USD", "10000.00"), (2, "BTC", "2")] {
            harness.book.apply_deposit(&deposit(number, ADA, asset, amount)).expect("posted");
        }
        harness.tick("5000", 0);
        harness
    }

    pub(crate) fn empty() -> Self {
        let store = MemoryStore::default();
        let book = OrderBook::restore(store.load(&HashMap::new()), POLICY, 0).expect("a book");
        Self { book, store, terms: HashMap::new(), events: Vec::new(), ticks: 0, orders: 0, now: 1, policy: POLICY }
    }

    /// Saves the changes and restores the book from the saved state.
    pub(crate) fn restart(&mut self) {
        self.save();
        self.book = OrderBook::restore(self.store.load(&self.terms), self.policy, self.ticks).expect("a book");
    }

    pub(crate) fn save(&mut self) {
        let changes = self.book.take_changes();
        for trade in &changes.trades {
            assert_eq!(trade.tick_id, trade.tick_sequence.to_string(), "{trade:?}");
        }
        self.store.save(changes);
        self.events.extend(self.book.take_events());
    }

    pub(crate) fn tick(&mut self, price: &str, at: i64) {
        self.tick_of("BTC-USD", price, at);
    }

    /// Applies a tick that is stored as soon as it is made; orders are stored after it.
    pub(crate) fn tick_of(&mut self, symbol: &str, price: &str, at: i64) {
        self.now = self.now.max(at);
        self.tick_stored(symbol, price, at, at);
    }

    /// Applies a tick that was made at one time and stored at another.
    pub(crate) fn tick_stored(&mut self, symbol: &str, price: &str, at: i64, stored_at: i64) {
        self.ticks += 1;
        let tick = tick(symbol, price, at);
        self.book.apply_tick(&StoredTick::of(&tick, &self.ticks.to_string(), self.ticks, 0), second(stored_at));
        self.save();
    }

    /// Applies a tick of BTC-USD at a venue.
    pub(crate) fn tick_at(&mut self, venue: &str, price: &str, at: i64) {
        self.ticks += 1;
        let tick = tick_at(venue, "BTC-USD", price, at);
        self.book.apply_tick(&StoredTick::of(&tick, &self.ticks.to_string(), self.ticks, 0), second(at));
        self.save();
    }

    /// Applies a message of stream `TICKS` that is no tick.
    pub(crate) fn skip_message(&mut self) {
        self.ticks += 1;
        self.book.advance_ticks(self.ticks);
    }

    /// Places an order of Ada's in BTC-USD and returns its id.
    pub(crate) fn place(&mut self, terms: Value) -> Uuid {
        self.place_after(terms, None)
    }

    pub(crate) fn place_after(&mut self, terms: Value, after_alert: Option<AlertTrigger>) -> Uuid {
        self.orders += 1;
        let order_id = Uuid::from_u128(1_000 + self.orders);
        let mut order = json!({ "symbol": "BTC-USD" });
        order.as_object_mut().expect("an object").extend(terms.as_object().expect("an object").clone());
        let terms: OrderRequest = serde_json::from_value(order).expect("terms");
        self.terms.insert(order_id, terms.clone());
        self.book
            .place(OrderPlaced { order_id, user_id: ADA, terms, after_alert, placed_at: second(1) }, second(self.now));
        self.save();
        order_id
    }

    pub(crate) fn cancel(&mut self, order_id: Uuid, user_id: Uuid) {
        self.request_cancel(order_id, user_id, false);
    }

    /// Ends the alert that was to place an order of Ada's.
    pub(crate) fn end_alert(&mut self, order_id: Uuid) {
        self.request_cancel(order_id, ADA, true);
    }

    fn request_cancel(&mut self, order_id: Uuid, user_id: Uuid, only_while_waiting_for_alert: bool) {
        let symbol = self.terms[&order_id].symbol.clone();
        let (request_id, requested_at) = (Uuid::from_u128(9), second(1));
        self.book.cancel(&OrderCancelRequested {
            request_id,
            order_id,
            user_id,
            symbol,
            requested_at,
            only_while_waiting_for_alert,
        });
        self.save();
    }

    pub(crate) fn fire(&mut self, rule_id: Uuid) {
        let alert = alert(rule_id);
        self.book.apply_alert(&alert, second(self.now));
        self.save();
    }

    pub(crate) fn status(&self, order: Uuid) -> (OrderStatus, Option<RejectReason>) {
        let state = &self.store.orders[&order];
        (state.status, state.reason)
    }

    /// Returns Ada's balances: available USD, held USD, available BTC, held BTC.
    pub(crate) fn balances(&self) -> [String; 4] {
        [("available", "USD"), ("held", "USD"), ("available", "BTC"), ("held", "BTC")]
            .map(|(kind, asset)| self.store.balance(kind, Some(ADA), asset).to_string())
    }

    /// Returns the sum of all balances of each asset.
    pub(crate) fn totals(&self) -> Vec<Decimal> {
        let of =
            |asset: &str| self.store.accounts.values().filter(|(row, _)| row.asset == asset).map(|(_, b)| *b).sum();
        memory_store::assets().iter().map(|(asset, _)| of(asset.as_str())).collect()
    }
}
