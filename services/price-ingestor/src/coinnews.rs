//! Prices from the coinnews API: a list of coins, a current price and a history of each.
//!
//! The history is taken at the first poll of a coin by this process, and published before the current price so that
//! times ascend. That holds for `--once` too, which cannot know whether it is the first: ids are made from the price's
//! own time, so what was taken before is recognised; `coinnews.history = "never"` spares a CronJob the trouble.

mod client;
mod quotes;

use std::{collections::BTreeMap, time::Duration};

use events::{OutboundMessage, Symbol, Tick, Timestamp, Venue, symbol::NameError};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use market_data::coinnews::{self, HistoryEntry, Quote};
use platform::{
    Check, ServiceError, Shutdown, clock,
    runtime::error::error_chain,
    settings::{SettingsError, duration, one_of},
};
use reqwest::Url;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::{
    Rounds,
    publisher::{Publisher, message},
};
use client::{Client, ClientError};

/// How the API is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long from one poll to the next, like `3m`.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// How long one request may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// Whether past prices are taken.
    pub history: History,
    /// Symbols of coins that are not known or that should be another, like `bitcoin = "BTC-EUR"`.
    pub symbols: BTreeMap<String, Symbol>,
}

/// Whether past prices are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum History {
    /// At the first poll of a coin.
    FirstPoll,
    /// Current prices only.
    Never,
}

impl TryFrom<String> for History {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        one_of(&text, &[("first-poll", Self::FirstPoll), ("never", Self::Never)])
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(180),
            timeout: Duration::from_secs(10),
            history: History::FirstPoll,
            symbols: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub(crate) fn validate(&self) -> Result<(), SettingsError> {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        duration::require_range("price_ingestor.coinnews.interval", self.interval, second, day)?;
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(300));
        duration::require_range("price_ingestor.coinnews.timeout", self.timeout, least, most)
    }
}

/// Coins that are asked for at the same time.
const CONCURRENT_COINS: usize = 8;

/// Polls and publishes until shutdown, or once.
pub(crate) async fn run(
    publisher: &mut Publisher,
    check: &Check,
    url: &Url,
    settings: &Settings,
    rounds: Rounds,
    shutdown: &Shutdown,
) -> Result<(), ServiceError> {
    let client = Client::new(url, settings.timeout)?;
    let mut poller = Poller { client, settings, venue: publisher.venue().clone(), taken: BTreeMap::new() };
    let mut timer = tokio::time::interval(settings.interval);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let polled = tokio::select! {
            polled = poll(&mut poller, publisher) => polled,
            () = shutdown.cancelled() => return Ok(()),
        };
        match polled {
            Ok(()) => check.ready(),
            // The next poll may bring something; with one poll only, whoever started it has to know.
            Err(fault @ ServiceError::Transient(..)) if rounds == Rounds::Endless => {
                warn!(error = error_chain(&fault), next_s = settings.interval.as_secs(), "no prices, will poll again");
                check.failing(error_chain(&fault));
            }
            Err(fault) => return Err(fault),
        }
        if rounds == Rounds::One {
            return Ok(());
        }
    }
}

/// Publishes what is new of every coin, as it comes.
async fn poll(poller: &mut Poller<'_>, publisher: &mut Publisher) -> Result<(), ServiceError> {
    let mut round = poller.ask_all().await?;
    let before = publisher.summary().published;
    while let Some(ticks) = round.next().await {
        publisher.publish(&messages(&ticks)).await?;
    }
    let Round { coins, failures, .. } = round;
    info!(coins, failures, published = publisher.summary().published - before, "polled");
    round.end()
}

/// A price's own time is its trade id.
fn messages(ticks: &[Tick]) -> Vec<OutboundMessage> {
    ticks.iter().map(|tick| message(tick, &tick.at.to_string())).collect()
}

struct Poller<'settings> {
    client: Client,
    settings: &'settings Settings,
    venue: Venue,
    /// What was taken of each coin that the API lists.
    taken: BTreeMap<String, Taken>,
}

/// What was taken of a coin; it is published before the next round begins, or the process ends.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    updated_at: Option<Timestamp>,
    history: bool,
}

/// What the API says of a coin; `past` is absent when it was not asked for or could not be had.
struct Answer {
    symbol: Symbol,
    quote: Quote,
    past: Option<Vec<HistoryEntry>>,
}

