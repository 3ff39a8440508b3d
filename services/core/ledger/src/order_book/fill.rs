//! Decides one order: it is filled, it becomes open, or it ends.

use events::{
    Amount, OrderStatus, OrderUpdated, Price, RejectReason, Side, Size, Timestamp, TradeSettled,
    order::AlertTrigger,
    order_request::{OrderKind, OrderSize, TimeInForce},
};
use uuid::Uuid;

use super::{Hold, OpenOrder, Order, OrderBook, OrderEvent, Quote};
use crate::{
    accounts::{AccountOwner, PostingCause, PostingKind, Transfer},
    amounts::{self, MinorUnits, Notional, PriceFactor, Scales},
    hash_chain,
    rows::{OrderState, TradeRow},
};

impl OrderBook {
    /// Fills a new order or makes it open, or returns the reason why neither is possible.
    pub(super) fn accept(
        &mut self,
        order: &Order,
        awaiting_alert: Option<AlertTrigger>,
        at: Timestamp,
        stored_at: Timestamp,
    ) -> Result<(), RejectReason> {
        let terms = &order.terms;
        let scales = self.scales(order)?;
        let usable_quote = self.usable_quote(terms, stored_at);
        let fill_quote = match order.trigger() {
            _ if awaiting_alert.is_some() => None,
            None => Some(usable_quote?),
            Some(trigger) => usable_quote.ok().filter(|quote| trigger.is_reached(terms.side, quote.price)),
        };
        let held = self.required_hold(order, scales)?;
        if self.ledger.balance(AccountOwner::Available(order.user_id), &held.asset) < held.amount {
            return Err(RejectReason::InsufficientFunds);
        }
        if let Some(quote) = fill_quote {
            return self.fill(order, 1, None, quote, at);
        }
        if awaiting_alert.is_none()
            && matches!(terms.execution, OrderKind::Limit { time_in_force: TimeInForce::Ioc, .. })
        {
            self.close(order, 1, OrderStatus::Expired, None, at);
            return Ok(());
        }
        if self.open_per_user.get(&order.user_id).is_some_and(|open| *open >= self.policy.max_open_orders) {
            return Err(RejectReason::TooManyOpenOrders);
        }
        let (user, Hold { asset, amount }) = (order.user_id, &held);
        let (from, to) = (AccountOwner::Available(user), AccountOwner::Held(user));
        self.ledger.post(posting_cause(order, PostingKind::Hold, at), &[Transfer { asset, from, to, amount: *amount }]);
        self.last_queue_rank += 1;
        let queue_rank = self.last_queue_rank;
        self.add_open(OpenOrder { order: order.clone(), revision: 1, queue_rank, held, awaiting_alert }, at);
        Ok(())
    }

    fn scales(&self, order: &Order) -> Result<Scales, RejectReason> {
        let (base, quote) = (order.terms.symbol.base(), order.terms.symbol.quote());
        // The symbol `USD` would trade dollars for dollars, of which the house gets the spread and the fee.
        if base == quote {
            return Err(RejectReason::UnknownSymbol);
        }
        let base = self.ledger.scale(&base).ok_or(RejectReason::UnknownSymbol)?;
        let quote = self.ledger.scale(&quote).ok_or(RejectReason::UnknownSymbol)?;
        Ok(Scales { base, quote })
    }

