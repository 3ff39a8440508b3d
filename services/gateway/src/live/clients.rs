//! The clients of live streams: how many there may be, those that take nothing, and their end when the gateway is asked to stop.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{counter, gauge};
use platform::{Shutdown, http::server::ConnectionAbort};
use store::identity::login_throttle::Network;
use tokio::time::{Instant, interval, sleep};
use uuid::Uuid;

use crate::{
    http::problem::{Problem, ProblemKind},
    live::settings::Settings,
};

/// Whose streams are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum QuotaKey {
    User(Uuid),
    Network(Network),
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Sse,
    WebSocket,
}

impl Transport {
    /// Returns the label in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
        }
    }
}

/// Why a stream is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The gateway has as many as it may have.
    Full,
    /// The user or the network has.
    QuotaExceeded,
    /// The gateway was asked to stop.
    Stopping,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::new(
                ProblemKind::Overloaded,
                "The server has as many open streams as it may have. Try again later.",
            ),
            Refused::QuotaExceeded => Self::new(
                ProblemKind::TooManyRequests { retry_after_seconds: 10 },
                "You have as many open streams as you may have. Close one; a stream can show many symbols and channels.",
            ),
            Refused::Stopping => {
                Self::new(ProblemKind::Unavailable, "The server is being stopped. Connect again in a moment.")
            }
        }
    }
}

/// Why a stream has ended that its client did not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Slow,
    StreamReplaced,
    Unauthorized,
    Unavailable,
    Shutdown,
}

impl End {
    const ALL: [Self; 5] = [Self::Slow, Self::StreamReplaced, Self::Unauthorized, Self::Unavailable, Self::Shutdown];

    /// Returns how a stream ends whose token is refused, or cannot be looked up.
    pub(crate) fn of(problem: &Problem) -> Self {
        match problem.kind {
            ProblemKind::Unauthorized | ProblemKind::Forbidden | ProblemKind::NotFound => Self::Unauthorized,
            _ => Self::Unavailable,
        }
    }

    /// Returns the word that stands for it in events and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::StreamReplaced => "stream_replaced",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The clients of a gateway.
pub(crate) struct Clients {
    settings: Settings,
    state: Mutex<State>,
    drain: Shutdown,
    /// The time over which the clients' ends are spread once the gateway is asked to stop.
    spread: Duration,
}

#[derive(Default)]
struct State {
    next: u64,
    slots: HashMap<u64, Arc<Mutex<Activity>>>,
    quotas: HashMap<QuotaKey, usize>,
}

struct Activity {
    /// The time since which the client has not taken what it was given.
    waiting_since: Option<Instant>,
    abort: Option<ConnectionAbort>,
}

/// The place of a client. It is free again when this is dropped.
pub(crate) struct Slot {
    clients: Arc<Clients>,
    id: u64,
    quota_key: QuotaKey,
    transport: Transport,
    activity: Arc<Mutex<Activity>>,
}

/// The interval at which clients are looked at that take nothing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The interval at which it is looked whether clients are left.
const GONE_EVERY: Duration = Duration::from_millis(20);

impl Clients {
    pub(crate) fn new(settings: Settings, spread: Duration) -> Self {
        for transport in [Transport::Sse, Transport::WebSocket] {
            gauge!("tickbell_stream_clients", "transport" => transport.as_str()).increment(0);
        }
        for end in End::ALL {
            counter!("tickbell_stream_ends_total", "reason" => end.as_str()).increment(0);
        }
        counter!("tickbell_stream_replayed_events_total").increment(0);
        Self { settings, state: Mutex::default(), drain: Shutdown::new(), spread }
    }

    /// Gives a client its place. `abort` closes its connection; a client that is cut by other means has none.
    pub(crate) fn admit(
        self: &Arc<Self>,
        quota_key: QuotaKey,
        transport: Transport,
        abort: Option<ConnectionAbort>,
    ) -> Result<Slot, Refused> {
        if self.drain.is_cancelled() {
            return Err(Refused::Stopping);
        }
        let activity = Arc::new(Mutex::new(Activity { waiting_since: None, abort }));
        let mut state = self.lock();
        if state.slots.len() >= self.settings.max_clients {
            return Err(Refused::Full);
        }
        let held = state.quotas.entry(quota_key.clone()).or_default();
        if *held >= self.settings.max_clients_each {
            return Err(Refused::QuotaExceeded);
        }
        *held += 1;
        let id = state.next;
        state.next += 1;
        state.slots.insert(id, Arc::clone(&activity));
        gauge!("tickbell_stream_clients", "transport" => transport.as_str()).increment(1);
        Ok(Slot { clients: Arc::clone(self), id, quota_key, transport, activity })
    }

