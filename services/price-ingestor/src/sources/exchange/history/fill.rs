//! Asks for the trades of a gap, page by page, oldest first.

use events::{Price, Size, Timestamp};
use thiserror::Error;
use tracing::debug;

use super::{RestClient, RestError};
use crate::sources::exchange::{
    adapter::{Adapter, NextPage, Product, Window},
    continuity::{FillOutcome, Missing},
    message::{DecodeError, TradeId, VenueTrade},
};

/// The most pages of one gap. What is not found by then counts as not offered.
const MAX_PAGES: usize = 20_000;
/// The most trades that are held until older ones have arrived, where pages descend.
const MAX_HELD: usize = 200_000;

/// Why the trades of a gap could not be asked for. The next attempt begins with what is still missing.
#[derive(Debug, Error)]
pub(crate) enum FillError {
    /// A request has failed.
    #[error(transparent)]
    Rest(#[from] RestError),
    /// An answer is not what the venue documents.
    #[error("a page of past trades cannot be read")]
    Decode(#[from] DecodeError),
}

/// A past trade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastTrade {
    pub(crate) id: TradeId<'static>,
    pub(crate) price: Price,
    pub(crate) size: Size,
    pub(crate) at: Timestamp,
    pub(crate) was_rounded: bool,
}

impl From<VenueTrade<'_>> for PastTrade {
    fn from(VenueTrade { id, price, size, at, was_rounded, .. }: VenueTrade<'_>) -> Self {
        let id = match id {
            TradeId::Numbers { first, last } => TradeId::Numbers { first, last },
            TradeId::Name(name) => TradeId::Name(name.into_owned().into()),
        };
        Self { id, price, size, at, was_rounded }
    }
}

/// The pages of past trades of a gap, oldest first. Trades around the gap may be among them.
pub(crate) struct Pages<'feed> {
    client: &'feed RestClient,
    adapter: &'feed dyn Adapter,
    product: &'feed Product,
    window: Window,
    /// Where pages descend, the older ones arrive last and are published first.
    held: Vec<PastTrade>,
    pages: usize,
    outcome: Option<FillOutcome>,
}

impl<'feed> Pages<'feed> {
    /// Returns the pages of what is missing. Nothing is asked for before [`Pages::next`].
    pub(crate) fn new(
        client: &'feed RestClient,
        adapter: &'feed dyn Adapter,
        product: &'feed Product,
        Missing { first_id, last_id, from, to, .. }: Missing,
        now: Timestamp,
    ) -> Self {
        let window = Window { first_id, last_id, from, to, now, cursor: None };
        Self { client, adapter, product, window, held: Vec::new(), pages: 0, outcome: None }
    }

    /// Asks for the next trades. The outcome comes after the last of them.
    pub(crate) async fn next(&mut self) -> Result<Result<Vec<PastTrade>, FillOutcome>, FillError> {
        loop {
            if let Some(outcome) = self.outcome {
                return Ok(Err(outcome));
            }
            let Some(query) = self.adapter.trades_query(self.product, &self.window) else {
                return Ok(Err(FillOutcome::NotOffered));
            };
            let body = self.client.get(&query).await?;
            let page = self.adapter.parse_trades(self.product, &body)?;
            let profile = self.adapter.profile();
            debug!(venue = profile.venue, query, trades = page.trades.len(), "asked for past trades");
            self.pages += 1;
            let mut step = next_step(&mut self.window, profile.page_trades, &page.trades, page.next);
            if self.pages >= MAX_PAGES || self.held.len() > MAX_HELD {
                step = Step::End;
            }
            let trades = page.trades.into_iter().map(PastTrade::from);
            match step {
                Step::Restart => {}
                Step::Hold => self.held.splice(0..0, trades).for_each(drop),
                Step::Deliver => return Ok(Ok(trades.collect())),
                Step::End => {
                    self.outcome = Some(FillOutcome::Exhausted);
                    self.held.splice(0..0, trades).for_each(drop);
                    return Ok(Ok(std::mem::take(&mut self.held)));
                }
            }
        }
    }
}

/// What becomes of a page.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Its trades are delivered, and more pages follow.
    Deliver,
    /// Its trades are held until older ones are there.
    Hold,
    /// It only says how far the window goes.
    Restart,
    /// It is the last one.
    End,
}