    /// Returns the funds that an order must hold: for a sell its size, for a buy its cost at worst. A market order's worst
    /// cost is at the latest price, whatever its age, plus the slippage.
    fn required_hold(&self, order: &Order, scales: Scales) -> Result<Hold, RejectReason> {
        let (terms, rates) = (&order.terms, self.policy.rates);
        let latest = || self.latest(terms).map(|quote| quote.price).ok_or(RejectReason::NoPrice);
        // What a sell brings is only looked at to tell an order that would bring nothing.
        let market = match terms.side {
            Side::Buy => PriceFactor::with_slippage(rates),
            Side::Sell => PriceFactor::selling(rates),
        };
        let (order_size, price, factor) = match terms.execution {
            OrderKind::Market(order_size) => (order_size, latest()?, market),
            OrderKind::Limit { size, price, .. } => (OrderSize::Size(size), price, PriceFactor::ONE),
            OrderKind::Stop { size, stop_price } => (OrderSize::Size(size), stop_price, market),
        };
        let size = match order_size {
            OrderSize::Size(size) => {
                amounts::to_minor_units(size.decimal(), scales.base).ok_or(RejectReason::TooPrecise)?
            }
            OrderSize::Funds(funds) => {
                let amount = amounts::to_minor_units(funds.decimal(), scales.quote).ok_or(RejectReason::TooPrecise)?;
                return Ok(Hold { asset: terms.symbol.quote(), amount });
            }
        };
        let price = scaled(terms.side, price, factor)?;
        let notional = scales.notional(terms.side, size, price, rates.fee_bp).ok_or(RejectReason::TooLarge)?;
        if notional.is_nothing(terms.side) {
            return Err(RejectReason::TooSmall);
        }
        Ok(match terms.side {
            Side::Buy => Hold { asset: terms.symbol.quote(), amount: notional.total() },
            Side::Sell => Hold { asset: terms.symbol.base(), amount: size },
        })
    }

    /// Fills an open order at a price, or rejects it where that is not possible.
    pub(super) fn fill_open(&mut self, open: OpenOrder, quote: Result<Quote, RejectReason>, at: Timestamp) {
        let filled = quote.and_then(|quote| self.fill(&open.order, open.revision + 1, Some(&open.held), quote, at));
        if let Err(rejection) = filled {
            self.release_and_close(open, OrderStatus::Rejected, Some(rejection), at);
        }
    }

    /// Trades an order as a whole, with the funds that it held or from the available ones.
    fn fill(
        &mut self,
        order: &Order,
        revision: i32,
        held: Option<&Hold>,
        quote: Quote,
        at: Timestamp,
    ) -> Result<(), RejectReason> {
        let fill = self.price_fill(order, quote)?;
        let posting_id = self.post_fill(order, &fill, held, at)?;
        self.record_trade(order, &fill, posting_id, at);
        self.close(order, revision, OrderStatus::Filled, None, at);
        Ok(())
    }

    fn price_fill(&self, order: &Order, quote: Quote) -> Result<Fill, RejectReason> {
        let (terms, rates) = (&order.terms, self.policy.rates);
        let scales = self.scales(order)?;
        let factor = match (terms.execution, terms.side) {
            (OrderKind::Limit { .. }, _) => PriceFactor::ONE,
            (_, Side::Buy) => PriceFactor::buying(rates),
            (_, Side::Sell) => PriceFactor::selling(rates),
        };
        let price = scaled(terms.side, quote.price, factor)?;
        let size = match terms.execution {
            OrderKind::Market(OrderSize::Funds(funds)) => {
                let funds = amounts::to_minor_units(funds.decimal(), scales.quote).ok_or(RejectReason::TooPrecise)?;
                scales.affordable(funds, price, rates.fee_bp).ok_or(RejectReason::TooLarge)?
            }
            OrderKind::Market(OrderSize::Size(size)) | OrderKind::Limit { size, .. } | OrderKind::Stop { size, .. } => {
                amounts::to_minor_units(size.decimal(), scales.base).ok_or(RejectReason::TooPrecise)?
            }
        };
        let notional = scales.notional(terms.side, size, price, rates.fee_bp).ok_or(RejectReason::TooLarge)?;
        if size == 0 || notional.is_nothing(terms.side) {
            return Err(RejectReason::TooSmall);
        }
        Ok(Fill { scales, quote, price, size, notional })
    }