    /// Lets all clients end, and admits none any more.
    pub(crate) fn drain(&self) {
        self.drain.cancel();
    }

    /// Waits until there is no client any more.
    pub(crate) async fn gone(&self) {
        while !self.lock().slots.is_empty() {
            sleep(GONE_EVERY).await;
        }
    }

    /// Closes the connections of clients that have taken nothing for too long, for ever.
    pub(crate) async fn watch(&self) -> std::convert::Infallible {
        let mut looks = interval(LOOK_EVERY);
        loop {
            let now = looks.tick().await;
            let slots: Vec<_> = self.lock().slots.values().map(Arc::clone).collect();
            for slot in slots {
                let mut activity = slot.lock().unwrap_or_else(PoisonError::into_inner);
                let waits = activity.waiting_since.is_some_and(|since| now - since >= self.settings.write_timeout());
                if let Some(abort) = activity.abort.take_if(|_| waits) {
                    abort.abort();
                    counter!("tickbell_stream_ends_total", "reason" => End::Slow.as_str()).increment(1);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Records that the client was given something.
    pub(crate) fn given(&self) {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner).waiting_since = Some(Instant::now());
    }

    /// Records that the client has taken it.
    pub(crate) fn taken(&self) {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner).waiting_since = None;
    }

    /// Returns the time within which the client must take something.
    pub(crate) fn write_timeout(&self) -> Duration {
        self.clients.settings.write_timeout()
    }

    /// Waits until the client is to be asked to connect elsewhere: not all at one moment.
    pub(crate) fn when_drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let clients = Arc::clone(&self.clients);
        async move {
            clients.drain.cancelled().await;
            let most = clients.spread.as_millis() as u64 + 1;
            sleep(Duration::from_millis(rand::random::<u64>() % most)).await;
        }
    }

    /// Counts an end.
    pub(crate) fn ended(&self, end: End) {
        counter!("tickbell_stream_ends_total", "reason" => end.as_str()).increment(1);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        gauge!("tickbell_stream_clients", "transport" => self.transport.as_str()).decrement(1);
        let mut state = self.clients.lock();
        state.slots.remove(&self.id);
        if let Some(held) = state.quotas.get_mut(&self.quota_key) {
            *held -= 1;
            if *held == 0 {
                state.quotas.remove(&self.quota_key);
            }
        }
    }
}

/// Returns a random time after which a client connects again, in milliseconds: all that were cut at once shall not come back
/// at once.
pub(crate) fn retry_ms() -> u64 {
    500 + rand::random::<u64>() % 2_500
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn clients(max_clients: usize, max_clients_each: usize) -> Arc<Clients> {
        let settings = Settings { max_clients, max_clients_each, ..Settings::default() };
        Arc::new(Clients::new(settings, Duration::ZERO))
    }

    fn network(last: u8) -> QuotaKey {
        QuotaKey::Network(Network::of(IpAddr::V4(Ipv4Addr::new(192, 0, last, 1))))
    }

    #[test]
    fn places_are_bounded_for_each_and_for_all_and_come_back() {
        let clients = clients(3, 2);
        let admit = |quota_key| clients.admit(quota_key, Transport::Sse, None);
        let first = admit(network(1)).ok();
        let _second = admit(network(1)).ok();
        assert_eq!(admit(network(1)).err(), Some(Refused::QuotaExceeded));
        let _third = admit(QuotaKey::User(Uuid::from_u128(1))).ok();
        assert_eq!(admit(network(2)).err(), Some(Refused::Full));
        drop(first);
        assert!(admit(network(1)).is_ok());
        clients.drain();
        assert_eq!(admit(network(2)).err(), Some(Refused::Stopping));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_closed() {
        let clients = clients(2, 2);
        let aborts = [ConnectionAbort::default(), ConnectionAbort::default()];
        let admit = |abort: &ConnectionAbort| clients.admit(network(1), Transport::Sse, Some(abort.clone())).ok();
        let [frozen, reading] = [0, 1].map(|index| admit(&aborts[index]).expect("a place"));
        frozen.given();
        reading.given();
        reading.taken();
        let timeout = clients.settings.write_timeout() + 2 * LOOK_EVERY;
        tokio::select! {
            never = clients.watch() => match never {},
            () = sleep(timeout) => {}
        }
        assert_eq!(aborts.map(|abort| abort.is_aborted()), [true, false]);
    }
}
