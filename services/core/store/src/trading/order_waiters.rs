//! Waits for decisions of the settler. All waiters of a process share one listener and, for each of its notifications, one
//! query.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};
use tracing::warn;
use uuid::Uuid;

use crate::{
    Error, Store,
    pg::listener::Listener,
    trading::{
        deposits,
        orders::{self, Decision, OrderRecord},
    },
};

/// The PostgreSQL channel that announces settled orders and deposits.
pub(crate) const SETTLED: &str = "orders_settled";
/// The interval of polling, which finds decisions whose notification was lost while the listener reconnected.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The state of an order that ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The settler has made a first decision: the order is open or final.
    Decided,
    /// The order is final: nothing more can happen to it.
    Final,
}

/// The registry of those in this process who wait for decisions of the settler.
#[derive(Debug, Clone, Default)]
pub struct OrderWaiters {
    orders: Subscribers<Decision>,
    /// The waiters for deposits, each of which receives the number of the deposit's posting.
    deposits: Subscribers<i64>,
}

impl Until {
    /// Returns `true` when the order has reached this state.
    pub fn is_met_by(self, order: &OrderRecord) -> bool {
        order.decision.as_ref().is_some_and(|decision| self.is_met(decision))
    }

    fn is_met(self, decision: &Decision) -> bool {
        match self {
            Self::Decided => true,
            Self::Final => decision.state.status.is_final(),
        }
    }
}

impl OrderWaiters {
    /// Starts to wait for an order. A wait that starts before the order is saved misses no decision.
    pub fn order(&self, id: Uuid, until: Until) -> Waiting<Decision> {
        let is_enough: fn(&Decision) -> bool = match until {
            Until::Decided => |decision| Until::Decided.is_met(decision),
            Until::Final => |decision| Until::Final.is_met(decision),
        };
        self.orders.add(id, is_enough)
    }

    /// Starts to wait for the number of a deposit's posting.
    pub fn deposit(&self, id: Uuid) -> Waiting<i64> {
        self.deposits.add(id, |_| true)
    }

    /// Queries the decisions that are waited for, whenever a settler has committed and once a second. It runs until the
    /// future is dropped.
    pub async fn run(&self, store: &Store) -> Infallible {
        let mut listener = Listener::new(store, SETTLED);
        loop {
            if let Err(error) = self.poll(store).await {
                warn_retry("query settled orders", &error);
            }
            listener.wait(Instant::now() + POLL_INTERVAL).await;
        }
    }

    async fn poll(&self, store: &Store) -> Result<(), Error> {
        let orders = self.orders.ids();
        if !orders.is_empty() {
            self.orders.resolve(orders::find_decisions(store, &orders).await?.into_iter().collect());
        }
        let deposits = self.deposits.ids();
        if !deposits.is_empty() {
            self.deposits.resolve(deposits::find_postings(store, &deposits).await?.into_iter().collect());
        }
        Ok(())
    }
}

fn warn_retry(action: &str, error: &Error) {
    warn!(error = platform::runtime::error::error_chain(error), "could not {action}; trying again in a second");
}

/// A wait, which ends when this is dropped.
#[derive(Debug)]
pub struct Waiting<T> {
    key: u64,
    waiters: Subscribers<T>,
    receiver: oneshot::Receiver<T>,
}

impl<T> Waiting<T> {
    /// Returns the value that was waited for, or `None` when it has not arrived by `deadline`.
    pub async fn until(mut self, deadline: Instant) -> Option<T> {
        tokio::time::timeout_at(deadline, &mut self.receiver).await.ok()?.ok()
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.waiters.lock().waiting.remove(&self.key);
    }
}

#[derive(Debug)]
struct Subscribers<T>(Arc<Mutex<WaiterQueue<T>>>);

#[derive(Debug)]
struct WaiterQueue<T> {
    next: u64,
    waiting: BTreeMap<u64, Waiter<T>>,
}

#[derive(Debug)]
struct Waiter<T> {
    id: Uuid,
    is_enough: fn(&T) -> bool,
    sender: oneshot::Sender<T>,
}

impl<T> Clone for Subscribers<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Subscribers<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(WaiterQueue { next: 0, waiting: BTreeMap::new() })))
    }
}

impl<T> Subscribers<T> {
    fn lock(&self) -> MutexGuard<'_, WaiterQueue<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: Uuid, is_enough: fn(&T) -> bool) -> Waiting<T> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.lock();
        let key = queue.next;
        queue.next += 1;
        queue.waiting.insert(key, Waiter { id, is_enough, sender });
        Waiting { key, waiters: self.clone(), receiver }
    }

    fn ids(&self) -> Vec<Uuid> {
        self.lock().waiting.values().map(|waiter| waiter.id).collect()
    }
}

impl<T: Clone> Subscribers<T> {
    fn resolve(&self, found: HashMap<Uuid, T>) {
        let mut queue = self.lock();
        for (key, waiter) in mem::take(&mut queue.waiting) {
            match found.get(&waiter.id).filter(|found| (waiter.is_enough)(found)) {
                // The send fails when the waiter was dropped meanwhile, which needs no handling.
                Some(found) => drop(waiter.sender.send(found.clone())),
                None => drop(queue.waiting.insert(key, waiter)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn resolve(waiters: &Subscribers<i32>, found: &[(u128, i32)]) {
        waiters.resolve(found.iter().map(|(number, value)| (id(*number), *value)).collect());
    }

    #[tokio::test(start_paused = true)]
    async fn each_waiter_is_resolved_by_what_it_waits_for_and_no_sooner() {
        let waiters = Subscribers::default();
        let any = waiters.add(id(1), |_| true);
        let twin = waiters.add(id(1), |_| true);
        let positive = waiters.add(id(1), |found| *found > 0);
        let other = waiters.add(id(2), |_| true);
        resolve(&waiters, &[(1, 0), (3, 5)]);
        assert_eq!(waiters.ids(), [id(1), id(2)]);
        resolve(&waiters, &[(1, 7)]);
        assert_eq!(any.until(soon()).await, Some(0));
        assert_eq!(twin.until(soon()).await, Some(0));
        assert_eq!(positive.until(soon()).await, Some(7));
        assert_eq!(other.until(soon()).await, None, "its time is over");
        assert!(waiters.ids().is_empty());
    }

    #[tokio::test]
    async fn a_dropped_waiter_is_no_longer_queried() {
        let waiters = Subscribers::<i32>::default();
        let gone = waiters.add(id(1), |_| true);
        let stays = waiters.add(id(2), |_| true);
        drop(gone);
        assert_eq!(waiters.ids(), [id(2)]);
        resolve(&waiters, &[(2, 1)]);
        drop(stays);
        assert!(waiters.ids().is_empty());
    }
}
