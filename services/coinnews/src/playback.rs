//! A recording that is replayed in a loop. Its first price is due when the server starts, and the loop begins again a
//! second after its last price, so that a demo never runs out of prices. The times are those of the clock, not of the
//! recording, and ascend from loop to loop.

use std::{collections::BTreeMap, time::Duration};

use events::{Price, Symbol, Timestamp};
use market_data::{RecordedTrade, ReplayClock, ReplaySpeed, coinnews};
use tracing::warn;

/// The time from the last price of a loop to the first of the next.
const PAUSE: Duration = Duration::from_secs(1);

/// The prices of a recording with their recorded times, in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct RecordedPrices {
    symbols: BTreeMap<Symbol, Vec<(Timestamp, Price)>>,
    count: usize,
}

impl RecordedPrices {
    /// Adds the price of a trade.
    pub(crate) fn add(&mut self, trade: RecordedTrade) {
        let RecordedTrade { time, symbol, price, .. } = trade;
        self.symbols.entry(symbol).or_default().push((time, price));
        self.count += 1;
    }

    /// Returns the number of prices.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Removes the symbols that are not a coin, with a warning for each.
    pub(crate) fn retain_coins(&mut self) {
        self.symbols.retain(|symbol, _| {
            let is_coin = coinnews::coin_of_symbol(symbol).is_some();
            if !is_coin {
                warn!(%symbol, "skipped a symbol that is not a coin: only symbols quoted in dollars, like BTC-USD, are coins");
            }
            is_coin
        });
        self.count = self.symbols.values().map(Vec::len).sum();
    }

    /// Returns each coin of the recording and its playback, which starts at `started_at`.
    pub(crate) fn into_playbacks(
        mut self,
        speed: ReplaySpeed,
        started_at: Timestamp,
    ) -> impl Iterator<Item = (String, Playback)> {
        self.retain_coins();
        let times = || self.symbols.values().flatten().map(|(at, _)| *at);
        let clock = ReplayClock { speed, start: times().min().unwrap_or_default() };
        let last = times().max().unwrap_or_default();
        let loop_micros = micros(clock.delay_until(last).saturating_add(PAUSE));
        self.symbols.into_iter().filter_map(move |(symbol, prices)| {
            let prices = schedule(clock, prices);
            Some((coinnews::coin_of_symbol(&symbol)?, Playback { started_at, loop_micros, prices }))
        })
    }
}

/// Returns when each price is due after the start of a loop, in microseconds. Of several prices that are due at the
/// same time only the last remains.
fn schedule(clock: ReplayClock, mut prices: Vec<(Timestamp, Price)>) -> Vec<(u64, Price)> {
    prices.sort_by_key(|(at, _)| *at);
    let mut scheduled: Vec<(u64, Price)> = Vec::with_capacity(prices.len());
    for (at, price) in prices {
        let due = micros(clock.delay_until(at));
        match scheduled.last_mut() {
            Some(last) if last.0 == due => last.1 = price,
            _ => scheduled.push((due, price)),
        }
    }
    scheduled
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The replay of one coin's prices, one or more.
#[derive(Debug)]
pub(crate) struct Playback {
    started_at: Timestamp,
    /// The length of a loop in microseconds, longer than the due time of every price.
    loop_micros: u64,
    /// The prices and when they are due after the start of a loop, in microseconds, ascending.
    prices: Vec<(u64, Price)>,
}

impl Playback {
    /// Returns the number of the current price, counted from the start of the server; `None` before the first price is
    /// due.
    pub(crate) fn current_number(&self, now: Timestamp) -> Option<u64> {
        // After the clock was set back to before the start, the server is at its start.
        let elapsed = u64::try_from(now.micros() - self.started_at.micros()).unwrap_or(0);
        let (loops, elapsed) = (elapsed / self.loop_micros, elapsed % self.loop_micros);
        let due_in_loop = self.prices.partition_point(|(due, _)| *due <= elapsed) as u64;
        (loops * self.prices.len() as u64 + due_in_loop).checked_sub(1)
    }

    /// Returns a price by its number, and the time of that price.
    pub(crate) fn price_by_number(&self, number: u64) -> (Timestamp, Price) {
        let per_loop = self.prices.len() as u64;
        let (due, price) = self.prices[(number % per_loop) as usize];
        let after = (number / per_loop).saturating_mul(self.loop_micros).saturating_add(due);
        let at = self.started_at.micros().saturating_add(i64::try_from(after).unwrap_or(i64::MAX));
        (Timestamp::from_micros(at).unwrap_or(Timestamp::LAST), price)
    }
}
