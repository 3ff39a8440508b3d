//! Orders, and what becomes of them: decides one event at a time, by the prices and the ledger as they are then.

mod decide;
mod memory;

pub use memory::RecallError;

use std::collections::{BTreeSet, HashMap, HashSet};

use events::{
    AlertFired, Asset, DepositRequested, OrderCancelRequested, OrderPlaced, OrderRequest, OrderStatus, OrderUpdated,
    OutboundMessage, Period, Price, RejectReason, Symbol, Tick, Timestamp, TradeSettled,
    order::AlertTrigger,
    order_request::{OrderKind, TimeInForce},
};
use store::trading::settlement::{OrderState, TradeRow};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    amounts::{self, Minor, Rates},
    ledger::{About, AccountOwner, Ledger, Reason, Transfer},
    queue::{Queue, Trigger},
};

/// How far the alert-engine may be behind the prices before a firing finds its order expired. It says nothing when a rule is
/// over, so the prices tell; an engine that is behind by this much has been paged for.
const FIRING_PATIENCE: Period = Period::seconds(3_600);

/// How orders are settled.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// What is taken for a trade.
    pub rates: Rates,
    /// A price that is older than this, by the newest tick of any symbol, fills nothing.
    pub max_price_age: Period,
    /// How many orders of one user may wait.
    pub max_open_orders: usize,
}

/// A deposit that can never be posted.
#[derive(Debug, Error)]
pub enum Unpostable {
    /// There is no such asset.
    #[error("asset {0} is not kept here")]
    Asset(Asset),
    /// Nothing, or more exact than the asset.
    #[error("its amount is none of asset {0}")]
    Amount(Asset),
    /// There would be more of it than is counted.
    #[error("with it there would be more of asset {0} than is counted here")]
    TooMuch(Asset),
}

/// Something to tell everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An order has traded.
    Trade(TradeSettled),
    /// An order stands elsewhere.
    Update(OrderUpdated),
}

impl Fact {
    /// The message to publish.
    pub fn to_message(&self) -> OutboundMessage {
        match self {
            Self::Trade(trade) => trade.to_message(),
            Self::Update(update) => update.to_message(),
        }
    }
}

/// Every open order, the ledger, and the newest prices.
#[derive(Debug)]
pub struct Book {
    policy: Policy,
    ledger: Ledger,
    markets: HashMap<Symbol, Market>,
    open: HashMap<Uuid, Open>,
    /// How many orders of each user are open.
    open_of: HashMap<Uuid, usize>,
    /// Orders that wait for the firing of a rule, by the rule.
    parked: HashMap<Uuid, Uuid>,
    /// The ends of those rules.
    ending: BTreeSet<(Timestamp, Uuid)>,
    /// The time of the newest tick of any symbol.
    newest_at: Timestamp,
    /// The last message of stream `TICKS` that was applied.
    last_tick: u64,
    last_place: i64,
    changed: Changed,
    facts: Vec<Fact>,
}

/// What has changed since it was last saved, besides the ledger.
#[derive(Debug, Default)]
struct Changed {
    orders: HashMap<Uuid, OrderState>,
    trades: Vec<TradeRow>,
    prices: HashSet<Symbol>,
    deposits: HashSet<Uuid>,
}

#[derive(Debug, Default)]
struct Market {
    latest: Option<Quote>,
    waiting: Queue,
}

/// A price that orders fill at.
#[derive(Debug, Clone, Copy)]
struct Quote {
    price: Price,
    at: Timestamp,
    sequence: u64,
}

/// An order as it was placed.
#[derive(Debug, Clone)]
struct Order {
    id: Uuid,
    user_id: Uuid,
    terms: OrderRequest,
}

/// An order that waits.
#[derive(Debug)]
struct Open {
    order: Order,
    revision: i32,
    place: i64,
    held: Held,
    parked: Option<AlertTrigger>,
}

/// What an order holds.
#[derive(Debug, Clone)]
struct Held {
    asset: Asset,
    amount: Minor,
}

impl Order {
    /// The price it waits for; none for one that takes any.
    fn trigger(&self) -> Option<Trigger> {
        match self.terms.execution {
            OrderKind::Market(_) => None,
            OrderKind::Limit { price, .. } => Some(Trigger::Limit(price)),
            OrderKind::Stop { stop_price, .. } => Some(Trigger::Stop(stop_price)),
        }
    }
}

impl Book {
    /// How many orders are open.
    pub fn open_orders(&self) -> usize {
        self.open.len()
    }

    /// Whether an asset is kept here.
    pub fn knows(&self, asset: &Asset) -> bool {
        self.ledger.scale(asset).is_some()
    }

    /// What there is to tell since this was last asked, in the order in which it was decided.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }

    /// Notes how far stream `TICKS` is applied, whatever its message is: after a restart that is the position.
    pub fn follow(&mut self, sequence: u64) {
        self.last_tick = sequence;
    }