/// Moves the window behind a page.
fn next_step(window: &mut Window, page_trades: u64, trades: &[VenueTrade<'_>], next: NextPage) -> Step {
    let (oldest, newest) = (trades.first().map(VenueTrade::first_number), trades.last().map(VenueTrade::number));
    let reaches = |last: Option<u64>| last.is_some_and(|last| newest.is_some_and(|newest| newest >= last));
    match next {
        NextPage::End => Step::End,
        NextPage::ByNumber => {
            let (Some(first), Some(oldest), Some(newest)) = (window.first_id, oldest, newest) else {
                return by_number_without_trades(window, page_trades);
            };
            match window.last_id {
                // The newest page: everything since the gap began, or the end of a longer way.
                None if oldest <= first || newest < first => Step::End,
                None => {
                    window.last_id = Some(newest);
                    Step::Restart
                }
                Some(_) => by_number(window, page_trades, first),
            }
        }
        NextPage::Cursor(_) if reaches(window.last_id) => Step::End,
        NextPage::Cursor(cursor) if window.cursor != Some(cursor) => {
            window.cursor = Some(cursor);
            Step::Deliver
        }
        NextPage::Older(cursor) => {
            let is_old_enough = match window.first_id {
                Some(first) => oldest.is_none_or(|oldest| oldest <= first),
                None => trades.first().is_none_or(|trade| trade.at <= window.from),
            };
            // A page that does not reach further back than the one before has nothing new.
            if is_old_enough || window.cursor.is_some_and(|before| before <= cursor) {
                return Step::End;
            }
            window.cursor = Some(cursor);
            Step::Hold
        }
        NextPage::Cursor(_) => Step::End,
    }
}

fn by_number_without_trades(window: &mut Window, page_trades: u64) -> Step {
    match (window.first_id, window.last_id) {
        // What is in the middle may be missing at the venue, and what follows may not.
        (Some(first), Some(_)) => by_number(window, page_trades, first),
        _ => Step::End,
    }
}

fn by_number(window: &mut Window, page_trades: u64, first: u64) -> Step {
    let next = first.saturating_add(page_trades);
    if window.last_id.is_none_or(|last| next > last) {
        return Step::End;
    }
    window.first_id = Some(next);
    Step::Deliver
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sources::exchange::adapter::TradePage;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(i64::try_from(second).expect("small") * 1_000_000).expect("a time")
    }

    fn trade(id: u64) -> VenueTrade<'static> {
        let (price, size) = ("1".parse().expect("a price"), "1".parse().expect("a size"));
        VenueTrade { product: "A".into(), id: TradeId::number(id), price, size, at: at(id / 3), was_rounded: false }
    }

    /// A venue that has the trades 1 to `newest`, three a second, and pages of ten.
    #[derive(Clone, Copy)]
    enum Paging {
        BelowNumber,
        FromNumber,
        Descending,
    }

    fn page(paging: Paging, window: &Window, newest: u64) -> TradePage<'static> {
        let (ids, next): (Vec<u64>, _) = match paging {
            Paging::BelowNumber => {
                let after = match (window.first_id, window.last_id) {
                    (Some(first), Some(last)) => (first + 10).min(last + 1),
                    _ => newest + 1,
                };
                ((after.saturating_sub(10).max(1)..after).collect(), NextPage::ByNumber)
            }
            Paging::FromNumber => {
                let first = window.cursor.or(window.first_id).expect("a number");
                let ids: Vec<u64> = (first..=newest).take(10).collect();
                let next = if ids.len() == 10 { NextPage::Cursor(first + 10) } else { NextPage::End };
                (ids, next)
            }
            Paging::Descending => {
                let end = window.cursor.unwrap_or(u64::MAX);
                let below: Vec<u64> = (1..=newest).filter(|id| id / 3 <= end).collect();
                let ids = below[below.len().saturating_sub(10)..].to_vec();
                let next = ids.first().map_or(NextPage::End, |oldest| NextPage::Older(oldest / 3));
                (ids, next)
            }
        };
        TradePage { trades: ids.into_iter().map(trade).collect(), next }
    }

    /// Walks over the pages of a window; returns the ids that are delivered.
    fn walk(paging: Paging, first: u64, last: Option<u64>, newest: u64) -> BTreeSet<u64> {
        let mut window = Window {
            first_id: Some(first),
            last_id: last,
            from: at(first / 3),
            to: None,
            now: at(1_000),
            cursor: None,
        };
        let mut delivered = BTreeSet::new();
        for _ in 0..1_000 {
            let TradePage { trades, next } = page(paging, &window, newest);
            let step = next_step(&mut window, 10, &trades, next);
            if step != Step::Restart {
                delivered.extend(trades.iter().map(VenueTrade::number));
            }
            if step == Step::End {
                return delivered;
            }
        }
        panic!("the pages never end");
    }

    #[test]
    fn every_way_of_paging_brings_all_that_is_missing() {
        for paging in [Paging::BelowNumber, Paging::FromNumber, Paging::Descending] {
            for (first, last, newest) in
                [(5, Some(5), 100), (5, Some(14), 100), (5, Some(15), 100), (1, Some(100), 100), (37, Some(61), 75)]
            {
                let delivered = walk(paging, first, last, newest);
                assert!((first..=last.expect("closed")).all(|id| delivered.contains(&id)), "{first} {last:?}");
            }
            for (first, newest) in [(5, 100), (91, 100), (100, 100), (101, 100), (1, 5)] {
                let delivered = walk(paging, first, None, newest);
                assert!((first..=newest).all(|id| delivered.contains(&id)), "{first} to {newest}: {delivered:?}");
            }
        }
    }
}
