//! What becomes of one order: it is filled, it waits, or it ends.

use events::{
    Amount, OrderStatus, OrderUpdated, Price, RejectReason, Side, Size, Timestamp, TradeSettled,
    order::AlertTrigger,
    order_request::{OrderKind, OrderSize, TimeInForce},
};
use store::trading::settlement::{OrderState, TradeRow};
use uuid::Uuid;

use super::{Book, Fact, Held, Open, Order, Quote};
use crate::{
    amounts::{self, Factor, Minor, Scales, Worth},
    ledger::{About, AccountOwner, Reason, Transfer},
    seal,
};

impl Book {
    /// Fills a new order, or lets it wait, or says why neither is possible.
    pub(super) fn enter(
        &mut self,
        order: &Order,
        parked: Option<AlertTrigger>,
        at: Timestamp,
    ) -> Result<(), RejectReason> {
        let terms = &order.terms;
        let scales = self.scales(order)?;
        let fresh = self.fresh(&terms.symbol);
        let fill_at = match order.trigger() {
            _ if parked.is_some() => None,
            None => Some(fresh?),
            Some(trigger) => fresh.ok().filter(|quote| trigger.is_reached(terms.side, quote.price)),
        };
        let held = self.need(order, scales)?;
        if self.ledger.balance(AccountOwner::Available(order.user_id), &held.asset) < held.amount {
            return Err(RejectReason::InsufficientFunds);
        }
        if let Some(quote) = fill_at {
            return self.fill(order, 1, None, quote, at);
        }
        if parked.is_none() && matches!(terms.execution, OrderKind::Limit { time_in_force: TimeInForce::Ioc, .. }) {
            self.close(order, 1, OrderStatus::Expired, None, at);
            return Ok(());
        }
        if self.open_of.get(&order.user_id).is_some_and(|open| *open >= self.policy.max_open_orders) {
            return Err(RejectReason::TooManyOpenOrders);
        }
        let (user, Held { asset, amount }) = (order.user_id, &held);
        let (from, to) = (AccountOwner::Available(user), AccountOwner::Held(user));
        self.ledger.post(about(order, Reason::Hold, at), &[Transfer { asset, from, to, amount: *amount }]);
        self.last_place += 1;
        let place = self.last_place;
        self.wait(Open { order: order.clone(), revision: 1, place, held, parked }, at);
        Ok(())
    }

    fn scales(&self, order: &Order) -> Result<Scales, RejectReason> {
        let (base, quote) = (order.terms.symbol.base(), order.terms.symbol.quote());
        // `USD` would be dollars for dollars, of which the house gets the spread and the fee.
        if base == quote {
            return Err(RejectReason::UnknownSymbol);
        }
        let base = self.ledger.scale(&base).ok_or(RejectReason::UnknownSymbol)?;
        let quote = self.ledger.scale(&quote).ok_or(RejectReason::UnknownSymbol)?;
        Ok(Scales { base, quote })
    }

    /// What must be held for an order: for a sell its size; for a buy what it costs at worst, which for a market order is
    /// at the latest price and the slippage, whatever the age of that price.
    fn need(&self, order: &Order, scales: Scales) -> Result<Held, RejectReason> {
        let (terms, rates) = (&order.terms, self.policy.rates);
        let latest = || {
            let market = self.markets.get(&terms.symbol).and_then(|market| market.latest);
            market.map(|quote| quote.price).ok_or(RejectReason::NoPrice)
        };
        let (quantity, price, factor) = match terms.execution {
            OrderKind::Market(quantity) => (quantity, latest()?, Factor::slipping(rates)),
            OrderKind::Limit { size, price, .. } => (OrderSize::Size(size), price, Factor::ONE),
            OrderKind::Stop { size, stop_price } => (OrderSize::Size(size), stop_price, Factor::slipping(rates)),
        };
        let size = match quantity {
            OrderSize::Size(size) => amounts::of_amount(size.decimal(), scales.base).ok_or(RejectReason::TooPrecise)?,
            OrderSize::Funds(funds) => {
                let amount = amounts::of_amount(funds.decimal(), scales.quote).ok_or(RejectReason::TooPrecise)?;
                return Ok(Held { asset: terms.symbol.quote(), amount });
            }
        };
        let worth = scales.worth(size, price, factor, rates).ok_or(RejectReason::TooLarge)?;
        if worth.quote == 0 {
            return Err(RejectReason::TooSmall);
        }
        Ok(match terms.side {
            Side::Buy => Held { asset: terms.symbol.quote(), amount: worth.total() },
            Side::Sell => Held { asset: terms.symbol.base(), amount: size },
        })
    }

    /// Fills an order that waited, by a price; where that is not possible, it ends.
    pub(super) fn execute(&mut self, open: Open, quote: Result<Quote, RejectReason>, at: Timestamp) {
        let filled = quote.and_then(|quote| self.fill(&open.order, open.revision + 1, Some(&open.held), quote, at));
        if let Err(rejection) = filled {
            self.give_up(open, OrderStatus::Rejected, Some(rejection), at);
        }
    }

