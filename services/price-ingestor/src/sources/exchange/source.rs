//! The source `<venue>`: publishes what comes out of the feed of an exchange.

use std::collections::BTreeMap;

use events::{Symbol, Tick};
use platform::{ServiceError, Shutdown};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    continuity::{GapReport, GapState},
    feed::{self, Checkpoints, FeedConfig, FeedEvent, FeedState},
};
use crate::{
    publisher::Publisher,
    sources::readiness::SourceReadiness,
};

/// The most batches that wait for the broker. Beyond them the venue waits, and what it does not send is a gap.
const MAX_WAITING_BATCHES: usize = 16;
/// The most ticks that are published at once.
const MAX_BATCH: usize = 1_000;

/// Publishes until shutdown.
pub(crate) async fn run(
    publisher: &mut Publisher,
    readiness: &SourceReadiness,
    config: FeedConfig,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let (sender, mut batches) = mpsc::channel(MAX_WAITING_BATCHES);
    let stop = shutdown.child_token();
    // Dropped with this function, so that a failure to publish ends the feed too.
    let _ends_the_feed = stop.clone().drop_guard();
    let feed = tokio::spawn(feed::run(config, Checkpoints::new(), sender, stop));
    let mut states = BTreeMap::new();
    while let Some(mut events) = batches.recv().await {
        while events.len() < MAX_BATCH
            && let Ok(more) = batches.try_recv()
        {
            events.extend(more);
        }
        publish(publisher, events, &mut states).await?;
        readiness.report(failure(&states));
    }
    feed.await.unwrap_or_else(|error| Err(ServiceError::permanent("follow an exchange", error)))
}

async fn publish(
    publisher: &mut Publisher,
    events: Vec<FeedEvent>,
    states: &mut BTreeMap<Symbol, FeedState>,
) -> Result<(), ServiceError> {
    let mut ticks: Vec<(Tick, String)> = Vec::new();
    let mut gaps = Vec::new();
    for event in events {
        match event {
            FeedEvent::Tick(tick, id) => ticks.push((tick, id)),
            FeedEvent::Gap(symbol, report) => gaps.push((symbol, report)),
            FeedEvent::State(symbol, state) => {
                info!(venue = %publisher.venue(), %symbol, ?state, "a feed has another state");
                states.insert(symbol, state);
            }
            FeedEvent::FromTheFuture(symbol) => {
                warn!(venue = %publisher.venue(), %symbol, "skipped a tick from the future");
                publisher.count_refused(1);
            }
            FeedEvent::BadMessage(bad) => {
                publisher.count_refused(1);
                if let Some(bad) = bad {
                    let (digest, reason, excerpt) = (bad.digest, bad.reason, bad.excerpt);
                    warn!(venue = %publisher.venue(), digest, reason, excerpt, "skipped a message that cannot be read");
                }
            }
            // Nothing stores them yet: after a restart the feed begins with the first trade that it sees.
            FeedEvent::Checkpoint(..) => {}
        }
    }
    publisher.publish(ticks).await?;
    for (symbol, report) in gaps {
        log_gap(publisher, &symbol, &report);
    }
    Ok(())
}

fn log_gap(publisher: &Publisher, symbol: &Symbol, report: &GapReport) {
    let GapReport { from, to, first_missing_id, last_missing_id, reason, state, filled, .. } = report;
    let (venue, to) = (publisher.venue(), to.map(|to| to.to_string()));
    match state {
        GapState::Open | GapState::Unfillable => {
            warn!(%venue, %symbol, %from, to, first_missing_id, last_missing_id, ?reason, ?state, filled, "trades were missed");
        }
        GapState::Filling | GapState::Filled => {
            info!(%venue, %symbol, %from, to, first_missing_id, last_missing_id, ?reason, ?state, filled, "missed trades are filled in");
        }
    }
}

/// Returns which symbols do not arrive, and why; none where all do. A quiet market is no failure.
fn failure(states: &BTreeMap<Symbol, FeedState>) -> Option<String> {
    let failed = |(symbol, state): (&Symbol, &FeedState)| match state {
        FeedState::Live | FeedState::Stale => None,
        FeedState::Reconnecting(why) => Some(format!("{symbol} is reconnecting: {why}")),
        FeedState::Refused(why) => Some(format!("{symbol} is refused: {why}")),
    };
    let failures: Vec<String> = states.iter().filter_map(failed).collect();
    (!failures.is_empty() || states.is_empty()).then(|| failures.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_that_is_down_is_named_and_a_quiet_one_is_not() {
        let symbol = |name: &str| Symbol::parse(name).expect("a symbol");
        let mut states = BTreeMap::from([(symbol("BTC-USD"), FeedState::Live), (symbol("OLD-USD"), FeedState::Stale)]);
        assert_eq!(failure(&states), None);
        states.insert(symbol("XYZ-USD"), FeedState::Refused("delisted".to_owned()));
        states.insert(symbol("ETH-USD"), FeedState::Reconnecting("lost".to_owned()));
        let said = "ETH-USD is reconnecting: lost; XYZ-USD is refused: delisted";
        assert_eq!(failure(&states), Some(said.to_owned()));
    }
}
