//! The rows of a range, page by page: into parts, or as text for who reads along.

use events::{Interval, Timestamp};
use store::market::{
    candle_list::{self, CandleRange},
    export::{Market, TextFormat, TickSelection, TimeRange},
};
use tick_history::{TickHistory, TickPage, TickPages};

use crate::{ArchiveError, encoder::Encoder};

/// The rows of a page, which are in memory together.
pub(crate) const PAGE: u16 = 10_000;

/// What is exported of a market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Every tick of the market.
    Ticks,
    /// The candles of an interval.
    Candles(Interval),
}

/// What the archiver writes of each market. Candles of longer intervals follow from those of a minute.
#[cfg(feature = "export")]
pub(crate) const ARCHIVED: [Subject; 2] = [Subject::Ticks, Subject::Candles(Interval::Minute)];

/// Writes the rows of a range as text, and returns their number. `write` is called for each page.
pub async fn write_text(
    history: &TickHistory,
    (market, subject): (&Market, Subject),
    range: TimeRange,
    format: TextFormat,
    mut write: impl FnMut(&[u8], u64) -> std::io::Result<()>,
) -> Result<u64, ArchiveError> {
    let (mut text, mut rows) = (Vec::new(), 0);
    let mut pages = Pages::new(market, subject, range);
    while let Some(page) = pages.next(history).await? {
        text.clear();
        match &page {
            Page::Ticks(page) => {
                for tick in page.iter() {
                    format.write_tick(&market.symbol, &tick?, &mut text);
                }
            }
            Page::Candles(interval, page) => {
                for candle in page.iter() {
                    format.write_candle((market.venue.as_str(), &market.symbol), *interval, &candle?, &mut text);
                }
            }
        }
        rows += page.len() as u64;
        write(&text, rows).map_err(ArchiveError::Output)?;
    }
    Ok(rows)
}

/// The pages of a range of a market.
pub(crate) struct Pages<'market> {
    market: &'market Market,
    state: State,
}

enum State {
    /// Ticks that nobody has asked for yet.
    Begin(TickSelection),
    Ticks(Box<TickPages>),
    Candles(CandleRange),
    End,
}

/// Rows that were read together.
pub(crate) enum Page {
    Ticks(TickPage),
    Candles(Interval, candle_list::CandleRows),
}

impl<'market> Pages<'market> {
    pub(crate) fn new(market: &'market Market, subject: Subject, (from, to): TimeRange) -> Self {
        let state = match subject {
            Subject::Ticks => {
                let (symbol, venue) = (market.symbol.clone(), Some(market.venue.clone()));
                State::Begin(TickSelection { symbol, venue, from, to })
            }
            Subject::Candles(interval) => {
                let (instrument, limit) = (market.instrument, i64::from(PAGE));
                State::Candles(CandleRange { instrument, interval, from, to, limit })
            }
        };
        Self { market, state }
    }

    /// Returns the next page; none behind the last one.
    pub(crate) async fn next(&mut self, history: &TickHistory) -> Result<Option<Page>, ArchiveError> {
        loop {
            match &mut self.state {
                State::End => return Ok(None),
                State::Begin(selection) => {
                    self.state = State::Ticks(Box::new(history.ticks(selection.clone(), PAGE).await?));
                }
                State::Ticks(pages) => return Ok(pages.next().await?.map(Page::Ticks)),
                State::Candles(range) => {
                    let page = candle_list::read(history.store(), *range).await?;
                    let interval = range.interval;
                    self.state = page.rest(*range)?.map_or(State::End, State::Candles);
                    return Ok(Some(Page::Candles(interval, page)).filter(|page| page.len() > 0));
                }
            }
        }
    }

    /// Appends the rows of a page to a part, those for which `is_wanted` holds, by their time and the rest of their key.
    pub(crate) fn encode(
        &self,
        page: &Page,
        encoder: &mut Encoder,
        mut is_wanted: impl FnMut(Timestamp, &dyn std::fmt::Display) -> bool,
    ) -> Result<(), ArchiveError> {
        let Market { venue, symbol, .. } = self.market;
        match page {
            Page::Ticks(page) => {
                for tick in page.iter() {
                    let tick = tick?;
                    if is_wanted(tick.at, &tick.id) {
                        encoder.push_tick(symbol, &tick)?;
                    }
                }
            }
            Page::Candles(interval, page) => {
                for candle in page.iter() {
                    let candle = candle?;
                    if is_wanted(candle.start, &candle.trades) {
                        encoder.push_candle((venue.as_str(), symbol), *interval, &candle)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Page {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ticks(page) => page.len(),
            Self::Candles(_, page) => page.len(),
        }
    }
}
