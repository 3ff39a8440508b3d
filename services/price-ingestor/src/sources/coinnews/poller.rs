//! One poll of all coins, with several requests at a time. A coin that fails does not stop the others.

use std::collections::{BTreeMap, BTreeSet};

use events::{Price, Symbol, Tick, Timestamp, Venue, symbol::NameError};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use market_data::{
    FromTheFuture, MaxAhead,
    coinnews::{HistoryEntry, Quote, symbol_of_coin},
};
use platform::{ServiceError, clock, runtime::error::error_chain};
use thiserror::Error;
use tracing::warn;

use super::{
    client::{Client, ClientError},
    parse::KnownCoin,
    settings::{HistoryPolicy, Settings},
};

/// The number of coins that are polled at the same time.
const CONCURRENT_COINS: usize = 8;
/// The label of the failure counter for the list of coins, in place of a coin.
const COIN_LIST: &str = "*";

/// Polls all coins of one server, again and again.
pub(super) struct Poller<'settings> {
    pub(super) client: Client,
    pub(super) settings: &'settings Settings,
    pub(super) venue: Venue,
    /// What this process has fetched of each coin that the API lists.
    pub(super) progress: BTreeMap<String, CoinProgress>,
    /// Which coin has which symbol, since the process started: a series must not change its coin.
    owners: BTreeMap<Symbol, String>,
    /// How far the time of a price may be ahead of the clock.
    max_ahead: MaxAhead,
}

/// What this process has fetched of one coin. All of it is published before the next round starts, or the process ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CoinProgress {
    last_price: Option<(Timestamp, Price)>,
    has_history: bool,
    /// Whether it is logged that digits of the price were cut.
    was_rounded: bool,
}

/// The answers of the API about one coin. The history is absent when it was not requested or the request failed.
struct CoinAnswer {
    symbol: Symbol,
    quote: Quote,
    history: Option<Vec<HistoryEntry>>,
}

/// The reason why a coin has no price.
#[derive(Debug, Error)]
pub(super) enum CoinError {
    /// No symbol can be made of the coin's name.
    #[error("the coin has no symbol: give it one in price_ingestor.coinnews.symbols")]
    Symbol(#[from] NameError),
    /// The symbol is that of another coin, whose prices it would mix with.
    #[error(
        "its symbol {symbol} is the one of the coin {owner:?}; give it another, as in price_ingestor.coinnews.symbols.{coin} = \
         \"NAME-USD\""
    )]
    SymbolTaken {
        /// The coin that is refused.
        coin: String,
        /// The symbol of both.
        symbol: Symbol,
        /// The coin that has the symbol.
        owner: String,
    },
    /// The time of the price is in the future.
    #[error(transparent)]
    Future(#[from] FromTheFuture),
    /// The request failed.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl<'settings> Poller<'settings> {
    /// Returns a poller that has not polled yet.
    pub(super) fn new(client: Client, settings: &'settings Settings, venue: Venue, max_ahead: MaxAhead) -> Self {
        Self { client, settings, venue, progress: BTreeMap::new(), owners: BTreeMap::new(), max_ahead }
    }

    /// Starts a round over all coins. Fails with a transient error when the list of coins cannot be fetched.
    pub(super) async fn start_round(&mut self) -> Result<PollRound<'_>, ServiceError> {
        let Self { client, settings, venue, progress, owners, max_ahead } = self;
        let (client, settings) = (&*client, *settings);
        let coins = client.coins().await.map_err(|error| {
            failure_counter(COIN_LIST).increment(1);
            ServiceError::transient("cannot fetch the list of coins from the coinnews API", error)
        })?;
        progress.retain(|coin, _| coins.contains(coin));
        // Registers the counters at zero: `increase()` does not see the step from no counter to one.
        coins.iter().map(String::as_str).chain([COIN_LIST]).for_each(|coin| failure_counter(coin).increment(0));
        let total = coins.len();
        let symbols = assign_symbols(owners, &coins, &settings.symbols);
        let requests: Vec<_> = coins
            .into_iter()
            .zip(symbols)
            .map(|(coin, symbol)| {
                let has_history = progress.get(&coin).is_some_and(|progress| progress.has_history);
                let history = if has_history { HistoryPolicy::Never } else { settings.history };
                fetch_coin(client, symbol, history, coin)
            })
            .collect();
        let answers = stream::iter(requests).buffer_unordered(CONCURRENT_COINS).boxed();
        Ok(PollRound { answers, venue, progress, max_ahead: *max_ahead, coins: total, failures: 0, rounded: 0 })
    }
}

/// One poll of every coin.
pub(super) struct PollRound<'poller> {
    answers: BoxStream<'poller, (String, Result<CoinAnswer, CoinError>)>,
    venue: &'poller Venue,
    progress: &'poller mut BTreeMap<String, CoinProgress>,
    max_ahead: MaxAhead,
    coins: usize,
    failures: usize,
    rounded: u64,
}

