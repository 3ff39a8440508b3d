//! A model of the order book, as simple as possible: it looks at every order for every tick and computes with decimals.

use std::{cmp::Ordering, collections::HashMap};

use events::{
    AlertFired, OrderCancelRequested, OrderPlaced, OrderRequest, OrderStatus, Period, Price, Side, Symbol, Tick,
    Timestamp, Venue,
    order_request::{OrderKind, OrderSize, TimeInForce},
};
use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use crate::{harness::POLICY, memory_store};

/// The balances, the prices, and every order with its status.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// The available and the held balance, by user and asset.
    pub(crate) balances: HashMap<(Uuid, String), (Decimal, Decimal)>,
    /// The status of each order.
    pub(crate) statuses: HashMap<Uuid, OrderStatus>,
    /// The open orders in the order in which they became open, each with its held amount.
    pub(crate) waiting: Vec<(OrderPlaced, Decimal)>,
    /// The newest price of each symbol at each venue, in the order in which the venues quoted it first.
    prices: HashMap<Symbol, Vec<(Venue, Price, Timestamp)>>,
    newest: Timestamp,
}

fn basis(points: u32) -> Decimal {
    Decimal::new(points.into(), 4)
}

fn up(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(2, RoundingStrategy::AwayFromZero)
}

/// Returns the notional and its fee, rounded against the customer.
fn notional(side: Side, size: Decimal, price: Decimal) -> (Decimal, Decimal) {
    let value = size * price;
    let fee = up(value * basis(POLICY.rates.fee_bp));
    (if side == Side::Buy { up(value) } else { value.round_dp_with_strategy(2, RoundingStrategy::ToZero) }, fee)
}

/// Returns the largest size that funds buy: whatever part of them is the value, the rest is the fee.
fn affordable(funds: Decimal, price: Decimal, scale: u32) -> Decimal {
    let down = |value: Decimal, places| value.round_dp_with_strategy(places, RoundingStrategy::ToZero);
    let rate = basis(POLICY.rates.fee_bp);
    let value = down(funds / (Decimal::ONE + rate), 2);
    let values = (-3..=2).map(|cents| value + Decimal::new(cents, 2));
    let values = values.filter(|value| *value >= Decimal::ZERO && *value <= funds);
    let sizes = values.map(|value| down((value / price).min((funds - value) / (price * rate)), scale));
    sizes.max().unwrap_or_default()
}

fn size(order: &OrderPlaced) -> Option<Decimal> {
    match order.terms.execution {
        OrderKind::Market(OrderSize::Size(size)) | OrderKind::Limit { size, .. } | OrderKind::Stop { size, .. } => {
            Some(size.decimal())
        }
        OrderKind::Market(OrderSize::Funds(_)) => None,
    }
}

fn is_reached(order: &OrderPlaced, price: Price) -> bool {
    match (order.terms.execution, order.terms.side) {
        (OrderKind::Market(_), _) => true,
        (OrderKind::Limit { price: limit, .. }, Side::Buy) => price <= limit,
        (OrderKind::Limit { price: limit, .. }, Side::Sell) => price >= limit,
        (OrderKind::Stop { stop_price, .. }, Side::Buy) => price >= stop_price,
        (OrderKind::Stop { stop_price, .. }, Side::Sell) => price <= stop_price,
    }
}

fn is_ioc(order: &OrderPlaced) -> bool {
    matches!(order.terms.execution, OrderKind::Limit { time_in_force: TimeInForce::Ioc, .. })
}

/// Returns the price of a limit or a stop.
fn waits_for(order: &OrderPlaced) -> Option<Price> {
    match order.terms.execution {
        OrderKind::Market(_) => None,
        OrderKind::Limit { price, .. } | OrderKind::Stop { stop_price: price, .. } => Some(price),
    }
}

impl Model {
    fn balances(&mut self, user: Uuid, asset: &str) -> &mut (Decimal, Decimal) {
        self.balances.entry((user, asset.to_owned())).or_default()
    }

    pub(crate) fn deposit(&mut self, user: Uuid, asset: &str, amount: Decimal) {
        self.balances(user, asset).0 += amount;
    }

    /// Returns the newest price at the venue of an order, and its time.
    fn latest(&self, terms: &OrderRequest) -> Option<(Price, Timestamp)> {
        let venues = self.prices.get(&terms.symbol)?;
        let of_order = |venue: &Venue| terms.venue.as_ref().is_none_or(|named| named == venue);
        venues.iter().find(|(venue, ..)| of_order(venue)).map(|(_, price, at)| (*price, *at))
    }

