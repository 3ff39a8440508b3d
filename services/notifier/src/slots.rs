//! Slots bound how many deliveries a process claims: no more than it can attempt at once, and no more than may be sent again after
//! a crash, because their outcomes are not recorded yet.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of deliveries for each connection that are attempted or whose outcome waits to be recorded. Recording takes a few
/// times as long as a fast server takes an email.
const UNRECORDED_PER_CONNECTION: usize = 4;

/// The slots of a process. A connection is free again when its attempt has ended; the outcome is recorded meanwhile.
#[derive(Clone)]
pub(crate) struct Slots {
    connections: Arc<Semaphore>,
    unrecorded: Arc<Semaphore>,
    /// The number of permits of `unrecorded`.
    most: u32,
}

/// The room for one delivery.
pub(crate) struct Slot {
    /// The permit to attempt it, which is released when the attempt has ended.
    pub(crate) connection: OwnedSemaphorePermit,
    /// The permit to have an outcome that is not recorded, which is released when it is.
    pub(crate) unrecorded: OwnedSemaphorePermit,
}

impl Slots {
    /// Makes the slots for so many concurrent attempts.
    pub(crate) fn new(concurrency: u16) -> Self {
        let most = usize::from(concurrency) * UNRECORDED_PER_CONNECTION;
        Self {
            connections: Arc::new(Semaphore::new(concurrency.into())),
            unrecorded: Arc::new(Semaphore::new(most)),
            most: u32::try_from(most).unwrap_or(u32::MAX),
        }
    }

    /// Returns the number of outcomes that wait to be recorded at most.
    pub(crate) fn most_unrecorded(&self) -> usize {
        self.most as usize
    }

    /// Waits for one free slot and returns it with all others that are free.
    pub(crate) async fn free(&self) -> Vec<Slot> {
        let unrecorded = Arc::clone(&self.unrecorded).acquire_owned().await.expect("the semaphore is never closed");
        let connection = Arc::clone(&self.connections).acquire_owned().await.expect("the semaphore is never closed");
        std::iter::once(Slot { connection, unrecorded }).chain(self.free_now()).collect()
    }

    /// Returns the slots that are free now, as they are taken.
    pub(crate) fn free_now(&self) -> impl Iterator<Item = Slot> {
        std::iter::from_fn(|| {
            let unrecorded = Arc::clone(&self.unrecorded).try_acquire_owned().ok()?;
            let connection = Arc::clone(&self.connections).try_acquire_owned().ok()?;
            Some(Slot { connection, unrecorded })
        })
    }

    /// Waits until every attempt has ended and is recorded.
    pub(crate) async fn all_free(&self) {
        let all = self.unrecorded.acquire_many(self.most).await;
        drop(all.expect("the semaphore is never closed"));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn free(slots: &Slots) -> Vec<Slot> {
        slots.free().now_or_never().unwrap_or_default()
    }

    #[test]
    fn an_attempt_waits_for_a_connection_and_few_of_them_for_their_record() {
        let slots = Slots::new(2);
        assert_eq!(slots.most_unrecorded(), 8);
        let mut unrecorded = Vec::new();
        for round in 0..4 {
            let claimed = free(&slots);
            assert_eq!((claimed.len(), free(&slots).len()), (2, 0), "round {round}: no more than connections");
            unrecorded.extend(claimed.into_iter().map(|slot| slot.unrecorded));
        }
        assert!(free(&slots).is_empty(), "connections are free, and too many outcomes are not recorded");
        assert!(slots.all_free().now_or_never().is_none());
        unrecorded.truncate(7);
        assert_eq!(free(&slots).len(), 1, "the room of one outcome that was recorded");
        drop(unrecorded);
        assert_eq!(slots.free_now().take(1).count(), 1, "no more than asked for");
        assert_eq!(free(&slots).len(), 2);
        assert!(slots.all_free().now_or_never().is_some());
    }
}
