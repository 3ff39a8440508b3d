//! The source `coinnews:URL`, which polls the coinnews API: a list of coins, and the current price and the history of
//! each.
//!
//! The history of a coin is fetched at its first poll by this process, and published before the current price, so that
//! times ascend. With `--once` every poll is a first one; the id of a tick is derived from its time and price, so that the
//! broker and the database recognise what an earlier process has published. A CronJob saves these requests with
//! `coinnews.history = "never"`.

mod client;
mod parse;
mod poller;
mod settings;
#[cfg(test)]
mod tests;

use events::{Tick, Venue};
use market_data::MaxAhead;
use platform::{ServiceError, Shutdown, runtime::error::error_chain};
use reqwest::Url;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::{
    publisher::Publisher,
    sources::{RunMode, readiness::SourceReadiness, with_derived_id},
};
use client::Client;
use poller::Poller;
pub use settings::{HistoryPolicy, Settings};

/// Polls and publishes until shutdown, or once.
pub(crate) async fn run(
    publisher: &mut Publisher,
    check: &SourceReadiness,
    url: &Url,
    settings: &Settings,
    max_ahead: MaxAhead,
    mode: RunMode,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let client = Client::new(url, settings.timeout)?;
    let mut poller = Poller::new(client, settings, publisher.venue().clone(), max_ahead);
    let mut timer = tokio::time::interval(settings.interval);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let result = tokio::select! {
            result = poll(&mut poller, publisher) => result,
            () = shutdown.cancelled() => return Ok(()),
        };
        match result {
            Ok(()) => check.ready(),
            // The next poll may succeed. With one poll only, the exit status has to say that it failed.
            Err(error @ ServiceError::Transient(..)) if mode == RunMode::Continuous => {
                let next_poll_s = settings.interval.as_secs();
                warn!(error = error_chain(&error), next_poll_s, "the poll brought no prices");
                check.failing(error_chain(&error));
            }
            Err(error) => return Err(error),
        }
        if mode == RunMode::Once {
            return Ok(());
        }
    }
}

/// Polls every coin once, and returns the prices, oldest first for each coin.
pub(crate) async fn fetch(
    url: &Url,
    settings: &Settings,
    venue: Venue,
    max_ahead: MaxAhead,
) -> Result<Vec<Tick>, ServiceError> {
    let client = Client::new(url, settings.timeout)?;
    let mut poller = Poller::new(client, settings, venue, max_ahead);
    let mut round = poller.start_round().await?;
    let mut fetched = Vec::new();
    while let Some(ticks) = round.next_ticks().await {
        fetched.extend(ticks);
    }
    round.finish().map(|()| fetched)
}

/// Polls every coin once, and publishes the new ticks of each as its answer arrives.
async fn poll(poller: &mut Poller<'_>, publisher: &mut Publisher) -> Result<(), ServiceError> {
    let mut round = poller.start_round().await?;
    let published_before = publisher.summary().published;
    while let Some(ticks) = round.next_ticks().await {
        // A coin has one price at a time, so that none is the second of equal ones.
        publisher.publish(ticks.into_iter().map(with_derived_id)).await?;
    }
    publisher.count_rounded(round.rounded());
    let (coins, failures) = round.counts();
    info!(coins, failures, published = publisher.summary().published - published_before, "polled the coinnews API");
    round.finish()
}