    /// Posts a fill and returns the posting's number.
    fn post_fill(
        &mut self,
        order: &Order,
        fill: &Fill,
        held: Option<&Hold>,
        at: Timestamp,
    ) -> Result<i64, RejectReason> {
        let (base, money) = (order.terms.symbol.base(), order.terms.symbol.quote());
        let (pays, paid) = match order.terms.side {
            Side::Buy => (&money, fill.notional.total()),
            Side::Sell => (&base, fill.size),
        };
        let available = AccountOwner::Available(order.user_id);
        let payer = if held.is_some() { AccountOwner::Held(order.user_id) } else { available };
        // A stop, or an order that an alert has placed, may fill at a price that its hold does not cover.
        let missing = (paid - held.map_or(0, |held| held.amount)).max(0);
        if self.ledger.balance(available, pays) < missing {
            return Err(RejectReason::InsufficientFunds);
        }
        let more = if held.is_some() { missing } else { 0 };
        let rest = held.map_or(0, |held| (held.amount - paid).max(0));
        let Notional { quote, fee } = fill.notional;
        let transfer = |asset, from, to, amount| Transfer { asset, from, to, amount };
        let [pay, fee, get] = match order.terms.side {
            Side::Buy => [
                transfer(&money, payer, AccountOwner::House, quote),
                transfer(&money, payer, AccountOwner::Fees, fee),
                transfer(&base, AccountOwner::House, available, fill.size),
            ],
            Side::Sell => [
                transfer(&base, payer, AccountOwner::House, fill.size),
                transfer(&money, AccountOwner::House, available, quote),
                transfer(&money, available, AccountOwner::Fees, fee),
            ],
        };
        if !self.ledger.fits_bounds(&[pay, fee, get]) {
            return Err(RejectReason::TooLarge);
        }
        let (top_up, refund) = (transfer(pays, available, payer, more), transfer(pays, payer, available, rest));
        Ok(self.ledger.post(posting_cause(order, PostingKind::Fill, at), &[top_up, pay, fee, get, refund]))
    }

