//! Publishes what is committed about gaps. One price-ingestor does it at a time.

use std::{convert::Infallible, time::Duration};

use platform::{
    Broker, Shutdown,
    runtime::{backoff::backoff, error::error_chain},
};
use store::{Store, consumer::lease, feeds::progress::SERVICE, outbox::relay};
use tokio::time::sleep;
use tracing::debug;

/// The lease that says which price-ingestor relays.
const LEASE: &str = "price-ingestor-outbox";

/// Publishes for ever: what is committed while one server is away is published when it is back.
pub(crate) async fn run(store: &Store, broker: &Broker) -> Infallible {
    // The process ends with its sources.
    let never = Shutdown::new();
    let mut waits = backoff();
    loop {
        let work = relay::run(store, SERVICE, broker, Duration::ZERO, &never);
        if let Err(error) = lease::lead_through_outages(store, broker, LEASE, || {}, work).await {
            // The checks say what is away.
            debug!(error = error_chain(&error), "does not publish gaps, trying again");
        }
        sleep(waits.next().unwrap_or(Duration::from_secs(1))).await;
    }
}
