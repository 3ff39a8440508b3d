//! The order book: decides what becomes of each order, one event at a time, from the newest prices and the ledger.
//!
//! `fill` decides a single order, `market` has the prices of a symbol at its venues, `restore` loads and saves the book.

mod fill;
mod market;
mod restore;

pub use restore::RestoreError;

use std::collections::{BTreeSet, HashMap, HashSet};

use events::{
    AlertFired, Asset, DepositRequested, OrderCancelRequested, OrderPlaced, OrderRequest, OrderStatus, OrderUpdated,
    OutboundMessage, Period, RejectReason, Symbol, Timestamp, TradeSettled,
    order::AlertTrigger,
    order_request::{OrderKind, TimeInForce},
};
use market_data::StoredTick;
use thiserror::Error;
use uuid::Uuid;

use self::market::{Quote, SymbolMarket};
use crate::{
    accounts::{AccountOwner, Ledger, PostingCause, PostingKind, Transfer},
    amounts::{self, MinorUnits, Rates},
    rows::{OrderState, TradeRow},
    trigger_book::Trigger,
};

/// The time after a rule's expiry for which its order still waits for a firing, because the alert-engine may be behind. No
/// event says that a rule has expired, so the time of the prices decides. An engine that is behind by this much raises an
/// alarm of its own.
const MAX_FIRING_DELAY: Period = Period::seconds(3_600);

/// The time against which the age of a price is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceAge {
    /// The time at which the broker stored the order, or the tick that fills a resting order, so that a feed that died whole
    /// fills nothing.
    Stored,
    /// The time of the newest tick of any symbol, for replays of recorded days, whose ticks are all older than the orders.
    Event,
}

/// The rules by which orders are settled.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The rates that trades are charged.
    pub rates: Rates,
    /// The age beyond which a price fills nothing.
    pub max_price_age: Period,
    /// The time against which that age is measured.
    pub price_age: PriceAge,
    /// The number of orders that one user may have open.
    pub max_open_orders: usize,
}

/// The reason why a deposit can never be posted.
#[derive(Debug, Error)]
pub enum DepositError {
    /// No account may hold the asset.
    #[error("asset {0} is unknown")]
    Asset(Asset),
    /// The amount is zero or has more decimal places than the asset.
    #[error("the amount is zero or has more decimal places than asset {0}")]
    Amount(Asset),
    /// A balance would exceed its bounds.
    #[error("the balance of asset {0} would exceed its limit")]
    TooMuch(Asset),
}

/// An event to publish about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// The order has traded.
    Traded(TradeSettled),
    /// The order's state has changed.
    Updated(OrderUpdated),
}

impl OrderEvent {
    /// Returns the message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        match self {
            Self::Traded(trade) => trade.to_message(),
            Self::Updated(update) => update.to_message(),
        }
    }
}

/// Every open order, the ledger, and the newest prices.
#[derive(Debug)]
pub struct OrderBook {
    policy: Policy,
    ledger: Ledger,
    markets: HashMap<Symbol, SymbolMarket>,
    open: HashMap<Uuid, OpenOrder>,
    /// The number of open orders of each user.
    open_per_user: HashMap<Uuid, usize>,
    /// The orders that wait for a firing, by the rule.
    awaiting_by_rule: HashMap<Uuid, Uuid>,
    /// The expiries of those rules, with their orders.
    rule_expiries: BTreeSet<(Timestamp, Uuid)>,
    /// The time of the newest tick of any symbol.
    newest_at: Timestamp,
    /// The sequence of the last applied message of stream `TICKS`.
    last_tick: u64,
    last_queue_rank: i64,
    unsaved: UnsavedChanges,
    events: Vec<OrderEvent>,
}

/// What has changed since the last save, besides the ledger.
#[derive(Debug, Default)]
struct UnsavedChanges {
    orders: HashMap<Uuid, OrderState>,
    trades: Vec<TradeRow>,
    prices: HashSet<Symbol>,
    deposits: HashSet<Uuid>,
}

/// An order as it was placed.
#[derive(Debug, Clone)]
struct Order {
    id: Uuid,
    user_id: Uuid,
    terms: OrderRequest,
}

