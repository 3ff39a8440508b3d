//! Relays committed events from the outbox to the broker, and deletes expired rows. One gateway does it at a time.

use std::{convert::Infallible, pin::pin, time::Duration};

use platform::{Broker, Check, ServiceError, Shutdown};
use store::{Store, consumer::lease, identity::expiry, outbox::relay};
use tracing::{debug, warn};

/// The lease that says which gateway relays; all of them serve requests.
pub(crate) const LEASE: &str = "gateway-outbox";

/// The time between two deletions of expired rows.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// Publishes what any gateway has committed, while this one is the leader.
pub(crate) async fn run(
    store: &Store,
    broker: &Broker,
    check: &Check,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let mut lease = lease::acquire(store, LEASE, check).await?;
    check.ready();
    let mut lost = pin!(lease.lost());
    tokio::select! {
        error = lost.as_mut() => Err(error),
        ended = relay::run(store, store::outbox::GATEWAY, broker, Duration::ZERO, shutdown) => ended,
        never = delete_expired_rows(store) => match never {},
    }
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
        tokio::time::sleep(EXPIRY_INTERVAL).await;
    }
}