    /// Applies a tick that the broker stored at `stored_at`: it becomes its symbol's price, and fills what waits for it.
    ///
    /// One that is older than its symbol's newest is late and changes nothing. One from the future, by more than a price may
    /// be old, is a fault of its venue and would make every other price look old.
    pub fn tick(&mut self, tick: &Tick, sequence: u64, stored_at: Timestamp) {
        self.follow(sequence);
        if tick.at > stored_at.after(self.policy.max_price_age) {
            return;
        }
        let market = self.markets.entry(tick.symbol.clone()).or_default();
        if market.latest.is_some_and(|latest| latest.at > tick.at) {
            return;
        }
        let quote = Quote { price: tick.price, at: tick.at, sequence };
        market.latest = Some(quote);
        self.changed.prices.insert(tick.symbol.clone());
        self.newest_at = self.newest_at.max(tick.at);
        self.expire_parked();
        if self.is_stale(quote) {
            return;
        }
        let reached = self.markets.get_mut(&tick.symbol).map(|market| market.waiting.reached(tick.price));
        for order in reached.unwrap_or_default() {
            if let Some(open) = self.take_open(order) {
                self.execute(open, Ok(quote), tick.at);
            }
        }
    }

    /// Decides an order, unless it is decided already.
    pub fn place(&mut self, placed: OrderPlaced) {
        let OrderPlaced { order_id: id, user_id, terms, after_alert, placed_at } = placed;
        if self.open.contains_key(&id) || self.changed.orders.contains_key(&id) {
            return;
        }
        let order = Order { id, user_id, terms };
        if let Err(rejection) = self.enter(&order, after_alert, placed_at) {
            self.close(&order, 1, OrderStatus::Rejected, Some(rejection), placed_at);
        }
    }

    /// Takes an order back, unless it is final or somebody else's. An alert that ends takes only an order that it has not
    /// placed: which came first, its end or its firing, is what the streams say.
    pub fn cancel(&mut self, request: &OrderCancelRequested) {
        let is_meant = |open: &Open| {
            open.order.user_id == request.user_id && (open.parked.is_some() || !request.only_while_waiting_for_alert)
        };
        if self.open.get(&request.order_id).is_some_and(is_meant)
            && let Some(open) = self.take_open(request.order_id)
        {
            self.give_up(open, OrderStatus::Cancelled, None, request.requested_at);
        }
    }

    /// Places the order that waits for a rule's firing, if one does.
    pub fn fire(&mut self, alert: &AlertFired) {
        let Some(mut open) = self.parked.get(&alert.rule_id).copied().and_then(|order| self.take_open(order)) else {
            return;
        };
        open.parked = None;
        let fresh = self.fresh(&open.order.terms.symbol);
        let side = open.order.terms.side;
        let waits =
            open.order.trigger().filter(|trigger| !fresh.is_ok_and(|quote| trigger.is_reached(side, quote.price)));
        match (waits, open.order.terms.execution) {
            (None, _) => self.execute(open, fresh, alert.fired_at),
            (Some(_), OrderKind::Limit { time_in_force: TimeInForce::Ioc, .. }) => {
                self.give_up(open, OrderStatus::Expired, None, alert.fired_at);
            }
            (Some(_), _) => {
                open.revision += 1;
                self.wait(open, alert.fired_at);
            }
        }
    }

    /// Funds an account, once.
    pub fn deposit(&mut self, request: &DepositRequested) -> Result<(), Unpostable> {
        let DepositRequested { deposit_id, user_id, asset, amount, requested_at } = request;
        let scale = self.ledger.scale(asset).ok_or_else(|| Unpostable::Asset(asset.clone()))?;
        let amount = amounts::of_amount(amount.decimal(), scale).filter(|amount| *amount > 0);
        let amount = amount.ok_or_else(|| Unpostable::Amount(asset.clone()))?;
        if self.changed.deposits.contains(deposit_id) {
            return Ok(());
        }
        let transfers = [Transfer { asset, from: AccountOwner::Issued, to: AccountOwner::Available(*user_id), amount }];
        if !self.ledger.counts(&transfers) {
            return Err(Unpostable::TooMuch(asset.clone()));
        }
        self.changed.deposits.insert(*deposit_id);
        let about = About { reason: Reason::Deposit, user_id: *user_id, cause: *deposit_id, at: *requested_at };
        self.ledger.post(about, &transfers);
        Ok(())
    }

    /// The newest price of a symbol, if it may fill anything.
    fn fresh(&self, symbol: &Symbol) -> Result<Quote, RejectReason> {
        let quote = self.markets.get(symbol).and_then(|market| market.latest).ok_or(RejectReason::NoPrice)?;
        if self.is_stale(quote) { Err(RejectReason::StalePrice) } else { Ok(quote) }
    }

    fn is_stale(&self, quote: Quote) -> bool {
        quote.at.after(self.policy.max_price_age) < self.newest_at
    }

    /// Rules that judge no more ticks place no more orders. Their last firing comes when the engine has judged as far.
    fn expire_parked(&mut self) {
        while let Some((until, order)) = self.ending.first().copied()
            && until.after(FIRING_PATIENCE) < self.newest_at
        {
            match self.take_open(order) {
                Some(open) => self.give_up(open, OrderStatus::Expired, None, until),
                None => _ = self.ending.pop_first(),
            }
        }
    }
}
