//! The source `<venue>`: publishes what comes out of the feed of an exchange, while this process holds the venue's lease.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use platform::{
    Broker, ServiceError, Shutdown,
    runtime::{backoff::backoff, error::error_chain},
};
use store::{Store, consumer::lease, feeds::followed::DesiredState};
use tokio::{sync::mpsc, time::timeout};
use tracing::warn;

use super::{
    feed::{self, FeedConfig},
    outlet::Outlet,
    saving::{Beginning, FeedRows},
};
use crate::{publisher::Publisher, sources::readiness::SourceReadiness};

/// The most batches that wait for the broker. Beyond them the venue waits, and what it does not send is a gap.
const MAX_WAITING_BATCHES: usize = 16;
/// The most changes of operators that wait for the feed.
const MAX_WAITING_CHANGES: usize = 64;
/// The most events that are published at once.
const MAX_BATCH: usize = 1_000;
/// How long the feed may take to end after a shutdown.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// The servers that a feed needs.
pub(crate) struct Servers<'process> {
    pub(crate) broker: &'process Broker,
    pub(crate) store: &'process Store,
}

/// Publishes until shutdown. Another process that follows the same venue waits meanwhile, and takes over when this one is gone.
pub(crate) async fn run(
    publisher: &mut Publisher,
    readiness: &SourceReadiness,
    config: FeedConfig,
    servers: Servers<'_>,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    // No exchange is named like this, so that no other lease of the service has the name.
    let lease = format!("price-ingestor-venue-{}", config.venue);
    let mut waits = backoff();
    loop {
        let follows = AtomicBool::new(false);
        let ended = lead(publisher, readiness, &config, &servers, (&lease, &follows), shutdown).await;
        match ended {
            Err(error @ ServiceError::Transient(..)) if !shutdown.is_cancelled() => {
                let wait = waits.next().unwrap_or(STOP_WITHIN);
                let (venue, wait_ms) = (publisher.venue(), wait.as_millis() as u64);
                readiness.failing(error_chain(&error));
                warn!(%venue, error = error_chain(&error), wait_ms, "does not follow the venue, trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.cancelled() => return Ok(()),
                }
                if follows.load(Ordering::Relaxed) {
                    waits = backoff();
                }
            }
            ended => return ended,
        }
    }
}

/// Waits for the lease and follows the venue while it is held. `follows` says whether it was.
async fn lead(
    publisher: &mut Publisher,
    readiness: &SourceReadiness,
    config: &FeedConfig,
    Servers { broker, store }: &Servers<'_>,
    (lease, follows): (&str, &AtomicBool),
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let work = async {
        follows.store(true, Ordering::Relaxed);
        follow(publisher, readiness, config.clone(), store, lease, shutdown).await
    };
    let mut led = pin!(lease::lead_through_outages(store, broker, lease, || readiness.standby(), work));
    tokio::select! {
        ended = &mut led => ended,
        () = shutdown.cancelled() => match follows.load(Ordering::Relaxed) {
            // What is on its way is published. Without it, the next process fetches it again.
            true => timeout(STOP_WITHIN, led).await.unwrap_or(Ok(())),
            false => Ok(()),
        },
    }
}

/// Follows the venue until shutdown, or until another process does.
async fn follow(
    publisher: &mut Publisher,
    readiness: &SourceReadiness,
    mut config: FeedConfig,
    store: &Store,
    lease: &str,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let venue = config.venue.clone();
    let rows = FeedRows::new(store, &venue, lease);
    let Beginning { followed, checkpoints } = rows.begin(&config.symbols).await?;
    let wanted = followed.symbols.iter().filter(|(_, desired)| *desired == DesiredState::Followed);
    config.symbols = wanted.map(|(symbol, _)| symbol.clone()).collect();
    let mut outlet = Outlet::new(publisher, readiness, &rows, &config);

    let (sender, mut batches) = mpsc::channel(MAX_WAITING_BATCHES);
    let (change_sender, changes) = mpsc::channel(MAX_WAITING_CHANGES);
    let stop = shutdown.child_token();
    // Dropped with this function, so that a failure to publish ends the feed too.
    let _ends_the_feed = stop.clone().drop_guard();
    let feed = tokio::spawn(feed::run(config, checkpoints, changes, sender, stop));
    let publish = async {
        while let Some(mut events) = batches.recv().await {
            while events.len() < MAX_BATCH
                && let Ok(more) = batches.try_recv()
            {
                events.extend(more);
            }
            outlet.publish(events).await?;
        }
        Ok::<_, ServiceError>(())
    };
    tokio::select! {
        published = publish => published?,
        error = rows.save() => return Err(error),
        never = rows.watch(followed, change_sender) => match never {},
    }
    rows.save_last().await;
    feed.await.unwrap_or_else(|error| Err(ServiceError::permanent("follow an exchange", error)))
}