/// An order that waits for its price or its alert.
#[derive(Debug)]
struct OpenOrder {
    order: Order,
    revision: i32,
    queue_rank: i64,
    held: Hold,
    awaiting_alert: Option<AlertTrigger>,
}

/// The funds that an open order holds.
#[derive(Debug, Clone)]
struct Hold {
    asset: Asset,
    amount: MinorUnits,
}

impl Order {
    /// Returns the price that the order waits for; none for an order that takes any price.
    fn trigger(&self) -> Option<Trigger> {
        match self.terms.execution {
            OrderKind::Market(_) => None,
            OrderKind::Limit { price, .. } => Some(Trigger::Limit(price)),
            OrderKind::Stop { stop_price, .. } => Some(Trigger::Stop(stop_price)),
        }
    }
}

impl OrderBook {
    /// Returns the number of open orders.
    pub fn open_orders(&self) -> usize {
        self.open.len()
    }

    /// Returns whether an order waits for an alert of this rule to fire.
    pub fn awaits_alert(&self, rule_id: Uuid) -> bool {
        self.awaiting_by_rule.contains_key(&rule_id)
    }

    /// Returns true when accounts may hold an asset.
    pub fn has_asset(&self, asset: &Asset) -> bool {
        self.ledger.scale(asset).is_some()
    }

    /// Takes the events since the last call, in the order of the decisions.
    pub fn take_events(&mut self) -> Vec<OrderEvent> {
        std::mem::take(&mut self.events)
    }

    /// Records that a message of stream `TICKS` is applied, also one that has no ticks, so that the sequence that a decision
    /// names does not depend on restarts.
    pub fn advance_ticks(&mut self, sequence: u64) {
        self.last_tick = sequence;
    }

    /// Applies a tick that the broker stored at `stored_at`: the tick becomes its symbol's price at its venue and fills the orders
    /// that trade there and that it reaches.
    ///
    /// A tick that is older than the newest of its symbol at its venue is late and changes nothing. A tick from further in the future than a
    /// price may be old is an error of its venue; it changes nothing, because it would make every other price look old.
    pub fn apply_tick(&mut self, tick: &StoredTick<'_>, stored_at: Timestamp) {
        self.advance_ticks(tick.position.sequence);
        if tick.at > stored_at.after(self.policy.max_price_age) {
            return;
        }
        let quote = Quote { price: tick.price, at: tick.at, position: tick.position };
        if !self.markets.contains_key(tick.symbol) {
            self.markets.insert(tick.symbol.clone(), SymbolMarket::default());
        }
        let Some(market) = self.markets.get_mut(tick.symbol) else { return };
        if !market.apply(tick.venue, quote, tick.id) {
            return;
        }
        if !self.unsaved.prices.contains(tick.symbol) {
            self.unsaved.prices.insert(tick.symbol.clone());
        }
        self.newest_at = self.newest_at.max(tick.at);
        self.expire_awaiting_alert();
        if self.is_stale(quote, stored_at) {
            return;
        }
        let reached = self.markets.get_mut(tick.symbol).map(|market| market.take_reached(tick.venue, tick.price));
        for order in reached.unwrap_or_default() {
            if let Some(open) = self.take_open(order) {
                self.fill_open(open, Ok(quote), tick.at);
            }
        }
    }

    /// Decides an order that the broker stored at `stored_at`, unless it was decided before.
    pub fn place(&mut self, placed: OrderPlaced, stored_at: Timestamp) {
        let OrderPlaced { order_id: id, user_id, terms, after_alert, placed_at } = placed;
        if self.open.contains_key(&id) || self.unsaved.orders.contains_key(&id) {
            return;
        }
        let order = Order { id, user_id, terms };
        if let Err(rejection) = self.accept(&order, after_alert, placed_at, stored_at) {
            self.close(&order, 1, OrderStatus::Rejected, Some(rejection), placed_at);
        }
    }

