//! Restores the order book from its saved state, and takes the changes to save.

use std::collections::{BTreeSet, HashMap};

use events::OrderRequest;
use thiserror::Error;
use uuid::Uuid;

use super::{Hold, OpenOrder, Order, OrderBook, Policy, UnsavedChanges};
use crate::{
    accounts::{Ledger, NewPostings, UnknownAccount},
    amounts,
    rows::{AssetRow, Changes, LedgerState, OrderState},
};

/// The saved state is inconsistent; somebody has changed it by hand.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// An account cannot be restored.
    #[error("restore the accounts")]
    Account(#[from] UnknownAccount),
    /// The row of an open order is missing, so that nobody knows what its funds are held for.
    #[error(
        "order {0} is open, and its row in table orders is missing; after a restore take these rows over, as RUNBOOK.md says \
         under \"Back up and restore\""
    )]
    Missing(Uuid),
    /// An open order holds no amount of a known asset.
    #[error("order {0} is open and holds no amount of a known asset")]
    Order(Uuid),
}

impl OrderBook {
    /// Restores the book from its saved state. `last_tick` is the sequence of the last applied message of stream `TICKS`.
    pub fn restore(saved: LedgerState, policy: Policy, last_tick: u64) -> Result<Self, RestoreError> {
        let LedgerState { assets, accounts, last_posting, open, prices, markets: _ } = saved;
        let mut book = Self {
            policy,
            ledger: Ledger::restore(assets, accounts, last_posting)?,
            markets: HashMap::new(),
            open: HashMap::new(),
            open_per_user: HashMap::new(),
            awaiting_by_rule: HashMap::new(),
            rule_expiries: BTreeSet::new(),
            newest_at: prices.iter().map(|row| row.at).max().unwrap_or_default(),
            last_tick,
            last_queue_rank: 0,
            unsaved: UnsavedChanges::default(),
            events: Vec::new(),
        };
        for row in prices {
            book.markets.entry(row.symbol.clone()).or_default().restore(row);
        }
        for (state, terms) in open {
            let at = state.updated_at;
            let terms = terms.ok_or(RestoreError::Missing(state.order_id))?;
            let open = book.restore_order(state, terms)?;
            book.last_queue_rank = book.last_queue_rank.max(open.queue_rank);
            book.add_open(open, at);
        }
        // Adding the restored orders is no change.
        book.unsaved = UnsavedChanges::default();
        book.events.clear();
        Ok(book)
    }

    fn restore_order(&self, state: OrderState, terms: OrderRequest) -> Result<OpenOrder, RestoreError> {
        let held = state.held.and_then(|(asset, held)| {
            let amount = amounts::to_minor_units(held, self.ledger.scale(&asset)?)?;
            Some(Hold { asset, amount })
        });
        Ok(OpenOrder {
            held: held.ok_or(RestoreError::Order(state.order_id))?,
            order: Order { id: state.order_id, user_id: state.user_id, terms },
            revision: state.revision,
            queue_rank: state.queue_rank,
            awaiting_alert: state.awaiting_alert,
        })
    }

    /// Adds assets that accounts may hold from now on.
    pub fn add_assets(&mut self, assets: Vec<AssetRow>) {
        self.ledger.add_assets(assets);
    }

    /// Takes what has changed since the last call, for the store to save.
    pub fn take_changes(&mut self) -> Changes {
        let UnsavedChanges { orders, trades, prices, deposits: _ } = std::mem::take(&mut self.unsaved);
        let NewPostings { accounts, postings, transfers } = self.ledger.take_new_postings();
        let take = |symbol| self.markets.get_mut(&symbol).map(|market| market.take_unsaved(&symbol));
        let prices = prices.into_iter().filter_map(take).flatten().collect();
        let orders = orders.into_values().collect();
        Changes { accounts, postings, transfers, orders, trades, prices, markets: Vec::new() }
    }
}