/// Why there is no price of a coin.
#[derive(Debug, Error)]
enum CoinError {
    /// Nothing in its name can be a symbol.
    #[error("has no symbol: give it one in price_ingestor.coinnews.symbols")]
    Symbol(#[from] NameError),
    /// The API did not give it.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Poller<'_> {
    /// Begins a round over all coins. A passing fault means that the list of them cannot be had.
    async fn ask_all(&mut self) -> Result<Round<'_>, ServiceError> {
        let Self { client, settings, venue, taken } = self;
        let (client, settings) = (&*client, *settings);
        let coins = client.coins().await.map_err(|error| {
            count_failure("*");
            ServiceError::transient("cannot have the list of coins from coinnews", error)
        })?;
        taken.retain(|coin, _| coins.contains(coin));
        // From nought: the step from no counter to one would not be seen.
        coins.iter().map(String::as_str).chain(["*"]).for_each(|coin| failures(coin).increment(0));
        let all = coins.len();
        let asks: Vec<_> = coins
            .into_iter()
            .map(|coin| {
                let has_history = taken.get(&coin).is_some_and(|taken| taken.history);
                ask(client, settings, if has_history { History::Never } else { settings.history }, coin)
            })
            .collect();
        let answers = stream::iter(asks).buffer_unordered(CONCURRENT_COINS).boxed();
        Ok(Round { answers, venue, taken, coins: all, failures: 0 })
    }
}

/// One question to each coin.
struct Round<'poller> {
    answers: BoxStream<'poller, (String, Result<Answer, CoinError>)>,
    venue: &'poller Venue,
    taken: &'poller mut BTreeMap<String, Taken>,
    coins: usize,
    failures: usize,
}

impl Round<'_> {
    /// What is new of the next coin that has something new, oldest first. One coin's failure does not stop the others.
    async fn next(&mut self) -> Option<Vec<Tick>> {
        while let Some((coin, answer)) = self.answers.next().await {
            let Some(Answer { symbol, quote, past }) = usable(&coin, answer) else {
                self.failures += 1;
                continue;
            };
            let taken = self.taken.entry(coin).or_default();
            let known = quotes::Coin { venue: self.venue, symbol: &symbol, updated_at: taken.updated_at };
            let ticks = known.news(quote, past.as_deref().unwrap_or_default(), clock::now());
            *taken = Taken { updated_at: Some(quote.updated_at), history: taken.history || past.is_some() };
            if !ticks.is_empty() {
                return Some(ticks);
            }
        }
        None
    }

    /// A passing fault when there are coins and none could be had.
    fn end(self) -> Result<(), ServiceError> {
        if self.failures == 0 || self.failures < self.coins {
            return Ok(());
        }
        Err(ServiceError::transient("no prices from coinnews", format!("each of {} coins failed", self.coins)))
    }
}

async fn ask(
    client: &Client,
    settings: &Settings,
    history: History,
    coin: String,
) -> (String, Result<Answer, CoinError>) {
    let answer = async {
        let symbol = symbol(&coin, &settings.symbols)?;
        let quote = client.quote(&coin).await?;
        let past = match history {
            History::Never => None,
            // A history that cannot be had must not keep the price back; the next poll asks for it again.
            History::FirstPoll => usable(&coin, client.history(&coin).await.map_err(CoinError::from)),
        };
        Ok(Answer { symbol, quote, past })
    };
    let answer = answer.await;
    (coin, answer)
}

/// The symbol that a setting gives the coin, else the one that the coin is known by.
fn symbol(coin: &str, settings: &BTreeMap<String, Symbol>) -> Result<Symbol, NameError> {
    settings.get(coin).map_or_else(|| coinnews::symbol(coin), |symbol| Ok(symbol.clone()))
}

/// What was asked for, or a log line and a count.
fn usable<T>(coin: &str, answer: Result<T, CoinError>) -> Option<T> {
    answer
        .inspect_err(|error| {
            count_failure(coin);
            warn!(coin, error = error_chain(error), "passed over in this poll");
        })
        .ok()
}

fn count_failure(coin: &str) {
    failures(coin).increment(1);
}

/// `*` stands for the list of coins.
fn failures(coin: &str) -> metrics::Counter {
    metrics::counter!("tickbell_poll_failures_total", "coin" => coin.to_owned())
}

#[cfg(test)]
mod tests;