    fn usable_price(&self, terms: &OrderRequest, now: Timestamp) -> Option<Price> {
        let (price, at) = self.latest(terms)?;
        (at.after(POLICY.max_price_age) >= now).then_some(price)
    }

    pub(crate) fn place(&mut self, order: &OrderPlaced, now: Timestamp) {
        let status = self.decide(order, now).unwrap_or(OrderStatus::Rejected);
        self.statuses.insert(order.order_id, status);
    }

    /// Returns the status of an order; none when it is rejected.
    fn decide(&mut self, order: &OrderPlaced, now: Timestamp) -> Option<OrderStatus> {
        let (symbol, user) = (&order.terms.symbol, order.user_id);
        let awaits_alert = order.after_alert.is_some();
        let usable_price = self.usable_price(&order.terms, now);
        if matches!(order.terms.execution, OrderKind::Market(_)) && !awaits_alert {
            usable_price?;
        }
        let latest = self.latest(&order.terms).map(|(price, _)| price.decimal());
        let worst = match order.terms.side {
            Side::Buy => Decimal::ONE + basis(POLICY.rates.slippage_bp),
            Side::Sell => Decimal::ONE - basis(POLICY.rates.spread_bp) / Decimal::TWO,
        };
        let reference = match order.terms.execution {
            // An order that waits for its alert is held for at the latest price, whatever its age.
            OrderKind::Market(_) => latest? * worst,
            OrderKind::Limit { price, .. } => price.decimal(),
            OrderKind::Stop { stop_price, .. } => stop_price.decimal() * worst,
        };
        let (asset, need) = match (order.terms.side, order.terms.execution, size(order)) {
            (_, OrderKind::Market(OrderSize::Funds(funds)), _) => (symbol.quote(), funds.decimal()),
            (side, _, Some(size)) => {
                let (quote, fee) = notional(side, size, reference);
                if side == Side::Sell && quote <= fee {
                    return None;
                }
                if side == Side::Buy { (symbol.quote(), quote + fee) } else { (symbol.base(), size) }
            }
            (_, _, None) => return None,
        };
        if self.balances(user, asset.as_str()).0 < need {
            return None;
        }
        if let Some(price) = usable_price.filter(|price| !awaits_alert && is_reached(order, *price)) {
            return self.fill(order, price, None).then_some(OrderStatus::Filled);
        }
        if !awaits_alert && is_ioc(order) {
            return Some(OrderStatus::Expired);
        }
        if self.waiting.iter().filter(|(other, _)| other.user_id == user).count() >= POLICY.max_open_orders {
            return None;
        }
        let balances = self.balances(user, asset.as_str());
        *balances = (balances.0 - need, balances.1 + need);
        self.waiting.push((order.clone(), need));
        Some(OrderStatus::Open)
    }

    /// Fills an order and returns true, or returns false where that is not possible. `held` is released in any case.
    fn fill(&mut self, order: &OrderPlaced, price: Price, held: Option<Decimal>) -> bool {
        let (symbol, side, user) = (&order.terms.symbol, order.terms.side, order.user_id);
        let (base, quote) = (symbol.base(), symbol.quote());
        let pays = if side == Side::Buy { &quote } else { &base };
        if let Some(held) = held {
            let balances = self.balances(user, pays.as_str());
            *balances = (balances.0 + held, balances.1 - held);
        }
        let half = basis(POLICY.rates.spread_bp) / Decimal::TWO;
        let price = match (order.terms.execution, side) {
            (OrderKind::Limit { .. }, _) => price.decimal(),
            (_, Side::Buy) => price.decimal() * (Decimal::ONE + half),
            (_, Side::Sell) => price.decimal() * (Decimal::ONE - half),
        };
        let scale = memory_store::assets().iter().find(|(asset, _)| *asset == base).map_or(0, |(_, scale)| *scale);
        let size = size(order).unwrap_or_else(|| {
            let OrderKind::Market(OrderSize::Funds(funds)) = order.terms.execution else { return Decimal::ZERO };
            affordable(funds.decimal(), price, scale)
        });
        let (notional, fee) = notional(side, size, price);
        let paid = if side == Side::Buy { notional + fee } else { size };
        let brings_nothing = size.is_zero() || (side == Side::Sell && notional <= fee);
        if brings_nothing || self.balances(user, pays.as_str()).0 < paid {
            return false;
        }
        match side {
            Side::Buy => {
                self.balances(user, quote.as_str()).0 -= paid;
                self.balances(user, base.as_str()).0 += size;
            }
            Side::Sell => {
                self.balances(user, base.as_str()).0 -= paid;
                self.balances(user, quote.as_str()).0 += notional - fee;
            }
        }
        true
    }

