//! The orders and deposits that may reach the settler a second time.
//!
//! # Why nothing is lost or settled twice
//!
//! A producer that got no acknowledgement publishes an event again, under the same message id. Within its deduplication window
//! the broker drops the copy. After that window the copy is stored under a sequence of its own, so the consumer's position does
//! not tell that its order was settled before. The settler must recognise it by the id of the order or the deposit:
//!
//! - **Decided in this run and not committed yet** ([`RedeliveryWindow::begin_commit`]): the ids are remembered from the moment
//!   the commit begins until it ends. Before that, the order book knows what it has decided itself.
//! - **Decided before this run began.** The messages that are pending when a run begins may contain copies of orders that an
//!   earlier run settled. For as many orders as were pending then, the store is asked ([`RedeliveryWindow::take_lookups`]).
//! - **Decided in this run and committed**, and published again afterwards, later than the deduplication window: the store is
//!   not asked, because that would cost every order a query. The fence of the batch statement refuses to decide a final
//!   order anew, the run fails without any effect, and the next run finds the copy among its pending messages.
//!
//! In the same two ways an order is recognised that is not as its row says, or has none, because the database was restored
//! from a backup that is older than the stream, or because somebody else has published it: the store is asked about those
//! that were pending, and the fence refuses all others without a row.
//!
//! Deposits are rare, so the store is asked about each of them. No event is skipped unless its order or deposit is found
//! settled, so nothing is lost.

use std::collections::HashSet;

use uuid::Uuid;

/// Tells which orders and deposits may be settled already.
#[derive(Debug)]
pub(crate) struct RedeliveryWindow {
    /// The number of orders, of those that were pending when the run began, that are still to come.
    pending_orders: u64,
    /// The orders and deposits of the batch that is being committed.
    uncommitted: HashSet<Uuid>,
}

/// The ids that the store must be asked about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lookups {
    pub(crate) orders: Vec<Uuid>,
    pub(crate) deposits: Vec<Uuid>,
}

impl RedeliveryWindow {
    /// Opens the window at the start of a run. `pending` is the number of messages of the order stream that are stored and not
    /// applied; not each of them is an order, so it is an upper bound.
    pub(crate) fn new(pending: u64) -> Self {
        Self { pending_orders: pending, uncommitted: HashSet::new() }
    }

    /// Returns the orders and deposits of a batch that the store must be asked about, and counts the orders as arrived.
    pub(crate) fn take_lookups(
        &mut self,
        orders: impl Iterator<Item = Uuid>,
        deposits: impl Iterator<Item = Uuid>,
    ) -> Lookups {
        let limit = usize::try_from(self.pending_orders).unwrap_or(usize::MAX);
        let orders: Vec<Uuid> = orders.take(limit).collect();
        self.pending_orders -= orders.len() as u64;
        Lookups { orders, deposits: deposits.collect() }
    }

    /// Returns the ids of a batch that must be skipped: those that the store found settled, and those being committed.
    pub(crate) fn settled(&self, found: Vec<Uuid>) -> HashSet<Uuid> {
        let mut settled = self.uncommitted.clone();
        settled.extend(found);
        settled
    }

    /// Remembers the orders and deposits of a batch whose commit begins.
    pub(crate) fn begin_commit(&mut self, ids: impl Iterator<Item = Uuid>) {
        self.uncommitted = ids.collect();
    }

    /// Forgets them once the batch is committed.
    pub(crate) fn end_commit(&mut self) {
        self.uncommitted.clear();
    }
}

impl Lookups {
    /// Returns true when there is nothing to ask the store.
    pub(crate) fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.deposits.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u128>) -> impl Iterator<Item = Uuid> {
        range.map(Uuid::from_u128)
    }

    #[test]
    fn only_orders_that_were_pending_at_the_start_are_looked_up() {
        let mut window = RedeliveryWindow::new(3);
        assert_eq!(window.take_lookups(ids(0..2), ids(0..0)).orders, Vec::from_iter(ids(0..2)));
        assert_eq!(window.take_lookups(ids(2..5), ids(0..0)).orders, Vec::from_iter(ids(2..3)));
        assert!(window.take_lookups(ids(5..9), ids(0..0)).is_empty());
    }

    #[test]
    fn every_deposit_is_looked_up() {
        let mut window = RedeliveryWindow::new(0);
        let lookups = window.take_lookups(ids(0..5), ids(7..9));
        assert_eq!(lookups, Lookups { orders: Vec::new(), deposits: ids(7..9).collect() });
    }

    #[test]
    fn an_order_is_skipped_while_its_batch_is_committed_and_left_to_the_fence_after_that() {
        let mut window = RedeliveryWindow::new(0);
        window.begin_commit(ids(1..3));
        assert_eq!(window.settled(Vec::new()), ids(1..3).collect());
        window.end_commit();
        assert!(window.settled(Vec::new()).is_empty());
    }

    #[test]
    fn an_order_that_the_store_knows_is_skipped_beside_those_being_committed() {
        let mut window = RedeliveryWindow::new(9);
        window.begin_commit(ids(1..2));
        assert_eq!(window.settled(ids(5..6).collect()), ids(1..2).chain(ids(5..6)).collect());
    }

    #[test]
    fn a_later_batch_replaces_the_one_that_is_committed() {
        let mut window = RedeliveryWindow::new(0);
        window.begin_commit(ids(1..2));
        window.end_commit();
        window.begin_commit(ids(2..3));
        assert_eq!(window.settled(Vec::new()), ids(2..3).collect());
    }
}
