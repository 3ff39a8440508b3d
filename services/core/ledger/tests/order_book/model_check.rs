//! Long random runs of the order book, with crashes between any two steps, beside a simple model.

use std::collections::HashMap;

use events::{
    AlertFired, DepositRequested, OrderCancelRequested, OrderPlaced, OrderRequest, OrderStatus, Symbol, Tick,
    Timestamp, order::AlertTrigger,
};
use ledger::order_book::OrderBook;
use market_data::StoredTick;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use crate::{
    harness::{POLICY, alert, deposit, second, tick_at},
    memory_store::{self, MemoryStore},
    model::Model,
};

const RUNS: u64 = 50;
const STEPS: usize = 2_000;
const USERS: u128 = 4;
const VENUES: [&str; 2] = ["one", "two"];

/// An event of one of the streams.
#[derive(Debug, Clone)]
enum Step {
    Deposit(DepositRequested),
    Place(OrderPlaced, Timestamp),
    Cancel(OrderCancelRequested),
    Alert(Box<AlertFired>, Timestamp),
    Tick(Tick, u64, Timestamp),
}

struct Run {
    random: StdRng,
    book: OrderBook,
    store: MemoryStore,
    model: Model,
    terms: HashMap<Uuid, OrderRequest>,
    placed: Vec<(Uuid, Uuid, Symbol)>,
    /// The rules that place orders, each with its order.
    rules: Vec<(Uuid, Uuid)>,
    /// The events that are applied and not saved.
    unsaved: Vec<Step>,
    ticks: u64,
    saved_ticks: u64,
    now: i64,
    number: u128,
    deposited: HashMap<(Uuid, String), Decimal>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            book: OrderBook::restore(MemoryStore::default().load(&HashMap::new()), POLICY, 0).expect("a book"),
            store: MemoryStore::default(),
            model: Model::default(),
            terms: HashMap::new(),
            placed: Vec::new(),
            rules: Vec::new(),
            unsaved: Vec::new(),
            ticks: 0,
            saved_ticks: 0,
            now: 0,
            number: 0,
            deposited: HashMap::new(),
        }
    }

    fn next(&mut self) -> Step {
        self.number += 1;
        let user = Uuid::from_u128(1 + self.random.random_range(0..USERS));
        match self.random.random_range(0..100) {
            0..5 => self.deposit(user),
            5..45 => self.order(user),
            45..55 if !self.placed.is_empty() => self.cancellation(user),
            55..60 if !self.rules.is_empty() => self.firing(),
            _ => {
                self.now += match self.random.random_range(0..400) {
                    0 => 4_000,
                    1..8 => 70,
                    _ => self.random.random_range(0..5),
                };
                let late = if self.random.random_ratio(1, 20) { 3 } else { 0 };
                let (symbol, price) = self.price();
                self.ticks += 1;
                let venue = VENUES[self.random.random_range(0..2)];
                let tick = tick_at(venue, symbol, &price, (self.now - late).max(0));
                // At times a feed is so far behind that its newest tick is old when it is stored.
                let delay = if self.random.random_ratio(1, 20) { self.random.random_range(50..70) } else { 0 };
                Step::Tick(tick, self.ticks, second(self.now + delay))
            }
        }
    }

    /// Returns a price around 50, so that ticks reach orders and small funds buy small sizes.
    fn price(&mut self) -> (&'static str, String) {
        let symbol = ["BTC-USD", "ETH-USD", "SPY"][self.random.random_range(0..3)];
        let places = self.random.random_range(0..4);
        (symbol, Decimal::new(self.random.random_range(45..55) * 10_i64.pow(places) + 1, places).to_string())
    }

    fn deposit(&mut self, user: Uuid) -> Step {
        let asset = ["USD", "BTC", "ETH", "SPY"][self.random.random_range(0..4)];
        let amount = self.random.random_range(1..2_000_i64).to_string();
        *self.deposited.entry((user, asset.to_owned())).or_default() += amount.parse::<Decimal>().expect("a number");
        Step::Deposit(deposit(self.number, user, asset, &amount))
    }

    fn order(&mut self, user: Uuid) -> Step {
        let (symbol, price) = self.price();
        let side = ["buy", "sell"][self.random.random_range(0..2)];
        let places = if symbol == "SPY" { 0 } else { self.random.random_range(0..7) };
        let size = Decimal::new(self.random.random_range(1..20), places).to_string();
        let funds = Decimal::new(self.random.random_range(1..50_000), 2).to_string();
        let mut terms = match self.random.random_range(0..6) {
            0 => json!({ "type": "market", "size": size }),
            1 if side == "buy" => json!({ "type": "market", "funds": funds }),
            1 | 2 => json!({ "type": "stop", "size": size, "stop_price": price }),
            3 => json!({ "type": "limit", "size": size, "price": price, "time_in_force": "ioc" }),
            _ => json!({ "type": "limit", "size": size, "price": price }),
        };
        terms["symbol"] = symbol.into();
        terms["side"] = side.into();
        if self.random.random_ratio(1, 3) {
            terms["venue"] = VENUES[self.random.random_range(0..2)].into();
        }
        let terms: OrderRequest = serde_json::from_value(terms).expect("terms");
        let order_id = Uuid::from_u128(self.number);
        self.placed.push((order_id, user, terms.symbol.clone()));
        self.terms.insert(order_id, terms.clone());
        let after_alert = self.random.random_ratio(1, 6).then(|| self.rule(order_id));
        Step::Place(
            OrderPlaced { order_id, user_id: user, terms, after_alert, placed_at: second(self.now) },
            self.stored(),
        )
    }

    /// Returns the time at which an order or an alert is stored, at times long after the newest tick.
    fn stored(&mut self) -> Timestamp {
        let delay = if self.random.random_ratio(1, 20) { self.random.random_range(50..70) } else { 0 };
        second(self.now + delay)
    }

    fn rule(&mut self, order_id: Uuid) -> AlertTrigger {
        let rule_id = Uuid::from_u128(self.number << 64);
        self.rules.push((rule_id, order_id));
        let ends = self.random.random_ratio(1, 2);
        let expires_at = ends.then(|| second(self.now + self.random.random_range(0..600)));
        AlertTrigger { rule_id, expires_at }
    }

    /// Returns a firing of one of the last rules, which may have fired before.
    fn firing(&mut self) -> Step {
        let recent = self.rules.len().min(10);
        let index = self.rules.len() - 1 - self.random.random_range(0..recent);
        Step::Alert(alert(self.rules[index].0).into(), self.stored())
    }

    /// Returns a cancellation, at times one of another user's order.
    fn cancellation(&mut self, somebody: Uuid) -> Step {
        let recent = self.placed.len().min(30);
        let index = self.placed.len() - 1 - self.random.random_range(0..recent);
        let (order_id, owner, symbol) = self.placed[index].clone();
        let user_id = if self.random.random_ratio(1, 10) { somebody } else { owner };
        let request_id = Uuid::from_u128(self.number);
        Step::Cancel(OrderCancelRequested {
            request_id,
            order_id,
            user_id,
            symbol,
            requested_at: second(self.now),
            only_while_waiting_for_alert: false,
        })
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Deposit(request) => self.book.apply_deposit(request).expect("posted"),
            Step::Place(order, stored_at) => self.book.place(order.clone(), *stored_at),
            Step::Cancel(request) => self.book.cancel(request),
            Step::Alert(alert, stored_at) => self.book.apply_alert(alert, *stored_at),
            Step::Tick(tick, sequence, stored_at) => {
                self.book.apply_tick(&StoredTick::of(tick, "1", *sequence, 0), *stored_at);
            }
        }
    }

    fn step(&mut self) {
        let step = self.next();
        match &step {
            Step::Deposit(request) => {
                self.model.deposit(request.user_id, request.asset.as_str(), request.amount.decimal());
            }
            Step::Place(order, stored_at) => self.model.place(order, *stored_at),
            Step::Cancel(request) => self.model.cancel(request),
            Step::Alert(alert, stored_at) => self.model.fire(alert, *stored_at),
            Step::Tick(tick, _, stored_at) => self.model.tick(tick, *stored_at),
        }
        self.apply(&step);
        self.unsaved.push(step);
        if self.random.random_ratio(1, 12) {
            self.crash();
        }
        if self.random.random_ratio(1, 3) {
            self.save();
        }
    }

    /// Restores the book from the saved state and applies the unsaved events again.
    fn crash(&mut self) {
        self.book = OrderBook::restore(self.store.load(&self.terms), POLICY, self.saved_ticks).expect("a book");
        for step in self.unsaved.clone() {
            self.apply(&step);
        }
    }

    fn save(&mut self) {
        self.unsaved.clear();
        self.saved_ticks = self.ticks;
        self.store.save(self.book.take_changes());
        self.book.take_events();
        self.check_money();
        if self.random.random_ratio(1, 20) {
            self.check_orders();
        }
    }

    fn check_orders(&self) {
        for (order, status) in &self.model.statuses {
            assert_eq!(self.store.orders[order].status, *status, "{order}: {:?}", self.terms[order]);
        }
        assert_eq!(self.model.waiting.len(), self.book.open_orders());
    }

    fn check_money(&self) {
        for (asset, _) in memory_store::assets() {
            let all = self.store.accounts.values().filter(|(row, _)| row.asset == asset.as_str());
            assert!(all.map(|(_, balance)| balance).sum::<Decimal>().is_zero(), "{asset}");
        }
        for ((user, asset), (available, held)) in &self.model.balances {
            let balances = ["available", "held"].map(|kind| self.store.balance(kind, Some(*user), asset));
            assert_eq!(balances, [available.normalize(), held.normalize()], "{asset} of {user}");
            assert_eq!(self.explained(*user, asset), balances[0] + balances[1], "{asset} of {user}");
            let open = self
                .store
                .orders
                .values()
                .filter(|state| state.user_id == *user)
                .filter_map(|state| state.held.as_ref());
            let need: Decimal = open.filter(|(held, _)| held.as_str() == asset).map(|(_, amount)| *amount).sum();
            assert_eq!(need.normalize(), balances[1], "holds of {asset} of {user}");
        }
    }

    /// Returns the sum of a user's deposits and trades of an asset.
    fn explained(&self, user: Uuid, asset: &str) -> Decimal {
        let deposits = self.deposited.get(&(user, asset.to_owned())).copied().unwrap_or_default();
        let trades = self.store.trades.values().filter(|trade| trade.user_id == user).map(|trade| {
            let symbol = Symbol::parse(&trade.symbol).expect("a symbol");
            let sign = if trade.side == "buy" { Decimal::ONE } else { -Decimal::ONE };
            match asset {
                _ if symbol.base().as_str() == asset => sign * trade.size,
                _ if symbol.quote().as_str() == asset => -sign * trade.quote_amount - trade.fee,
                _ => Decimal::ZERO,
            }
        });
        (deposits + trades.sum::<Decimal>()).normalize()
    }
}

#[test]
fn a_hundred_thousand_steps_with_crashes_agree_with_the_model() {
    let (mut seen, mut of_rules, mut trades) = (HashMap::<OrderStatus, usize>::new(), HashMap::new(), 0);
    for seed in 0..RUNS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.save();
        run.check_orders();
        run.model.statuses.values().for_each(|status| *seen.entry(*status).or_default() += 1);
        let statuses = run.rules.iter().map(|(_, order)| run.model.statuses[order]);
        statuses.for_each(|status| *of_rules.entry(status).or_default() += 1);
        trades += run.store.trades.len();
    }
    // Runs without fills or rejections would prove nothing.
    for status in [OrderStatus::Filled, OrderStatus::Cancelled, OrderStatus::Expired, OrderStatus::Rejected] {
        assert!(seen.get(&status).is_some_and(|count| *count > 500), "{seen:?}");
        assert!(of_rules.get(&status).is_some_and(|count: &usize| *count > 100), "{of_rules:?}");
    }
    assert_eq!(Some(&trades), seen.get(&OrderStatus::Filled));
}
