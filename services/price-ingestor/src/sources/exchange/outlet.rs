//! Publishes what comes out of a feed, and notes what is to be saved of it once it is acknowledged.

use std::collections::BTreeMap;

use events::{Symbol, Tick, feed::GapBounds};
use metrics::Gauge;
use platform::{ServiceError, clock};
use tracing::{info, warn};

use super::{
    adapter::TradeIds,
    continuity::{GapReport, GapState},
    feed::{FeedConfig, FeedEvent, FeedState},
    saving::FeedRows,
};
use crate::{publisher::Publisher, sources::readiness::SourceReadiness};

/// The metrics of one symbol.
struct FeedMetrics {
    stale: Gauge,
    down: Gauge,
    open_gaps: Gauge,
    last_trade_at: Gauge,
}

impl FeedMetrics {
    fn new(venue: &str, symbol: &Symbol) -> Self {
        let labels = [("venue", venue.to_owned()), ("symbol", symbol.to_string())];
        Self {
            stale: metrics::gauge!("tickbell_feed_stale", &labels),
            down: metrics::gauge!("tickbell_feed_down", &labels),
            open_gaps: metrics::gauge!("tickbell_feed_open_gaps", &labels),
            last_trade_at: metrics::gauge!("tickbell_feed_last_trade_timestamp_seconds", &labels),
        }
    }

    fn set_state(&self, state: Option<&FeedState>) {
        let is_down = matches!(state, Some(FeedState::Reconnecting(_) | FeedState::Refused(_)));
        self.stale.set(if state == Some(&FeedState::Stale) { 1.0 } else { 0.0 }); // float: a gauge is one
        self.down.set(if is_down { 1.0 } else { 0.0 }); // float: a gauge is one
    }
}

/// Where the events of a feed go.
pub(super) struct Outlet<'source> {
    publisher: &'source mut Publisher,
    readiness: &'source SourceReadiness,
    rows: &'source FeedRows<'source>,
    bounds: GapBounds,
    /// The state of each symbol that is followed; none before it has one.
    states: BTreeMap<Symbol, Option<FeedState>>,
    metrics: BTreeMap<Symbol, FeedMetrics>,
}

impl<'source> Outlet<'source> {
    pub(super) fn new(
        publisher: &'source mut Publisher,
        readiness: &'source SourceReadiness,
        rows: &'source FeedRows<'source>,
        config: &FeedConfig,
    ) -> Self {
        let bounds = match config.adapter.profile().trade_ids {
            TradeIds::Contiguous => GapBounds::Ids,
            TradeIds::TimeBased => GapBounds::Times,
        };
        let states = config.symbols.iter().map(|symbol| (symbol.clone(), None)).collect();
        let outlet = Self { publisher, readiness, rows, bounds, states, metrics: BTreeMap::new() };
        readiness.report(failure(&outlet.states));
        outlet
    }

    /// Publishes the ticks, and returns when they are acknowledged.
    pub(super) async fn publish(&mut self, events: Vec<FeedEvent>) -> Result<(), ServiceError> {
        let mut ticks: Vec<(Tick, String)> = Vec::new();
        let mut others = Vec::new();
        let mut traded: BTreeMap<Symbol, u64> = BTreeMap::new();
        for event in events {
            match event {
                FeedEvent::Tick(tick, id) => {
                    *traded.entry(tick.symbol.clone()).or_default() += 1;
                    ticks.push((tick, id));
                }
                event => others.push(event),
            }
        }
        self.publisher.publish(ticks).await?;
        let now = clock::now().micros().unsigned_abs() / 1_000_000;
        for (symbol, trades) in traded {
            self.metrics(&symbol).last_trade_at.set(now as f64); // float: a gauge is one
            self.rows.unsaved().count_trades(&symbol, trades, now);
        }
        for event in others {
            self.take(event).await;
        }
        self.readiness.report(failure(&self.states));
        Ok(())
    }