impl PollRound<'_> {
    /// Returns the new ticks of the next coin that has any, oldest first; `None` when all coins are polled.
    pub(super) async fn next_ticks(&mut self) -> Option<Vec<Tick>> {
        while let Some((coin, answer)) = self.answers.next().await {
            let now = clock::now();
            let is_due = |quote: &Quote| self.max_ahead.check(quote.updated_at, now);
            let answer = answer.and_then(|answer| Ok(is_due(&answer.quote).map(|()| answer)?));
            let Some(CoinAnswer { symbol, quote, mut history }) = ok_or_log(&coin, answer) else {
                self.failures += 1;
                continue;
            };
            if let Some(history) = &mut history {
                history.retain(|entry| self.max_ahead.check(entry.date, now).is_ok());
            }
            let progress = self.progress.entry(coin.clone()).or_default();
            let known = KnownCoin { venue: self.venue, symbol: &symbol, last_price: progress.last_price };
            let ticks = known.new_ticks(quote, history.as_deref().unwrap_or_default(), now);
            if quote.value.was_rounded && progress.last_price != Some((quote.updated_at, quote.value.value)) {
                self.rounded += 1;
                if !std::mem::replace(&mut progress.was_rounded, true) {
                    warn!(coin, %symbol, price = %quote.value.value, "rounded a price with more than 18 decimal places or 28 digits; later ones of the coin are only counted");
                }
            }
            progress.last_price = Some((quote.updated_at, quote.value.value));
            progress.has_history |= history.is_some();
            if !ticks.is_empty() {
                return Some(ticks);
            }
        }
        None
    }

    /// Returns the number of coins of the round, and of those that have failed.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.coins, self.failures)
    }

    /// Returns the number of new prices that have fewer digits than the API wrote.
    pub(super) fn rounded(&self) -> u64 {
        self.rounded
    }

    /// Ends the round, with a transient error when every coin has failed.
    pub(super) fn finish(self) -> Result<(), ServiceError> {
        if self.failures == 0 || self.failures < self.coins {
            return Ok(());
        }
        let cause = format!("the requests of all {} coins failed", self.coins);
        Err(ServiceError::transient("no prices from the coinnews API", cause))
    }
}

async fn fetch_coin(
    client: &Client,
    symbol: Result<Symbol, CoinError>,
    history: HistoryPolicy,
    coin: String,
) -> (String, Result<CoinAnswer, CoinError>) {
    let answer = async {
        let symbol = symbol?;
        let quote = client.quote(&coin).await?;
        let history = match history {
            HistoryPolicy::Never => None,
            // A failed history does not hold up the price; the next poll requests it again.
            HistoryPolicy::FirstPoll => ok_or_log(&coin, client.history(&coin).await.map_err(CoinError::from)),
        };
        Ok(CoinAnswer { symbol, quote, history })
    };
    let answer = answer.await;
    (coin, answer)
}

/// Gives each coin its symbol, in their order. Two coins may not share one: it belongs to the coin that the settings give it to,
/// else to the one that had it before, else to the first in the order of names.
pub(super) fn assign_symbols(
    owners: &mut BTreeMap<Symbol, String>,
    coins: &BTreeSet<String>,
    settings: &BTreeMap<String, Symbol>,
) -> Vec<Result<Symbol, CoinError>> {
    for (coin, symbol) in settings.iter().filter(|(coin, _)| coins.contains(*coin)) {
        owners.insert(symbol.clone(), coin.clone());
    }
    let assign = |coin: &String| {
        let symbol = symbol(coin, settings)?;
        let owner = owners.entry(symbol.clone()).or_insert_with(|| coin.clone());
        if owner == coin {
            return Ok(symbol);
        }
        Err(CoinError::SymbolTaken { coin: coin.clone(), symbol, owner: owner.clone() })
    };
    coins.iter().map(assign).collect()
}

/// Returns the symbol that the settings give to a coin, else the symbol of its known ticker or its name.
pub(super) fn symbol(coin: &str, settings: &BTreeMap<String, Symbol>) -> Result<Symbol, NameError> {
    settings.get(coin).map_or_else(|| symbol_of_coin(coin), |symbol| Ok(symbol.clone()))
}

/// Returns the value; logs and counts an error.
fn ok_or_log<T>(coin: &str, answer: Result<T, CoinError>) -> Option<T> {
    answer
        .inspect_err(|error| {
            failure_counter(coin).increment(1);
            warn!(coin, error = error_chain(error), "skipped a coin in this poll");
        })
        .ok()
}

fn failure_counter(coin: &str) -> metrics::Counter {
    metrics::counter!("tickbell_poll_failures_total", "coin" => coin.to_owned())
}
