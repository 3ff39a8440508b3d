//! The book as it is saved, and as it is read again.

use std::collections::{BTreeSet, HashMap};

use events::{OrderRequest, order::AlertTrigger};
use store::trading::settlement::{AssetRow, Changes, LedgerState, OrderState, PriceRow};
use thiserror::Error;
use uuid::Uuid;

use super::{Book, Changed, Held, Market, Open, Order, Policy, Quote};
use crate::{
    amounts,
    ledger::{Ledger, Posted, UnknownAccount},
};

/// What is kept makes no sense; somebody has changed it by hand.
#[derive(Debug, Error)]
pub enum RecallError {
    /// An account is none.
    #[error("recall the accounts")]
    Account(#[from] UnknownAccount),
    /// Funds are held for an order that nobody knows any more.
    #[error(
        "order {0} is open, and its row in table orders is missing; after a restore take these rows over, as RUNBOOK.md says \
         under \"Back up and restore\""
    )]
    Missing(Uuid),
    /// An open order holds nothing that can be held.
    #[error("order {0} is open and holds no amount of a known asset")]
    Order(Uuid),
}

impl Book {
    /// The book as it was saved, with the last tick of the settler's position.
    pub fn recall(memory: LedgerState, policy: Policy, last_tick: u64) -> Result<Self, RecallError> {
        let LedgerState { assets, accounts, last_posting, open, prices } = memory;
        let mut book = Self {
            policy,
            ledger: Ledger::recall(assets, accounts, last_posting)?,
            markets: HashMap::new(),
            open: HashMap::new(),
            open_of: HashMap::new(),
            parked: HashMap::new(),
            ending: BTreeSet::new(),
            newest_at: prices.iter().map(|row| row.at).max().unwrap_or_default(),
            last_tick,
            last_place: 0,
            changed: Changed::default(),
            facts: Vec::new(),
        };
        for PriceRow { symbol, price, at, sequence } in prices {
            let latest = Some(Quote { price, at, sequence });
            book.markets.insert(symbol, Market { latest, ..Market::default() });
        }
        for (state, terms) in open {
            let at = state.updated_at;
            let terms = terms.ok_or(RecallError::Missing(state.order_id))?;
            let open = book.recall_order(state, terms)?;
            book.last_place = book.last_place.max(open.place);
            book.wait(open, at);
        }
        // Letting them wait is nothing new.
        book.changed = Changed::default();
        book.facts.clear();
        Ok(book)
    }

    fn recall_order(&self, state: OrderState, terms: OrderRequest) -> Result<Open, RecallError> {
        let held = state.held.and_then(|(asset, held)| {
            let amount = amounts::of_amount(held, self.ledger.scale(&asset)?)?;
            Some(Held { asset, amount })
        });
        Ok(Open {
            held: held.ok_or(RecallError::Order(state.order_id))?,
            order: Order { id: state.order_id, user_id: state.user_id, terms },
            revision: state.revision,
            place: state.place,
            parked: state.parked.map(|(rule_id, expires_at)| AlertTrigger { rule_id, expires_at }),
        })
    }

    /// Learns of assets that were added since.
    pub fn learn(&mut self, assets: Vec<AssetRow>) {
        self.ledger.learn(assets);
    }

    /// What has changed since this was last asked.
    pub fn take_changes(&mut self) -> Changes {
        let Changed { orders, trades, prices, deposits: _ } = std::mem::take(&mut self.changed);
        let Posted { accounts, postings, transfers } = self.ledger.take_posted();
        let prices = prices.into_iter().filter_map(|symbol| {
            let Quote { price, at, sequence } = self.markets.get(&symbol)?.latest?;
            Some(PriceRow { symbol, price, at, sequence })
        });
        let prices = prices.collect();
        Changes { accounts, postings, transfers, orders: orders.into_values().collect(), trades, prices }
    }
}
