//! The source `json:NAME`: an API of somebody else that answers with JSON, in which the settings say where the price stands.
//!
//! CoinGecko and the APIs of stock quotes are read so. An API is asked again and again within its budget; what it has not
//! changed is not sent again, and what cannot be read costs one symbol or one answer.

mod client;
pub(crate) mod config;
mod parse;
mod poller;
mod quotes;
mod settings;
#[cfg(test)]
mod tests;

use events::{Tick, Venue};
use market_data::MaxAhead;
use platform::{ServiceError, Shutdown, clock};
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use crate::{
    publisher::Publisher,
    sources::{RunMode, exchange::feed::BadMessage, readiness::SourceReadiness},
};
use config::JsonConfig;
use poller::{Answered, Poller};
pub use settings::{Calendars, JsonSettings, JsonSource, JsonTables};

/// Polls and publishes until shutdown, or once.
pub(crate) async fn run(
    publisher: &mut Publisher,
    readiness: &SourceReadiness,
    config: JsonConfig,
    max_ahead: MaxAhead,
    mode: RunMode,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let interval = config.interval;
    let mut poller = Poller::new(publisher.venue().clone(), config, max_ahead)?;
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        if mode == RunMode::Once || poller.quotes.is_due(interval, clock::now()) {
            tokio::select! {
                polled = poll(&mut poller, publisher) => polled?,
                () = shutdown.cancelled() => return Ok(()),
            }
        }
        let failure = poller.quotes.judge(clock::now());
        if mode == RunMode::Once {
            // The exit status has to say that there was no price.
            return match failure {
                Some(why) if publisher.summary().published == 0 => {
                    Err(ServiceError::transient("no prices from the API", why))
                }
                _ => Ok(()),
            };
        }
        readiness.report(failure);
    }
}

/// Makes all requests once, and returns the prices. An answer that cannot be read costs the symbols in it, unless nothing is left.
pub(crate) async fn fetch(config: JsonConfig, venue: Venue, max_ahead: MaxAhead) -> Result<Vec<Tick>, ServiceError> {
    let mut poller = Poller::new(venue.clone(), config, max_ahead)?;
    let mut fetched = Vec::new();
    for request in 0..poller.requests() {
        let Answered { found, bad, is_limited } = poller.ask(request).await;
        if let Some(BadMessage { reason, .. }) = bad {
            warn!(%venue, reason, "an answer lacks prices");
        }
        fetched.extend(found.ticks.into_iter().map(|(tick, _)| tick));
        if is_limited {
            break;
        }
    }
    match poller.quotes.judge(clock::now()) {
        Some(why) if fetched.is_empty() => Err(ServiceError::transient("no prices from the API", why)),
        _ => Ok(fetched),
    }
}

/// Makes all requests once, and publishes what is new as its answer arrives.
async fn poll(poller: &mut Poller, publisher: &mut Publisher) -> Result<(), ServiceError> {
    let venue = publisher.venue().clone();
    for request in 0..poller.requests() {
        let Answered { found, bad, is_limited } = poller.ask(request).await;
        if let Some(bad) = &bad {
            publisher.refuse_message(&venue, Some(bad));
        }
        publisher.count_refused(found.ahead);
        publisher.count_rounded(found.rounded);
        let prices = found.ticks.len();
        publisher.publish(found.ticks).await?;
        if prices > 0 {
            debug!(%venue, prices, "new prices");
        }
        if is_limited {
            // The others would only wait; the next round begins when the API allows it.
            break;
        }
    }
    Ok(())
}