    fn record_trade(&mut self, order: &Order, fill: &Fill, posting_id: i64, at: Timestamp) {
        let Order { id, user_id, terms } = order;
        let Fill { scales, quote, price, size, notional } = fill;
        let decimal = |amount, scale| amounts::to_decimal(amount, scale).expect("amounts are below the limit");
        // An order fills at nothing but the newest price of its market.
        let market = self.markets.get(&terms.symbol);
        let tick_id = market.and_then(|market| market.latest_id(terms.venue.as_ref())).unwrap_or_default().to_owned();
        let (size, quote_amount, fee) =
            (decimal(*size, scales.base), decimal(notional.quote, scales.quote), decimal(notional.fee, scales.quote));
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
            fee_bp: self.policy.rates.fee_bp as i32,
            tick_id: tick_id.clone(),
            tick_sequence: quote.position.sequence as i64,
            tick_index: quote.position.index as i16,
            tick_price: quote.price.decimal(),
            tick_at: quote.at,
            at,
            hash: Vec::new(),
        };
        row.hash = hash_chain::trade(&row).into();
        self.unsaved.trades.push(row);
        let amount = |value| Amount::new(value).expect("amounts are below the limit");
        self.events.push(OrderEvent::Traded(TradeSettled {
            id: TradeSettled::id_of(*id),
            order_id: *id,
            user_id: *user_id,
            symbol: terms.symbol.clone(),
            side: terms.side,
            size: Size::new(size).expect("sizes are below the limit"),
            price: *price,
            quote_amount: amount(quote_amount),
            fee: amount(fee),
            tick_id,
            tick_sequence: quote.position.sequence,
            tick_index: quote.position.index,
            tick_price: quote.price,
            posting_id,
            at,
        }));
    }

    /// Adds an open order, which waits for its price or for its alert.
    pub(super) fn add_open(&mut self, open: OpenOrder, at: Timestamp) {
        let (id, user_id, terms) = (open.order.id, open.order.user_id, &open.order.terms);
        match (open.awaiting_alert, open.order.trigger()) {
            (Some(AlertTrigger { rule_id, expires_at }), _) => {
                self.awaiting_by_rule.insert(rule_id, id);
                self.rule_expiries.extend(expires_at.map(|until| (until, id)));
            }
            (None, Some(trigger)) => {
                let market = self.markets.entry(terms.symbol.clone()).or_default();
                market.triggers(terms.venue.as_ref()).insert(terms.side, trigger, open.queue_rank, id);
            }
            (None, None) => {}
        }
        *self.open_per_user.entry(user_id).or_default() += 1;
        self.record_state(self.state(&open, at), &open.order);
        self.open.insert(id, open);
    }

    /// Removes an open order and returns it.
    pub(super) fn take_open(&mut self, id: Uuid) -> Option<OpenOrder> {
        let open = self.open.remove(&id)?;
        if let Some(count) = self.open_per_user.get_mut(&open.order.user_id) {
            *count -= 1;
            if *count == 0 {
                self.open_per_user.remove(&open.order.user_id);
            }
        }
        match (open.awaiting_alert, open.order.trigger()) {
            (Some(AlertTrigger { rule_id, expires_at }), _) => {
                self.awaiting_by_rule.remove(&rule_id);
                if let Some(until) = expires_at {
                    self.rule_expiries.remove(&(until, id));
                }
            }
            (None, Some(trigger)) => {
                let terms = &open.order.terms;
                if let Some(market) = self.markets.get_mut(&terms.symbol) {
                    market.triggers(terms.venue.as_ref()).remove(terms.side, trigger, open.queue_rank, id);
                }
            }
            (None, None) => {}
        }
        Some(open)
    }

    /// Ends an open order without a trade and releases its hold.
    pub(super) fn release_and_close(
        &mut self,
        open: OpenOrder,
        status: OrderStatus,
        reason: Option<RejectReason>,
        at: Timestamp,
    ) {
        let OpenOrder { order, revision, held: Hold { asset, amount }, .. } = open;
        let (from, to) = (AccountOwner::Held(order.user_id), AccountOwner::Available(order.user_id));
        self.ledger
            .post(posting_cause(&order, PostingKind::Release, at), &[Transfer { asset: &asset, from, to, amount }]);
        self.close(&order, revision + 1, status, reason, at);
    }

    /// Records the final state of an order.
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
            queue_rank: 0,
            held: None,
            awaiting_alert: None,
            tick_sequence: self.last_tick,
            updated_at: at,
        };
        self.record_state(state, order);
    }

    fn state(&self, open: &OpenOrder, at: Timestamp) -> OrderState {
        let scale = self.ledger.scale(&open.held.asset).unwrap_or_default();
        let held = amounts::to_decimal(open.held.amount, scale).expect("amounts are below the limit");
        OrderState {
            order_id: open.order.id,
            user_id: open.order.user_id,
            revision: open.revision,
            status: OrderStatus::Open,
            reason: None,
            queue_rank: open.queue_rank,
            held: Some((open.held.asset.clone(), held)),
            awaiting_alert: open.awaiting_alert,
            tick_sequence: self.last_tick,
            updated_at: at,
        }
    }

    fn record_state(&mut self, state: OrderState, order: &Order) {
        self.events.push(OrderEvent::Updated(OrderUpdated {
            order_id: state.order_id,
            revision: state.revision,
            user_id: state.user_id,
            symbol: order.terms.symbol.clone(),
            status: state.status,
            reason: state.reason,
            tick_sequence: state.tick_sequence,
            at: state.updated_at,
        }));
        self.unsaved.orders.insert(state.order_id, state);
    }
}

/// An order's fill at a price.
struct Fill {
    scales: Scales,
    quote: Quote,
    /// The price of the trade: the quote's price, with half the spread for a market order.
    price: Price,
    size: MinorUnits,
    notional: Notional,
}

/// Returns the price of a trade, or the reason why there is none: it rounds to nothing for a seller, or is above every price.
fn scaled(side: Side, price: Price, factor: PriceFactor) -> Result<Price, RejectReason> {
    amounts::scale_price(side, price, factor).ok_or(match side {
        Side::Buy => RejectReason::TooLarge,
        Side::Sell => RejectReason::TooSmall,
    })
}

fn posting_cause(order: &Order, kind: PostingKind, at: Timestamp) -> PostingCause {
    PostingCause { kind, user_id: order.user_id, cause: order.id, at }
}