    /// Ends an open order and releases its hold.
    fn end(&mut self, (order, held): (OrderPlaced, Decimal), status: OrderStatus) {
        let pays = if order.terms.side == Side::Buy { order.terms.symbol.quote() } else { order.terms.symbol.base() };
        let balances = self.balances(order.user_id, pays.as_str());
        *balances = (balances.0 + held, balances.1 - held);
        self.statuses.insert(order.order_id, status);
    }

    /// Fills an open order, or rejects it.
    fn execute(&mut self, (order, held): (OrderPlaced, Decimal), price: Price) {
        let filled = self.fill(&order, price, Some(held));
        let status = if filled { OrderStatus::Filled } else { OrderStatus::Rejected };
        self.statuses.insert(order.order_id, status);
    }

    pub(crate) fn cancel(&mut self, request: &OrderCancelRequested) {
        let mine = |(order, _): &(OrderPlaced, Decimal)| {
            (order.order_id, order.user_id) == (request.order_id, request.user_id)
        };
        if let Some(index) = self.waiting.iter().position(mine) {
            let order = self.waiting.remove(index);
            self.end(order, OrderStatus::Cancelled);
        }
    }

    pub(crate) fn fire(&mut self, alert: &AlertFired, now: Timestamp) {
        let its =
            |(order, _): &(OrderPlaced, Decimal)| order.after_alert.is_some_and(|after| after.rule_id == alert.rule_id);
        let Some(index) = self.waiting.iter().position(its) else { return };
        let order = &mut self.waiting[index].0;
        order.after_alert = None;
        let (is_market, is_ioc) = (matches!(order.terms.execution, OrderKind::Market(_)), is_ioc(order));
        let order = order.clone();
        let usable_price = self.usable_price(&order.terms, now);
        match usable_price.filter(|price| is_reached(&order, *price)) {
            Some(price) => {
                let order = self.waiting.remove(index);
                self.execute(order, price);
            }
            None if is_market || is_ioc => {
                let order = self.waiting.remove(index);
                self.end(order, if is_market { OrderStatus::Rejected } else { OrderStatus::Expired });
            }
            // The order keeps its queue rank.
            None => {}
        }
    }

    /// Removes and returns the open orders that match.
    fn take(&mut self, which: impl Fn(&OrderPlaced) -> bool) -> Vec<(OrderPlaced, Decimal)> {
        let (taken, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(order, _)| which(order));
        self.waiting = waiting;
        taken
    }

    pub(crate) fn tick(&mut self, tick: &Tick, now: Timestamp) {
        let venues = self.prices.entry(tick.symbol.clone()).or_default();
        match venues.iter_mut().find(|(venue, ..)| *venue == tick.venue) {
            Some((_, _, at)) if *at > tick.at => return,
            Some(known) => *known = (tick.venue.clone(), tick.price, tick.at),
            None => venues.push((tick.venue.clone(), tick.price, tick.at)),
        }
        let primary = venues[0].0.clone();
        self.newest = self.newest.max(tick.at);
        let newest = self.newest;
        let is_over = |order: &OrderPlaced| {
            let until = order.after_alert.and_then(|after| after.expires_at);
            until.is_some_and(|until| until.after(Period::seconds(3_600)) < newest)
        };
        for order in self.take(is_over) {
            self.end(order, OrderStatus::Expired);
        }
        if tick.at.after(POLICY.max_price_age) < now {
            return;
        }
        let mut reached = self.take(|order| {
            order.after_alert.is_none()
                && order.terms.symbol == tick.symbol
                && *order.terms.venue.as_ref().unwrap_or(&primary) == tick.venue
                && is_reached(order, tick.price)
        });
        // Triggers above the price come from the highest, then those below it from the lowest, then those at it, by rank.
        reached.sort_by_key(|(order, _)| match waits_for(order).map(|price| price.cmp(&tick.price)) {
            Some(Ordering::Greater) => (0, waits_for(order).map(|price| -price.decimal())),
            Some(Ordering::Less) => (1, waits_for(order).map(Price::decimal)),
            Some(Ordering::Equal) | None => (2, None),
        });
        for order in reached {
            self.execute(order, tick.price);
        }
    }
}
