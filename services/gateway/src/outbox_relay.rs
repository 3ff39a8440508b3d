//! Relays committed events from the outbox to the broker, publishes again what the broker has lost, and deletes expired rows.
//! One gateway does it at a time.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use platform::{Broker, Check, ServiceError, Shutdown};
use store::{
    Store,
    consumer::lease,
    identity::expiry,
    outbox::relay,
    republish::{self, EventKind},
};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

/// The lease that says which gateway relays; all of them serve requests.
pub(crate) const LEASE: &str = "gateway-outbox";

/// The time between two deletions of expired rows.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// The time between two searches for events that the broker has lost.
const REPUBLISH_INTERVAL: Duration = Duration::from_secs(60);
/// The time within which an event is published again once: one that its consumer gives up stays without an effect. It is
/// longer than the broker's duplicate window, within which a repeat may be refused.
const REPUBLISH_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// The number of events that one log line names.
const MAX_NAMED: usize = 10;

/// Publishes what any gateway has committed, while this one is the leader.
pub(crate) async fn run(
    store: &Store,
    broker: &Broker,
    check: &Check,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let work = async {
        check.ready();
        tokio::select! {
            ended = relay::run(store, store::outbox::GATEWAY, broker, Duration::ZERO, shutdown) => ended,
            never = delete_expired_rows(store) => match never {},
            never = republish_lost(store, broker) => match never {},
        }
    };
    lease::lead(store, broker, LEASE, check, work).await
}

/// Deletes personal rows as soon as the time that they may be stored for is over.
async fn delete_expired_rows(store: &Store) -> Infallible {
    loop {
        match expiry::delete_expired(store, platform::clock::now()).await {
            Ok(rows) => debug!(rows, "deleted expired rows"),
            // The next run deletes what is left.
            Err(error) => {
                warn!(error = platform::runtime::error::error_chain(&error), "could not delete expired rows")
            }
        }
        sleep(EXPIRY_INTERVAL).await;
    }
}

/// Publishes again the events that the broker has lost and that can be published at any time.
async fn republish_lost(store: &Store, broker: &Broker) -> Infallible {
    let mut published = HashMap::new();
    register_metrics();
    loop {
        for kind in EventKind::AUTOMATIC {
            let Err(error) = republish_kind(store, broker, kind, &mut published).await else { continue };
            let (kind, chain) = (kind.as_str(), platform::runtime::error::error_chain(&error));
            match error {
                // The checks say what is away, and the next search finds what this one has not.
                ServiceError::Transient(..) => debug!(kind, error = chain, "could not look for lost events"),
                ServiceError::Permanent(..) => warn!(kind, error = chain, "could not look for lost events"),
            }
        }
        sleep(REPUBLISH_INTERVAL).await;
    }
}

/// Does so for one kind. `published` has the events that were published again, and when.
async fn republish_kind(
    store: &Store,
    broker: &Broker,
    kind: EventKind,
    published: &mut HashMap<String, Instant>,
) -> Result<(), ServiceError> {
    published.retain(|_, at| at.elapsed() < REPUBLISH_AGAIN_AFTER);
    let mut lost = republish::find_lost(store, broker, kind).await?;
    lost.retain(|event| !published.contains_key(&event.id));
    if lost.is_empty() {
        return Ok(());
    }
    let named: Vec<&str> = lost.iter().take(MAX_NAMED).map(|event| event.id.as_str()).collect();
    warn!(
        kind = kind.as_str(),
        events = lost.len(),
        named = named.join(" "),
        "publishing again what the broker has lost and the database has"
    );
    count_republished(kind, lost.len() as u64);
    published.extend(lost.iter().map(|event| (event.id.clone(), Instant::now())));
    Ok(republish::add(store, store::outbox::GATEWAY, lost).await?)
}

/// Registers the counters at zero, so that their first count is a step.
fn register_metrics() {
    EventKind::AUTOMATIC.into_iter().for_each(|kind| count_republished(kind, 0));
}

fn count_republished(kind: EventKind, events: u64) {
    metrics::counter!("tickbell_events_republished_total", "kind" => kind.as_str()).increment(events);
}
