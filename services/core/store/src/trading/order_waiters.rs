//! Waiting for what the settler decides. Where it settles in the same process it says so itself, once that is committed.
//! Otherwise all who wait in a process share one listener and, for each of its notices, one question to the database.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ledger::rows::Changes;
use sqlx::postgres::PgListener;
use tokio::{sync::oneshot, time::Instant};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{
    Error, Store,
    trading::{
        deposits,
        orders::{self, Decision, OrderRecord, OrderState},
        settlement::SETTLED,
        trades::Trade,
    },
};

/// A notice that was lost while the listener reconnected is made up for after this long.
const SWEEP: Duration = Duration::from_secs(1);

/// What an order is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The settler has decided anything: it is open or final.
    Decided,
    /// Nothing more can happen to it.
    Final,
}

/// Everybody in this process who waits.
#[derive(Debug, Clone, Default)]
pub struct OrderWaiters {
    orders: Subscribers<Decision>,
    /// Waits for the number of its posting.
    deposits: Subscribers<i64>,
}

impl Until {
    /// Whether an order needs no longer be waited for.
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
    /// Waits for an order from now on: begun before the order is saved, it misses nothing.
    pub fn order(&self, id: Uuid, until: Until) -> Waiting<Decision> {
        let enough: fn(&Decision) -> bool = match until {
            Until::Decided => |decision| Until::Decided.is_met(decision),
            Until::Final => |decision| Until::Final.is_met(decision),
        };
        self.orders.add(id, enough)
    }

    /// Waits for the number of a deposit's posting, from now on.
    pub fn deposit(&self, id: Uuid) -> Waiting<i64> {
        self.deposits.add(id, |_| true)
    }

    /// Tells what was decided in this process, once it is committed.
    pub(crate) fn tell(&self, changes: &Changes) {
        let waited: HashSet<Uuid> = self.deposits.ids().into_iter().collect();
        let posted = changes.postings.iter().filter(|posting| waited.contains(&posting.cause));
        self.deposits.tell(posted.map(|posting| (posting.cause, posting.id)).collect());
        let waited: HashSet<Uuid> = self.orders.ids().into_iter().collect();
        let orders: Vec<_> = changes.orders.iter().filter(|order| waited.contains(&order.order_id)).collect();
        if orders.is_empty() {
            return;
        }
        let trades: HashMap<Uuid, _> = changes.trades.iter().map(|trade| (trade.order_id, trade)).collect();
        let decided = orders.into_iter().map(|order| {
            let trade = trades.get(&order.order_id).map(|trade| Trade::of(trade)).transpose()?;
            Ok((order.order_id, Decision { state: OrderState::of(order)?, trade }))
        });
        match decided.collect::<Result<_, Error>>() {
            Ok(decided) => self.orders.tell(decided),
            Err(error) => complain("tell what was decided", &error),
        }
    }

    /// Looks for those who wait whenever the settler has committed, and once a second, for as long as it is polled.
    pub async fn run(&self, store: &Store) -> Infallible {
        let mut listener = None;
        loop {
            if listener.is_none() {
                listener = listen(store).await.inspect_err(|error| complain("listen", error)).ok();
            }
            if let Err(error) = self.look(store).await {
                complain("look for orders", &error);
            }
            let next_look = Instant::now() + SWEEP;
            if let Some(open) = listener.as_mut() {
                match tokio::time::timeout_at(next_look, foreign(open, store.instance)).await {
                    // One look is enough for all notices that are there.
                    Ok(Ok(())) => while open.next_buffered().is_some() {},
                    Ok(Err(error)) => {
                        complain("listen", &error);
                        listener = None;
                        tokio::time::sleep_until(next_look).await;
                    }
                    Err(_) => {}
                }
            } else {
                tokio::time::sleep_until(next_look).await;
            }
        }
    }

    async fn look(&self, store: &Store) -> Result<(), Error> {
        let orders = self.orders.ids();
        if !orders.is_empty() {
            self.orders.tell(orders::find_decisions(store, &orders).await?.into_iter().collect());
        }
        let deposits = self.deposits.ids();
        if !deposits.is_empty() {
            self.deposits.tell(deposits::find_postings(store, &deposits).await?.into_iter().collect());
        }
        Ok(())
    }
}