    async fn take(&mut self, event: FeedEvent) {
        let venue = self.publisher.venue().clone();
        match event {
            FeedEvent::Tick(..) => {}
            FeedEvent::Gap(symbol, report) => {
                self.log_gap(&symbol, &report);
                self.rows.unsaved().report(symbol, self.bounds, &report);
            }
            FeedEvent::Checkpoint(symbol, checkpoint) => {
                self.metrics(&symbol).open_gaps.set(checkpoint.gaps.len() as f64); // float: a gauge is one
                self.rows.unsaved().checkpoint(symbol, checkpoint);
            }
            FeedEvent::State(symbol, state) => {
                info!(%venue, %symbol, ?state, "a feed has another state");
                self.metrics(&symbol).set_state(Some(&state));
                self.rows.unsaved().set_state(symbol.clone(), state.clone());
                self.states.insert(symbol, Some(state));
            }
            FeedEvent::Paused(symbol) => {
                self.forget(&symbol);
                self.rows.unsaved().forget(&symbol);
            }
            FeedEvent::Removed(symbol) => {
                self.forget(&symbol);
                self.metrics(&symbol).open_gaps.set(0.0); // float: a gauge is one
                self.rows.unsaved().remove(symbol);
            }
            FeedEvent::Listed(symbols) => self.rows.save_listed(&symbols).await,
            FeedEvent::FromTheFuture(symbol) => {
                warn!(%venue, %symbol, "skipped a tick from the future");
                self.publisher.count_refused(1);
            }
            FeedEvent::BadMessage(bad) => self.publisher.refuse_message(&venue, bad.as_ref()),
        }
    }

    fn forget(&mut self, symbol: &Symbol) {
        self.states.remove(symbol);
        self.metrics(symbol).set_state(None);
    }

    fn metrics(&mut self, symbol: &Symbol) -> &FeedMetrics {
        let venue = self.publisher.venue().as_str();
        self.metrics.entry(symbol.clone()).or_insert_with(|| FeedMetrics::new(venue, symbol))
    }

    fn log_gap(&self, symbol: &Symbol, report: &GapReport) {
        let GapReport { from, to, first_missing_id, last_missing_id, reason, state, filled, .. } = report;
        let (venue, to) = (self.publisher.venue(), to.map(|to| to.to_string()));
        match state {
            GapState::Open | GapState::Unfillable => {
                warn!(%venue, %symbol, %from, to, first_missing_id, last_missing_id, ?reason, ?state, filled, "trades were missed");
            }
            GapState::Filling | GapState::Filled => {
                info!(%venue, %symbol, %from, to, first_missing_id, last_missing_id, ?reason, ?state, filled, "missed trades are filled in");
            }
        }
    }
}

impl Drop for Outlet<'_> {
    /// Another process may follow the venue now, and says how its feeds are.
    fn drop(&mut self) {
        for metrics in self.metrics.values() {
            metrics.set_state(None);
            metrics.open_gaps.set(0.0); // float: a gauge is one
        }
    }
}

/// Returns which symbols do not arrive, and why; none where all do. A quiet market is no failure.
fn failure(states: &BTreeMap<Symbol, Option<FeedState>>) -> Option<String> {
    let failed = |(symbol, state): (&Symbol, &Option<FeedState>)| match state {
        None => Some(format!("{symbol} is starting")),
        Some(FeedState::Live | FeedState::Stale) => None,
        Some(FeedState::Reconnecting(why)) => Some(format!("{symbol} is reconnecting: {why}")),
        Some(FeedState::Refused(why)) => Some(format!("{symbol} is refused: {why}")),
    };
    let failures: Vec<String> = states.iter().filter_map(failed).collect();
    (!failures.is_empty()).then(|| failures.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_that_is_down_is_named_and_a_quiet_one_is_not() {
        let symbol = |name: &str| Symbol::parse(name).expect("a symbol");
        let mut states =
            BTreeMap::from([(symbol("BTC-USD"), Some(FeedState::Live)), (symbol("OLD-USD"), Some(FeedState::Stale))]);
        assert_eq!(failure(&states), None);
        states.insert(symbol("NEW-USD"), None);
        states.insert(symbol("XYZ-USD"), Some(FeedState::Refused("delisted".to_owned())));
        states.insert(symbol("ETH-USD"), Some(FeedState::Reconnecting("lost".to_owned())));
        let said = "ETH-USD is reconnecting: lost; NEW-USD is starting; XYZ-USD is refused: delisted";
        assert_eq!(failure(&states), Some(said.to_owned()));
    }
}