    /// Trades an order as a whole, with what was held for it or from what is available.
    fn fill(
        &mut self,
        order: &Order,
        revision: i32,
        held: Option<&Held>,
        quote: Quote,
        at: Timestamp,
    ) -> Result<(), RejectReason> {
        let deal = self.deal(order, quote)?;
        let posting_id = self.pay(order, &deal, held, at)?;
        self.record(order, &deal, posting_id, at);
        self.close(order, revision, OrderStatus::Filled, None, at);
        Ok(())
    }

    fn deal(&self, order: &Order, quote: Quote) -> Result<Deal, RejectReason> {
        let (terms, rates) = (&order.terms, self.policy.rates);
        let scales = self.scales(order)?;
        let factor = match (terms.execution, terms.side) {
            (OrderKind::Limit { .. }, _) => Factor::ONE,
            (_, Side::Buy) => Factor::buying(rates),
            (_, Side::Sell) => Factor::selling(rates),
        };
        let size = match terms.execution {
            OrderKind::Market(OrderSize::Funds(funds)) => {
                let funds = amounts::of_amount(funds.decimal(), scales.quote).ok_or(RejectReason::TooPrecise)?;
                scales.affordable(funds, quote.price, factor, rates).ok_or(RejectReason::TooLarge)?
            }
            OrderKind::Market(OrderSize::Size(size)) | OrderKind::Limit { size, .. } | OrderKind::Stop { size, .. } => {
                amounts::of_amount(size.decimal(), scales.base).ok_or(RejectReason::TooPrecise)?
            }
        };
        let worth = scales.worth(size, quote.price, factor, rates).ok_or(RejectReason::TooLarge)?;
        if worth.quote == 0 || size == 0 {
            return Err(RejectReason::TooSmall);
        }
        let price = amounts::scaled(quote.price, factor).ok_or(RejectReason::TooLarge)?;
        Ok(Deal { scales, quote, price, size, worth })
    }

    /// Posts a deal and returns the posting's number.
    fn pay(&mut self, order: &Order, deal: &Deal, held: Option<&Held>, at: Timestamp) -> Result<i64, RejectReason> {
        let (base, money) = (order.terms.symbol.base(), order.terms.symbol.quote());
        let (pays, paid) = match order.terms.side {
            Side::Buy => (&money, deal.worth.total()),
            Side::Sell => (&base, deal.size),
        };
        let available = AccountOwner::Available(order.user_id);
        let payer = if held.is_some() { AccountOwner::Held(order.user_id) } else { available };
        // A stop, or an order that an alert has placed, may meet a price beyond what was held.
        let missing = (paid - held.map_or(0, |held| held.amount)).max(0);
        if self.ledger.balance(available, pays) < missing {
            return Err(RejectReason::InsufficientFunds);
        }
        let more = if held.is_some() { missing } else { 0 };
        let rest = held.map_or(0, |held| (held.amount - paid).max(0));
        let Worth { quote, fee } = deal.worth;
        let transfer = |asset, from, to, amount| Transfer { asset, from, to, amount };
        let [pay, fee, get] = match order.terms.side {
            Side::Buy => [
                transfer(&money, payer, AccountOwner::House, quote),
                transfer(&money, payer, AccountOwner::Fees, fee),
                transfer(&base, AccountOwner::House, available, deal.size),
            ],
            Side::Sell => [
                transfer(&base, payer, AccountOwner::House, deal.size),
                transfer(&money, AccountOwner::House, available, quote),
                transfer(&money, available, AccountOwner::Fees, fee),
            ],
        };
        if !self.ledger.counts(&[pay, fee, get]) {
            return Err(RejectReason::TooLarge);
        }
        let (before, after) = (transfer(pays, available, payer, more), transfer(pays, payer, available, rest));
        Ok(self.ledger.post(about(order, Reason::Fill, at), &[before, pay, fee, get, after]))
    }

    fn record(&mut self, order: &Order, deal: &Deal, posting_id: i64, at: Timestamp) {
        let Order { id, user_id, terms } = order;
        let Deal { scales, quote, price, size, worth } = deal;
        let decimal = |amount, scale| amounts::decimal(amount, scale).expect("an amount below the limit");
        let (size, quote_amount, fee) =
            (decimal(*size, scales.base), decimal(worth.quote, scales.quote), decimal(worth.fee, scales.quote));
        let mut row = TradeRow {
            order_id: *id,
            posting_id,
            user_id: *user_id,
            symbol: terms.symbol.to_string(),
            side: terms.side.as_str().into(),
            size,
            price: price.decimal(),
            quote_amount,
            fee,
            tick_sequence: quote.sequence as i64,
            tick_price: quote.price.decimal(),
            at,
            hash: Vec::new(),
        };
        row.hash = seal::trade(&row).into();
        self.changed.trades.push(row);
        let amount = |value| Amount::new(value).expect("an amount below the limit");
        self.facts.push(Fact::Trade(TradeSettled {
            id: TradeSettled::id_of(*id),
            order_id: *id,
            user_id: *user_id,
            symbol: terms.symbol.clone(),
            side: terms.side,
            size: Size::new(size).expect("a size below the limit"),
            price: *price,
            quote_amount: amount(quote_amount),
            fee: amount(fee),
            tick_sequence: quote.sequence,
            tick_price: quote.price,
            posting_id,
            at,
        }));
    }