/// Waits for a notice of another process: what this one settles it tells itself.
async fn foreign(listener: &mut PgListener, instance: Uuid) -> Result<(), Error> {
    let own = instance.to_string();
    while listener.recv().await?.payload() == own {}
    Ok(())
}

async fn listen(store: &Store) -> Result<PgListener, Error> {
    let mut listener = PgListener::connect_with(store.pool()).await?;
    listener.listen(SETTLED).await?;
    debug!("listening for what is settled");
    Ok(listener)
}

fn complain(doing: &str, error: &Error) {
    warn!(error = platform::runtime::error::error_chain(error), "could not {doing}; trying again in a second");
}

/// Somebody's wait, which ends with it.
#[derive(Debug)]
pub struct Waiting<T> {
    key: u64,
    waiters: Subscribers<T>,
    told: oneshot::Receiver<T>,
}

impl<T> Waiting<T> {
    /// What was waited for; `None` when it is not there by `deadline`.
    pub async fn until(mut self, deadline: Instant) -> Option<T> {
        tokio::time::timeout_at(deadline, &mut self.told).await.ok()?.ok()
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.waiters.lock().waiting.remove(&self.key);
    }
}

#[derive(Debug)]
struct Subscribers<T>(Arc<Mutex<Line<T>>>);

#[derive(Debug)]
struct Line<T> {
    next: u64,
    waiting: BTreeMap<u64, Waiter<T>>,
}

#[derive(Debug)]
struct Waiter<T> {
    id: Uuid,
    enough: fn(&T) -> bool,
    tell: oneshot::Sender<T>,
}

impl<T> Clone for Subscribers<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Subscribers<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Line { next: 0, waiting: BTreeMap::new() })))
    }
}

impl<T> Subscribers<T> {
    fn lock(&self) -> MutexGuard<'_, Line<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: Uuid, enough: fn(&T) -> bool) -> Waiting<T> {
        let (tell, told) = oneshot::channel();
        let mut line = self.lock();
        let key = line.next;
        line.next += 1;
        line.waiting.insert(key, Waiter { id, enough, tell });
        Waiting { key, waiters: self.clone(), told }
    }

    fn ids(&self) -> Vec<Uuid> {
        self.lock().waiting.values().map(|waiter| waiter.id).collect()
    }
}

impl<T: Clone> Subscribers<T> {
    fn tell(&self, found: HashMap<Uuid, T>) {
        let mut line = self.lock();
        for (key, waiter) in mem::take(&mut line.waiting) {
            match found.get(&waiter.id).filter(|found| (waiter.enough)(found)) {
                // Whoever no longer waits needs not be told.
                Some(found) => drop(waiter.tell.send(found.clone())),
                None => drop(line.waiting.insert(key, waiter)),
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

    fn tell(waiters: &Subscribers<i32>, found: &[(u128, i32)]) {
        waiters.tell(found.iter().map(|(number, value)| (id(*number), *value)).collect());
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_told_what_was_waited_for_and_no_sooner() {
        let waiters = Subscribers::default();
        let any = waiters.add(id(1), |_| true);
        let twin = waiters.add(id(1), |_| true);
        let positive = waiters.add(id(1), |found| *found > 0);
        let other = waiters.add(id(2), |_| true);
        tell(&waiters, &[(1, 0), (3, 5)]);
        assert_eq!(waiters.ids(), [id(1), id(2)]);
        tell(&waiters, &[(1, 7)]);
        assert_eq!(any.until(soon()).await, Some(0));
        assert_eq!(twin.until(soon()).await, Some(0));
        assert_eq!(positive.until(soon()).await, Some(7));
        assert_eq!(other.until(soon()).await, None, "its time is over");
        assert!(waiters.ids().is_empty());
    }

    #[tokio::test]
    async fn whoever_goes_away_is_no_longer_asked_for() {
        let waiters = Subscribers::<i32>::default();
        let gone = waiters.add(id(1), |_| true);
        let stays = waiters.add(id(2), |_| true);
        drop(gone);
        assert_eq!(waiters.ids(), [id(2)]);
        tell(&waiters, &[(2, 1)]);
        drop(stays);
        assert!(waiters.ids().is_empty());
    }
}
