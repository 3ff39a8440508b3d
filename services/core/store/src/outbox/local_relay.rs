//! How a committed event reaches the relay of the same process without a notification from the database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use events::OutboundMessage;
use tokio::sync::{Notify, mpsc};

/// The capacity of the channel to the relay of the same process, in events.
pub(crate) const CHANNEL_CAPACITY: usize = 4_000;

/// A committed event and the id of its row.
pub(crate) type Committed = (i64, OutboundMessage);

/// The relays of this process by service. An event that is committed in the same process reaches its relay without a
/// notification from the database.
#[derive(Debug, Clone, Default)]
pub struct LocalRelay(Arc<Mutex<HashMap<&'static str, Relay>>>);

/// The channels to one relay of this process.
#[derive(Debug)]
struct Relay {
    /// Sends committed events to the relay, which then need not read them from the database.
    events: mpsc::Sender<Committed>,
    /// Wakes the relay, which then reads the outbox.
    wake: Weak<Notify>,
}

impl LocalRelay {
    pub(crate) fn open(&self, service: &'static str) -> (mpsc::Receiver<Committed>, Arc<Notify>) {
        let (sender, receiver) = mpsc::channel(CHANNEL_CAPACITY);
        let wake = Arc::new(Notify::new());
        let relay = Relay { events: sender, wake: Arc::downgrade(&wake) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(service, relay);
        (receiver, wake)
    }

    fn with(&self, service: &'static str, send: impl FnOnce(&Relay) -> bool) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(service).is_some_and(send)
    }

    /// Sends an event to the relay of this process, and returns `false` when none receives it. The relay then reads it
    /// from the database, where every event is.
    pub(crate) fn enqueue(&self, service: &'static str, committed: Committed) -> bool {
        self.with(service, |relay| relay.events.try_send(committed).is_ok())
    }

    /// Wakes the relay of this process, and returns `false` when there is none.
    pub(crate) fn wake(&self, service: &'static str) -> bool {
        self.with(service, |relay| relay.wake.upgrade().inspect(|wake| wake.notify_one()).is_some())
    }
}

#[cfg(test)]
mod tests {
    use events::OutboundMessage;
    use futures::FutureExt;

    use super::*;

    fn committed(row: i64) -> Committed {
        (
            row,
            OutboundMessage {
                subject: "orders.BTC-USD.1".into(),
                id: "1".into(),
                headers: Vec::new(),
                body: Vec::new(),
            },
        )
    }

    #[test]
    fn an_event_is_enqueued_only_where_a_relay_receives_it() {
        let local_relay = LocalRelay::default();
        assert!(!local_relay.enqueue("gateway", committed(1)), "no relay");
        let (mut relay, wake) = local_relay.open("gateway");
        assert!(local_relay.enqueue("gateway", committed(2)) && !local_relay.enqueue("operator", committed(3)));
        assert_eq!(relay.try_recv().map(|(row, _)| row), Ok(2));
        let received = (0..).take_while(|row| local_relay.enqueue("gateway", committed(*row))).count();
        assert_eq!(received, CHANNEL_CAPACITY, "a relay that is behind reads the others from the database");
        assert!(local_relay.wake("gateway") && !local_relay.wake("operator"));
        wake.notified().now_or_never().expect("the relay is woken");
        drop((relay, wake));
        assert!(!local_relay.enqueue("gateway", committed(5)) && !local_relay.wake("gateway"), "the relay has ended");
        let _relay = local_relay.open("gateway");
        assert!(local_relay.enqueue("gateway", committed(6)), "there is another");
    }
}