    /// Lets an order wait, for its price or for its alert.
    pub(super) fn wait(&mut self, open: Open, at: Timestamp) {
        let (id, user_id, terms) = (open.order.id, open.order.user_id, &open.order.terms);
        match (open.parked, open.order.trigger()) {
            (Some(AlertTrigger { rule_id, expires_at }), _) => {
                self.parked.insert(rule_id, id);
                self.ending.extend(expires_at.map(|until| (until, id)));
            }
            (None, Some(trigger)) => {
                let market = self.markets.entry(terms.symbol.clone()).or_default();
                market.waiting.insert(terms.side, trigger, open.place, id);
            }
            (None, None) => {}
        }
        *self.open_of.entry(user_id).or_default() += 1;
        self.note(self.state(&open, at), &open.order);
        self.open.insert(id, open);
    }

    /// An order that waited, and waits no longer.
    pub(super) fn take_open(&mut self, id: Uuid) -> Option<Open> {
        let open = self.open.remove(&id)?;
        if let Some(count) = self.open_of.get_mut(&open.order.user_id) {
            *count -= 1;
            if *count == 0 {
                self.open_of.remove(&open.order.user_id);
            }
        }
        match (open.parked, open.order.trigger()) {
            (Some(AlertTrigger { rule_id, expires_at }), _) => {
                self.parked.remove(&rule_id);
                if let Some(until) = expires_at {
                    self.ending.remove(&(until, id));
                }
            }
            (None, Some(trigger)) => {
                if let Some(market) = self.markets.get_mut(&open.order.terms.symbol) {
                    market.waiting.remove(open.order.terms.side, trigger, open.place, id);
                }
            }
            (None, None) => {}
        }
        Some(open)
    }

    /// Ends an order that waited, and gives back what it held.
    pub(super) fn give_up(&mut self, open: Open, status: OrderStatus, reason: Option<RejectReason>, at: Timestamp) {
        let Open { order, revision, held: Held { asset, amount }, .. } = open;
        let (from, to) = (AccountOwner::Held(order.user_id), AccountOwner::Available(order.user_id));
        self.ledger.post(about(&order, Reason::Release, at), &[Transfer { asset: &asset, from, to, amount }]);
        self.close(&order, revision + 1, status, reason, at);
    }

    /// Records that an order is final.
    pub(super) fn close(
        &mut self,
        order: &Order,
        revision: i32,
        status: OrderStatus,
        reason: Option<RejectReason>,
        at: Timestamp,
    ) {
        let state = OrderState {
            order_id: order.id,
            user_id: order.user_id,
            revision,
            status,
            reason,
            place: 0,
            held: None,
            parked: None,
            tick_sequence: self.last_tick,
            updated_at: at,
        };
        self.note(state, order);
    }

    fn state(&self, open: &Open, at: Timestamp) -> OrderState {
        let scale = self.ledger.scale(&open.held.asset).unwrap_or_default();
        let held = amounts::decimal(open.held.amount, scale).expect("an amount below the limit");
        OrderState {
            order_id: open.order.id,
            user_id: open.order.user_id,
            revision: open.revision,
            status: OrderStatus::Open,
            reason: None,
            place: open.place,
            held: Some((open.held.asset.clone(), held)),
            parked: open.parked.map(|parked| (parked.rule_id, parked.expires_at)),
            tick_sequence: self.last_tick,
            updated_at: at,
        }
    }

    fn note(&mut self, state: OrderState, order: &Order) {
        self.facts.push(Fact::Update(OrderUpdated {
            order_id: state.order_id,
            revision: state.revision,
            user_id: state.user_id,
            symbol: order.terms.symbol.clone(),
            status: state.status,
            reason: state.reason,
            tick_sequence: state.tick_sequence,
            at: state.updated_at,
        }));
        self.changed.orders.insert(state.order_id, state);
    }
}

/// What an order gets at a price.
struct Deal {
    scales: Scales,
    quote: Quote,
    /// With the half spread of a market order.
    price: Price,
    size: Minor,
    worth: Worth,
}

fn about(order: &Order, reason: Reason, at: Timestamp) -> About {
    About { reason, user_id: order.user_id, cause: order.id, at }
}