    /// Cancels an open order of the user who asks. The end of an alert cancels only an order that still waits for the alert:
    /// the order of the streams decides which came first, the end or the firing.
    pub fn cancel(&mut self, request: &OrderCancelRequested) {
        let may_cancel = |open: &OpenOrder| {
            open.order.user_id == request.user_id
                && (open.awaiting_alert.is_some() || !request.only_while_waiting_for_alert)
        };
        if self.open.get(&request.order_id).is_some_and(may_cancel)
            && let Some(open) = self.take_open(request.order_id)
        {
            self.release_and_close(open, OrderStatus::Cancelled, None, request.requested_at);
        }
    }

    /// Places the order that waits for the alert, which the broker stored at `stored_at`, if there is one.
    pub fn apply_alert(&mut self, alert: &AlertFired, stored_at: Timestamp) {
        let Some(mut open) = self.awaiting_by_rule.get(&alert.rule_id).copied().and_then(|order| self.take_open(order))
        else {
            return;
        };
        open.awaiting_alert = None;
        let quote = self.usable_quote(&open.order.terms, stored_at);
        let side = open.order.terms.side;
        let trigger =
            open.order.trigger().filter(|trigger| !quote.is_ok_and(|quote| trigger.is_reached(side, quote.price)));
        match (trigger, open.order.terms.execution) {
            (None, _) => self.fill_open(open, quote, alert.fired_at),
            (Some(_), OrderKind::Limit { time_in_force: TimeInForce::Ioc, .. }) => {
                self.release_and_close(open, OrderStatus::Expired, None, alert.fired_at);
            }
            (Some(_), _) => {
                open.revision += 1;
                self.add_open(open, alert.fired_at);
            }
        }
    }

    /// Funds an account, once per deposit.
    pub fn apply_deposit(&mut self, request: &DepositRequested) -> Result<(), DepositError> {
        let DepositRequested { deposit_id, user_id, asset, amount, requested_at } = request;
        let scale = self.ledger.scale(asset).ok_or_else(|| DepositError::Asset(asset.clone()))?;
        let amount = amounts::to_minor_units(amount.decimal(), scale).filter(|amount| *amount > 0);
        let amount = amount.ok_or_else(|| DepositError::Amount(asset.clone()))?;
        if self.unsaved.deposits.contains(deposit_id) {
            return Ok(());
        }
        let transfers = [Transfer { asset, from: AccountOwner::Issued, to: AccountOwner::Available(*user_id), amount }];
        if !self.ledger.fits_bounds(&transfers) {
            return Err(DepositError::TooMuch(asset.clone()));
        }
        self.unsaved.deposits.insert(*deposit_id);
        let cause =
            PostingCause { kind: PostingKind::Deposit, user_id: *user_id, cause: *deposit_id, at: *requested_at };
        self.ledger.post(cause, &transfers);
        Ok(())
    }

    /// Returns the newest price at the venue of an order that was stored at this time, if it is not too old to fill it.
    fn usable_quote(&self, terms: &OrderRequest, stored_at: Timestamp) -> Result<Quote, RejectReason> {
        let quote = self.latest(terms).ok_or(RejectReason::NoPrice)?;
        if self.is_stale(quote, stored_at) { Err(RejectReason::StalePrice) } else { Ok(quote) }
    }

    /// Returns the newest price at the venue of an order.
    fn latest(&self, terms: &OrderRequest) -> Option<Quote> {
        self.markets.get(&terms.symbol)?.latest(terms.venue.as_ref())
    }

    fn is_stale(&self, quote: Quote, stored_at: Timestamp) -> bool {
        let now = match self.policy.price_age {
            PriceAge::Stored => stored_at,
            PriceAge::Event => self.newest_at,
        };
        quote.at.after(self.policy.max_price_age) < now
    }

    /// Expires the orders of rules that have expired: such a rule fires no more.
    fn expire_awaiting_alert(&mut self) {
        while let Some((until, order)) = self.rule_expiries.first().copied()
            && until.after(MAX_FIRING_DELAY) < self.newest_at
        {
            match self.take_open(order) {
                Some(open) => self.release_and_close(open, OrderStatus::Expired, None, until),
                None => _ = self.rule_expiries.pop_first(),
            }
        }
    }
}
